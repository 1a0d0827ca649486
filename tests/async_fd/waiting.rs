//! Who is woken: each who waits, by the latest waker, and nobody for ever.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use reveille::io::{AsyncFd, Interest};
use reveille::runtime::Handle;
use reveille::task::yield_now;
use reveille::{Runtime, block_on};

use crate::foreign::{Act, foreign};
use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::within::within;
use crate::{fill, pair, read_one, reader, registrations, settle, sources, write_one};

/// R4. Catches: readiness taken away by the report itself.
#[test]
fn what_was_reported_stays_until_an_operation_disproves_it() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (_, waker) = Wakes::new();
    write_one(&theirs, 1);
    inside(&runtime, || {
        assert!(poll(&mut pin!(ours.readable()), &waker).is_pending());
    });
    runtime.turn().unwrap();
    inside(&runtime, || {
        // The byte is left where it is, and no second edge comes for it.
        assert!(poll(&mut pin!(ours.readable()), &waker).is_ready());
        assert!(poll(&mut pin!(ours.readable()), &waker).is_ready());
        assert_eq!(ours.try_io(Interest::READABLE, read_one).unwrap(), 1);
        assert!(ours.try_io(Interest::READABLE, read_one).is_err());
        assert!(poll(&mut pin!(ours.readable()), &waker).is_pending());
    });
}

/// R4. Catches: a system call of which it is known that it would block.
#[test]
fn what_is_known_to_block_is_not_tried() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (_, waker) = Wakes::new();
    let tried = || {
        let tried = Cell::new(false);
        let outcome = ours.try_io(Interest::READABLE, |_| {
            tried.set(true);
            Ok(())
        });
        assert_eq!(outcome.is_ok(), tried.get());
        tried.get()
    };
    inside(&runtime, || {
        assert!(poll(&mut pin!(ours.readable()), &waker).is_pending());
        assert!(!tried(), "the first report is still to come");
    });
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    inside(&runtime, || {
        assert!(tried());
        assert!(ours.try_io(Interest::READABLE, read_one).is_ok());
        assert!(ours.try_io(Interest::READABLE, read_one).is_err());
        assert!(!tried());
    });
}

/// Catches: a read that has to wait, and makes writing wait that was never tried.
#[test]
fn a_direction_that_was_never_tried_is_tried_before_the_first_report() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, _theirs) = pair();
    let ours = AsyncFd::new(ours).unwrap();
    let (_, waker) = Wakes::new();
    inside(&runtime, || {
        let mut read = pin!(ours.async_io(Interest::READABLE, read_one));
        assert!(poll(&mut read, &waker).is_pending());
        assert!(ours.try_io(Interest::READABLE, |_| Ok(())).is_err());
        assert!(ours.try_io(Interest::WRITABLE, |_| Ok(())).is_ok());
    });
}

/// Catches: EINTR that is passed on, at home or where there is no runtime.
#[test]
fn an_operation_that_was_interrupted_is_tried_again() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (_, waker) = Wakes::new();
    let read = || {
        write_one(&theirs, 7);
        let mut interruptions = 3;
        let mut read = pin!(ours.async_io(Interest::READABLE, |stream| {
            if interruptions > 0 {
                interruptions -= 1;
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            read_one(stream)
        }));
        match poll(&mut read, &waker) {
            Poll::Ready(byte) => byte.unwrap(),
            Poll::Pending => panic!("there is something"),
        }
    };
    assert_eq!(inside(&runtime, read), 7);
    assert_eq!(read(), 7, "outside");
}

