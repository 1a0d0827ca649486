//! What steps 5 and 6 are put to: another thread wakes ten tasks, each when the runtime's thread sleeps.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::{run, spawn};

/// Says how many of the ten go on. The others are left when nothing has happened for a second.
pub(super) fn heard() {
    let (sender, receiver) = mpsc::channel::<(Arc<AtomicBool>, Waker)>();
    let heard = Rc::new(Cell::new(0));
    for _ in 0..10 {
        let (sender, heard) = (sender.clone(), Rc::clone(&heard));
        let said = Arc::new(AtomicBool::new(false));
        spawn(poll_fn(move |cx| {
            if said.load(Ordering::Acquire) {
                heard.set(heard.get() + 1);
                return Poll::Ready(());
            }
            let message = (Arc::clone(&said), cx.waker().clone());
            sender.send(message).expect("the thread listens");
            Poll::Pending
        }));
    }
    drop(sender);
    let thread = thread::spawn(move || {
        for (said, waker) in receiver {
            wait_until_the_other_sleeps();
            said.store(true, Ordering::Release);
            waker.wake();
        }
    });
    run(Duration::from_secs(1));
    thread.join().expect("it does not panic");
    println!("wakes heard from another thread: {} of 10", heard.get());
}

/// Returns when the first thread of the process waits in the kernel: for epoll, or at the end for this thread.
fn wait_until_the_other_sleeps() {
    let limit = Instant::now() + Duration::from_secs(10);
    let sleeps = || {
        let stat = fs::read_to_string("/proc/self/stat").expect("Linux has this file");
        // The state stands behind the name, which is in parentheses: proc_pid_stat(5).
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('S'))
    };
    while !sleeps() {
        assert!(Instant::now() < limit, "the other thread never sleeps");
        thread::yield_now();
    }
}
