//! Dropping elsewhere: what a runtime keeps for a handle goes when the handle does, and at home.

use std::future::{Future, pending};
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_lite::future::poll_once;
use reveille::Runtime;
use reveille::time::{Sleep, sleep};

use crate::limit::limit;
use crate::{DroppedOn, Elsewhere, Wakes, assert_holds, pair, poll_in, read, registrations};

/// R3. Fault B3. Catches: an abort from elsewhere that is not obeyed.
#[test]
fn an_abort_from_elsewhere_drops_the_future_at_home() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (sender, dropped) = mpsc::channel();
        let guard = DroppedOn(sender);
        let task = runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        runtime.turn().unwrap();
        elsewhere.run(|| task.abort());
        assert!(dropped.try_recv().is_err(), "{elsewhere:?}: only marked");
        runtime.turn().unwrap();
        runtime.turn().unwrap();
        assert_eq!(
            dropped.try_recv(),
            Ok(thread::current().id()),
            "{elsewhere:?}"
        );
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        assert_holds(&runtime, "tasks: 0");
    }
}

/// R3. Fault B2. Catches: the output of a task whose handle was dropped elsewhere kept until the
/// end of the runtime, or dropped there.
#[test]
fn a_join_handle_dropped_elsewhere_has_the_output_dropped_at_home() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (sender, dropped) = mpsc::channel();
        let task = runtime.spawn(async move { DroppedOn(sender) });
        runtime.turn().unwrap();
        elsewhere.run(|| drop(task));
        assert!(dropped.try_recv().is_err(), "{elsewhere:?}");
        runtime.turn().unwrap();
        runtime.turn().unwrap();
        assert_eq!(
            dropped.try_recv(),
            Ok(thread::current().id()),
            "{elsewhere:?}"
        );
        assert_holds(&runtime, "tasks: 0");
    }
}

/// Fault D11. Catches: a timer left armed until its deadline by a `Sleep` dropped elsewhere.
#[test]
fn a_sleep_dropped_elsewhere_is_disarmed() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let wakes = Arc::new(Wakes::default());
        let mut sleep: Sleep = sleep(Duration::from_secs(3600));
        assert!(!poll_in(&runtime, &mut sleep, &wakes));
        assert_holds(&runtime, "timers: 1");
        elsewhere.run(|| drop(sleep));
        runtime.turn().unwrap();
        assert_holds(&runtime, "timers: 0");
        assert_eq!(
            Arc::strong_count(&wakes),
            1,
            "{elsewhere:?}: its waker is gone"
        );
    }
}

/// R7. Catches: a registration that outlives its `AsyncFd` because a duplicate keeps the file
/// open; a slot that is not freed.
#[test]
fn an_async_fd_dropped_elsewhere_leaves_epoll_and_its_slot() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (fd, _theirs) = pair();
        let duplicate = fd.get_ref().try_clone().unwrap();
        runtime.block_on(async { assert!(poll_once(read(&fd)).await.is_none()) });
        assert_eq!(registrations(&runtime).len(), 2, "the bell and the socket");
        elsewhere.run(|| drop(fd));
        assert_eq!(registrations(&runtime).len(), 1, "{elsewhere:?}: at once");
        runtime.turn().unwrap();
        assert_holds(&runtime, "sources: 0");
        drop(duplicate);
    }
}

/// Catches: the waiter of a future that was dropped elsewhere kept until the next event, or woken.
#[test]
fn a_pending_read_dropped_elsewhere_waits_no_longer() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (fd, mut theirs) = pair();
        let fd = Arc::new(fd);
        let wakes = Arc::new(Wakes::default());
        let reading = Arc::clone(&fd);
        let mut future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            read(&reading).await.unwrap();
        });
        assert!(!poll_in(&runtime, &mut future, &wakes));
        assert_eq!(Arc::strong_count(&wakes), 2);
        elsewhere.run(|| drop(future));
        runtime.turn().unwrap();
        assert_eq!(Arc::strong_count(&wakes), 1, "{elsewhere:?}");
        theirs.write_all(b"a").unwrap();
        runtime.turn().unwrap();
        assert_eq!(wakes.0.load(SeqCst), 0, "{elsewhere:?}");
    }
}