/// Catches: an error that is taken for an interruption, and tried again for ever.
#[test]
fn outside_a_runtime_an_error_is_what_it_is() {
    within(10, || {
        let (ours, _theirs) = reader();
        let (_, waker) = Wakes::new();
        let tries = Cell::new(0);
        let fail = |_: &_| {
            tries.set(tries.get() + 1);
            Err::<(), _>(std::io::ErrorKind::NotConnected.into())
        };
        match poll(&mut pin!(ours.async_io(Interest::READABLE, fail)), &waker) {
            Poll::Ready(Err(error)) => assert_eq!(error.kind(), std::io::ErrorKind::NotConnected),
            other => panic!("{other:?}"),
        }
        assert_eq!(tries.get(), 1);
    });
}

/// Catches: a second registration, by an operation whose inside has waited, and so registered, first.
#[test]
fn an_operation_may_wait_for_its_own_descriptor_inside() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (_, waker) = Wakes::new();
    let mut read = pin!(ours.async_io(Interest::READABLE, |stream| {
        assert!(poll(&mut pin!(ours.readable()), &waker).is_pending());
        read_one(stream)
    }));
    inside(&runtime, || assert!(poll(&mut read, &waker).is_pending()));
    assert_eq!(registrations(&runtime), 1);
    drop(theirs);
}

/// Fault B15. Catches: a waker's panic that leaves the drop of a wait.
#[test]
fn a_waker_that_panics_as_its_wait_is_given_up_harms_nobody() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, _theirs) = reader();
    let dropped = Rc::new(Cell::new(0));
    let told = Rc::clone(&dropped);
    let waker = foreign(move |act| {
        if act == Act::Drop && told.replace(told.get() + 1) == 0 {
            panic!("in the drop of a waker");
        }
    });
    inside(&runtime, || {
        {
            let mut waits = pin!(ours.readable());
            assert!(poll(&mut waits, &waker).is_pending());
        }
        assert_eq!(dropped.get(), 1);
        // Nor as another takes its place, alone or behind others.
        dropped.set(0);
        let mut waits = pin!(ours.readable());
        assert!(poll(&mut waits, &waker).is_pending());
        assert!(poll(&mut waits, Waker::noop()).is_pending());
        assert_eq!(dropped.get(), 1);
        dropped.set(0);
        let mut waits = pin!(ours.readable());
        assert!(poll(&mut waits, &waker).is_pending());
        assert!(poll(&mut waits, Waker::noop()).is_pending());
        assert_eq!(dropped.get(), 1);
    });
}

/// Catches: a task that waits by a future and by polling, and is forgotten with the future.
#[test]
fn a_wait_that_is_given_up_leaves_what_its_task_polled() {
    let _limit = limit(30);
    for polled_first in [true, false] {
        let runtime = Runtime::new().unwrap();
        let (ours, theirs) = reader();
        let (_, other) = Wakes::new();
        let (wakes, waker) = Wakes::new();
        inside(&runtime, || {
            let mut first = pin!(ours.readable());
            assert!(poll(&mut first, &other).is_pending());
            let cx = &mut Context::from_waker(&waker);
            if polled_first {
                assert!(ours.poll_read_ready(cx).is_pending());
            }
            {
                let mut given_up = pin!(ours.readable());
                assert!(poll(&mut given_up, &waker).is_pending());
                if !polled_first {
                    assert!(ours.poll_read_ready(cx).is_pending());
                }
            }
            write_one(&theirs, 7);
        });
        runtime.turn().unwrap();
        assert_eq!(wakes.count(), 1, "polled first: {polled_first}");
    }
}

