//! The peers. Each is given its best: the fast path its documentation recommends.
//!
//! Interface: [`find`].
//! Invariant: the only module that needs the feature `peers`.

mod compio;
mod glommio;
mod monoio;
mod smol;
mod tokio;

use super::Bench;

pub(super) fn find(name: &str) -> Option<Box<dyn Bench>> {
    Some(match name {
        "tokio" => Box::new(tokio::Tokio),
        "smol" => Box::new(smol::Smol),
        "monoio epoll" => Box::new(monoio::Monoio::Epoll),
        "monoio uring" => Box::new(monoio::Monoio::Uring),
        "compio" => Box::new(compio::Compio),
        "glommio" => Box::new(glommio::Glommio),
        _ => return None,
    })
}
