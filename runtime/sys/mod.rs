//! Every system call of the runtime.

mod epoll;

pub use epoll::is_forked_child_error;
pub(crate) use epoll::*;