/// R4. Catches: EAGAIN that clears nothing, so that the wait ends at once, again and again.
#[test]
fn an_operation_that_would_block_is_tried_once_for_each_report() {
    within(10, || {
        let runtime = Runtime::new().unwrap();
        let (ours, theirs) = reader();
        let (wakes, waker) = Wakes::new();
        let tries = Cell::new(0);
        let mut read = pin!(ours.async_io(Interest::READABLE, |stream| {
            tries.set(tries.get() + 1);
            assert!(tries.get() < 10, "it spins");
            read_one(stream)
        }));
        inside(&runtime, || assert!(poll(&mut read, &waker).is_pending()));
        assert_eq!(tries.get(), 1, "it tries first and waits second");
        runtime.turn().unwrap();
        assert_eq!(wakes.count(), 0);
        write_one(&theirs, 7);
        runtime.turn().unwrap();
        assert_eq!(wakes.count(), 1);
        inside(&runtime, || {
            assert!(matches!(poll(&mut read, &waker), Poll::Ready(Ok(7))));
        });
        assert_eq!(tries.get(), 2);
        // It counts as ready still; that it is drained is found out once.
        let mut again = pin!(ours.async_io(Interest::READABLE, |stream| {
            tries.set(tries.get() + 1);
            assert!(tries.get() < 10, "it spins");
            read_one(stream)
        }));
        inside(&runtime, || assert!(poll(&mut again, &waker).is_pending()));
        assert_eq!(tries.get(), 3);
    });
}

/// Fault A11. Catches: an event that wakes the first who waits and forgets the others.
#[test]
fn one_datagram_wakes_all_eight_that_wait_for_it() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let socket = Rc::new(AsyncFd::new(socket).unwrap());
    let woken = Rc::new(Cell::new(0));
    for _ in 0..8 {
        let (socket, woken) = (Rc::clone(&socket), Rc::clone(&woken));
        drop(runtime.spawn(async move {
            let _ready = socket.readable().await.unwrap();
            woken.set(woken.get() + 1);
        }));
    }
    settle(&runtime);
    assert_eq!(woken.get(), 0);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"x", address).unwrap();
    settle(&runtime);
    assert_eq!(woken.get(), 8);
}

/// Fault A11. Catches: a waiter that replaces another one's.
#[test]
fn two_that_receive_from_one_socket_share_two_datagrams() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let socket = Rc::new(AsyncFd::new(socket).unwrap());
    let received = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..2 {
        let (socket, received) = (Rc::clone(&socket), Rc::clone(&received));
        drop(runtime.spawn(async move {
            let mut buf = [0];
            let receive = |socket: &UdpSocket| socket.recv(&mut buf);
            assert_eq!(
                socket.async_io(Interest::READABLE, receive).await.unwrap(),
                1
            );
            received.borrow_mut().push(buf[0]);
        }));
    }
    settle(&runtime);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"a", address).unwrap();
    settle(&runtime);
    assert_eq!(*received.borrow(), *b"a", "the other one waits on");
    sender.send_to(b"b", address).unwrap();
    settle(&runtime);
    assert_eq!(*received.borrow(), *b"ab");
}

/// Fault A11. Catches: a poll by one task that takes the place of the waker of another.
#[test]
fn a_direction_polled_by_one_task_and_then_by_another_wakes_the_other() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (_, first) = Wakes::new();
    let (second_wakes, second) = Wakes::new();
    inside(&runtime, || {
        for waker in [&first, &second] {
            let mut cx = Context::from_waker(waker);
            assert!(ours.poll_read_ready(&mut cx).is_pending());
        }
    });
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    assert_eq!(second_wakes.count(), 1);
}

/// Catches: a poll that is not known again by its waker, and waits as often as it was polled; one
/// that found something once, and is taken for an async fn's from then on.
#[test]
fn who_polls_again_waits_once() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let mut read = || ours.poll_io(&mut cx, Interest::READABLE, read_one);
    for byte in 1..=3 {
        let before = wakes.count();
        inside(&runtime, || {
            assert!(read().is_pending());
            assert!(read().is_pending());
        });
        write_one(&theirs, byte);
        runtime.turn().unwrap();
        assert_eq!(wakes.count() - before, 1);
        inside(&runtime, || {
            assert!(matches!(read(), Poll::Ready(Ok(read)) if read == byte));
        });
    }
}

