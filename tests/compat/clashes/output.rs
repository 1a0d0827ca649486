//! Blocking work and what it returns go to another thread, and back.

use std::rc::Rc;
use std::sync::Arc;

use reveille::task::spawn_blocking;

pub fn run() {
    spawn_blocking(|| Arc::new(())).detach();
}
