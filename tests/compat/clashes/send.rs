//! Blocking work and what it returns go to another thread, and back.

#[allow(unused_imports)]
use std::rc::Rc;
#[allow(unused_imports)]
use std::sync::Arc;

use reveille::task::spawn_blocking;

pub fn run() {
    let shared = Arc::new(());
    spawn_blocking(move || drop(shared)).detach();
}