/// Catches: a task that waits to read, and is taken to wait to write as well.
#[test]
fn a_task_that_polls_both_directions_is_woken_for_either() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = pair();
    fill(&ours);
    let ours = AsyncFd::new(ours).unwrap();
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    inside(&runtime, || {
        assert!(ours.poll_read_ready(&mut cx).is_pending());
        assert!(ours.poll_write_ready(&mut cx).is_pending());
    });
    while theirs.read(&mut [0; 4096]).is_ok() {}
    runtime.turn().unwrap();
    assert_eq!(wakes.count(), 1);
}

/// Catches: an event that wakes who waits for something else, if he was not the first to wait.
#[test]
fn an_event_wakes_only_those_whom_it_concerns() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = pair();
    fill(&ours);
    let ours = AsyncFd::new(ours).unwrap();
    let wakers: [_; 3] = std::array::from_fn(|_| Wakes::new());
    let mut waits = [Interest::READABLE, Interest::WRITABLE, Interest::READABLE]
        .map(|interest| Box::pin(ours.ready(interest)));
    inside(&runtime, || {
        for (wait, (_, waker)) in waits.iter_mut().zip(&wakers) {
            assert!(poll(wait, waker).is_pending());
        }
    });
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    assert_eq!(wakers.map(|(wakes, _)| wakes.count()), [1, 0, 1]);
}

/// Catches: a newcomer who takes the place of the first, who gave up, before those who waited longer.
#[test]
fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let woken = Rc::new(RefCell::new(Vec::new()));
    let waker = |name: char| {
        let woken = Rc::clone(&woken);
        foreign(move |act| {
            if act == Act::Wake {
                woken.borrow_mut().push(name);
            }
        })
    };
    let wait = |name| {
        let mut wait = Box::pin(ours.readable());
        inside(&runtime, || {
            assert!(poll(&mut wait, &waker(name)).is_pending())
        });
        wait
    };
    let first = wait('a');
    let _others = ['b', 'c'].map(wait);
    inside(&runtime, || drop(first));
    let _newcomer = wait('d');
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    assert_eq!(*woken.borrow(), ['b', 'c', 'd']);
}

/// Fault A11. Catches: polled waiters that are kept until an event which may never come, in a runtime
/// that has nothing else to do or much.
#[test]
fn wakers_of_tasks_that_are_gone_do_not_pile_up() {
    let _limit = limit(30);
    for (tasks, limit) in [(0, 32), (100, 132)] {
        let runtime = Runtime::new().unwrap();
        for _ in 0..tasks {
            drop(runtime.spawn(pending::<()>()));
        }
        settle(&runtime);
        let (ours, _theirs) = reader();
        let mut kept = Vec::new();
        for _ in 0..1000 {
            let (wakes, waker) = Wakes::new();
            inside(&runtime, || {
                let mut cx = Context::from_waker(&waker);
                assert!(ours.poll_read_ready(&mut cx).is_pending());
            });
            drop(waker);
            kept.push(Arc::downgrade(&wakes));
        }
        let kept = kept.iter().filter(|waker| waker.strong_count() > 0);
        let kept = kept.count();
        assert!(kept <= limit, "{kept} of 1000 are kept");
    }
}

/// Fault A11. Catches: a crowd judged before those who were woken had a chance to come back: each
/// of them then drives the others out, for ever.
#[test]
fn many_tasks_that_poll_one_direction_come_to_rest_and_are_all_woken() {
    let _limit = limit(30);
    for tasks in [9, 20, 300] {
        let runtime = Runtime::new().unwrap();
        let (ours, theirs) = reader();
        let ours = Rc::new(ours);
        let done = Rc::new(Cell::new(0));
        for _ in 0..tasks {
            let (ours, done) = (Rc::clone(&ours), Rc::clone(&done));
            drop(runtime.spawn(async move {
                let _ready = poll_fn(|cx| ours.poll_read_ready(cx).map(drop)).await;
                done.set(done.get() + 1);
            }));
        }
        settle(&runtime);
        let polls = runtime.handle().metrics().polls;
        assert!(
            polls < 20 * tasks,
            "{tasks} tasks came to rest after {polls} polls"
        );
        assert_eq!(done.get(), 0);
        write_one(&theirs, 1);
        settle(&runtime);
        assert_eq!(done.get(), tasks);
    }
}

/// Fault A11. Catches: a crowd judged before those inside one task, which all come back in its next
/// poll, had their chance.
#[test]
fn many_that_poll_one_direction_inside_one_task_come_to_rest() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, _theirs) = reader();
    let children: Vec<_> = (0..300).map(|_| Wakes::new()).collect();
    let mut heard = vec![0; children.len()];
    let mut due: Vec<_> = (0..children.len()).collect();
    for _poll in 0..10 {
        inside(&runtime, || {
            for &child in &due {
                let mut cx = Context::from_waker(&children[child].1);
                assert!(ours.poll_read_ready(&mut cx).is_pending());
            }
        });
        let counts: Vec<_> = children.iter().map(|(wakes, _)| wakes.count()).collect();
        due = (0..counts.len())
            .filter(|&child| counts[child] > heard[child])
            .collect();
        heard = counts;
    }
    assert_eq!(due, [], "they are woken again and again");
}

/// Fault A11. Catches: a crowd whose size is forgotten: each who joins it drives the others out.
#[test]
fn who_joins_a_crowd_that_came_back_disturbs_nobody() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, _theirs) = reader();
    let ours = Rc::new(ours);
    let join = |tasks: usize| {
        let before = runtime.handle().metrics().polls;
        for _ in 0..tasks {
            let ours = Rc::clone(&ours);
            drop(runtime.spawn(async move {
                let _ready = poll_fn(|cx| ours.poll_read_ready(cx).map(drop)).await;
            }));
        }
        settle(&runtime);
        runtime.handle().metrics().polls - before
    };
    join(300);
    // Meanwhile they are driven out for the last time, and counted as they come back.
    for _ in 0..20 {
        join(1);
    }
    for _ in 0..100 {
        assert_eq!(join(1), 1);
    }
}

/// Fault A12. Catches: a waker kept from an earlier poll, of a task the future has left.
#[test]
fn a_wait_that_moved_to_another_task_wakes_that_one_only() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let mut readable = Box::pin(ours.readable());
    let mut read = Box::pin(ours.async_io(Interest::READABLE, read_one));
    let (old_wakes, old) = Wakes::new();
    let (wakes, waker) = Wakes::new();
    inside(&runtime, || {
        for waker in [&old, &waker] {
            assert!(poll(&mut readable, waker).is_pending());
            assert!(poll(&mut read, waker).is_pending());
        }
    });
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    assert_eq!((old_wakes.count(), wakes.count()), (0, 2));
}

/// R6. Catches: the waiter of a dropped future that is woken all the same.
#[test]
fn a_wait_that_was_dropped_wakes_nobody() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (wakes, waker) = Wakes::new();
    inside(&runtime, || {
        let mut readable = Box::pin(ours.readable());
        assert!(poll(&mut readable, &waker).is_pending());
    });
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    assert_eq!(wakes.count(), 0);
}

/// Fault A10, R5. Catches: a borrow held while a waker is cloned.
#[test]
fn a_waker_whose_clone_does_everything_loses_nothing() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (victim, _victims_peer) = reader();
    let (other_wakes, other) = Wakes::new();
    inside(&runtime, || {
        assert!(poll(&mut pin!(victim.readable()), &other).is_pending());
    });
    let (wakes, inner) = Wakes::new();
    let (victim, newcomer) = (RefCell::new(Some(victim)), Rc::new(RefCell::new(None)));
    let kept = Rc::clone(&newcomer);
    let spawned = Rc::new(Cell::new(false));
    let ran = Rc::clone(&spawned);
    let waker = foreign(move |act| match act {
        Act::Wake => inner.wake_by_ref(),
        Act::Clone if victim.borrow().is_some() => {
            drop(victim.take());
            let (fresh, peer) = reader();
            assert!(poll(&mut pin!(fresh.readable()), &other).is_pending());
            *kept.borrow_mut() = Some((fresh, peer));
            other.wake_by_ref();
            let ran = Rc::clone(&ran);
            drop(reveille::spawn(async move { ran.set(true) }));
        }
        Act::Clone | Act::Drop => {}
    });
    let mut readable = Box::pin(ours.readable());
    inside(&runtime, || {
        assert!(poll(&mut readable, &waker).is_pending())
    });
    assert_eq!((registrations(&runtime), sources(&runtime)), (2, 2));
    write_one(&theirs, 1);
    settle(&runtime);
    assert_eq!((wakes.count(), other_wakes.count()), (1, 1));
    assert!(spawned.get());
}

/// Fault B14, R9. Catches: a waker's panic that goes on through the turn.
#[test]
fn a_waker_that_panics_silences_no_other() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (first_wakes, first) = Wakes::new();
    let (last_wakes, last) = Wakes::new();
    let middle = foreign(|act| assert!(act != Act::Wake, "woken"));
    let mut waits = [
        Box::pin(ours.readable()),
        Box::pin(ours.readable()),
        Box::pin(ours.readable()),
    ];
    inside(&runtime, || {
        for (wait, waker) in waits.iter_mut().zip([&first, &middle, &last]) {
            assert!(poll(wait, waker).is_pending());
        }
    });
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    assert_eq!((first_wakes.count(), last_wakes.count()), (1, 1));
    assert_eq!(runtime.block_on(runtime.spawn(async { 5 })).unwrap(), 5);
    inside(&runtime, || {
        assert!(poll(&mut waits[1], &last).is_ready());
    });
}

/// R10, fault B25. Catches: a budget that is spent before the try: a poll inside the operation then
/// finds it spent, the operation takes that for EAGAIN, and what the kernel holds is waited for.
#[test]
fn an_operation_that_polls_the_same_descriptor_strands_nothing() {
    const BYTES: usize = 600; // Some of them at the end of the budget, whatever it was at first.
    within(10, || {
        block_on(async {
            for begun in [0, 1] {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                ours.set_nonblocking(true).unwrap();
                theirs.write_all(&[7; BYTES]).unwrap();
                let ours = AsyncFd::new(ours).unwrap();
                ours.readable().await.unwrap().retain_ready();
                let read = |mut socket: &UnixStream| socket.read(&mut [0]);
                yield_now().await;
                for _ in 0..begun {
                    let read = ours.async_io(Interest::READABLE, read);
                    assert_eq!(read.await.unwrap(), 1);
                }
                let nested = |cx: &mut Context<'_>| {
                    let waker = cx.waker().clone();
                    ours.poll_io(cx, Interest::READABLE, |_| {
                        let mut cx = Context::from_waker(&waker);
                        match ours.poll_io(&mut cx, Interest::READABLE, read) {
                            Poll::Ready(outcome) => outcome,
                            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                        }
                    })
                };
                for _ in begun..BYTES {
                    assert_eq!(poll_fn(nested).await.unwrap(), 1);
                }
            }
        });
    });
}

/// R5. Catches: the wakers of those who still wait, left to the drop of what they lie in, when there
/// is no runtime any more.
#[test]
fn the_wakers_of_those_who_wait_are_dropped_inside_the_runtime_that_ends() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, _theirs) = reader();
    let drops = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&drops);
    let waker = foreign(move |act| {
        if act == Act::Drop {
            seen.borrow_mut().push(Handle::try_current().is_ok());
        }
    });
    inside(&runtime, || {
        let mut cx = Context::from_waker(&waker);
        assert!(ours.poll_read_ready(&mut cx).is_pending());
    });
    assert_eq!(*drops.borrow(), []);
    drop(runtime);
    assert_eq!(*drops.borrow(), [true]);
}
