//! What is allocated: once for a task, and never for a wake, a read or a write.

mod support;

#[path = "support/limit.rs"]
mod limit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use limit::limit;
use reveille::io::{AsyncFd, Interest};
use reveille::net::UdpSocket;
use reveille::net::udp::{Batch, Ecn, Outgoing};
use reveille::runtime::Runtime;
use reveille::task::coop::unconstrained;
use reveille::task::{JoinSet, yield_now};
use reveille::{block_on, spawn, time};
use support::within;

/// Counts each thread's allocations, and the bytes it holds.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

fn count(released: usize, taken: usize) {
    // A thread may allocate after its thread-locals are gone, and free what another one allocated.
    let _counted = ALLOCATIONS.try_with(|count| count.set(count.get() + usize::from(taken > 0)));
    let _counted =
        BYTES.try_with(|bytes| bytes.set(bytes.get().wrapping_add(taken).wrapping_sub(released)));
}

// SAFETY: every call is passed on to `System`, which upholds the contract; counting does not
// allocate, because the thread-local needs neither a destructor nor an initializer.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promise about `layout` is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: `block` came from `System`, as all blocks do here, and `layout` is the caller's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), size);
        // SAFETY: as in `dealloc`; `size` is the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread while `f` runs.
fn during(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// Catches: a second allocation in `spawn`, beside the cell.
#[test]
fn a_spawn_is_one_allocation() {
    let _limit = limit(30);
    block_on(async {
        // Some stay, or the slab and the queue would be given back after the first thousand.
        (0..1000).for_each(|_| drop(spawn(pending::<()>())));
        (0..1000).for_each(|_| drop(spawn(async {})));
        yield_now().await;
        let spawning = during(|| (0..1000).for_each(|_| drop(spawn(async {}))));
        assert_eq!(spawning, 1000);
        let before = ALLOCATIONS.get();
        yield_now().await;
        assert_eq!(
            ALLOCATIONS.get() - before,
            0,
            "polling and clearing them away"
        );
    });
}

/// Catches: a cell that is not left to the next task of its slot, by whichever of the ways a task ends; one
/// that is not taken over.
#[test]
fn a_task_takes_over_the_cell_of_the_last_one_of_its_type() {
    let _limit = limit(30);
    block_on(async {
        let task = || spawn(yield_now());
        let mut before = 0;
        for round in 0..200 {
            if round == 100 {
                before = ALLOCATIONS.get();
            }
            task().await.unwrap(); // joined
            drop(task()); // detached
            let aborted = task();
            yield_now().await;
            aborted.abort();
            assert!(aborted.await.is_err());
            let finished = task();
            while !finished.is_finished() {
                yield_now().await;
            }
            drop(finished); // detached at its end
        }
        assert_eq!(ALLOCATIONS.get() - before, 0);
    });
}

/// Bytes that are kept after so many tasks, each with a future of `SIZE` bytes, have lived at once.
fn kept_after<const SIZE: usize>(tasks: usize) -> usize {
    let runtime = Runtime::new().unwrap();
    runtime.turn().unwrap();
    let before = BYTES.get();
    runtime.block_on(async {
        let task = |_| {
            spawn(async {
                let bytes = [1u8; SIZE];
                yield_now().await;
                assert_eq!(bytes.len(), SIZE);
            })
        };
        let tasks: Vec<_> = (0..tasks).map(task).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    BYTES.get().wrapping_sub(before)
}

/// Fault B33. Catches: cells that are kept although they are large, or beyond the first thousand slots.
#[test]
fn few_cells_are_kept_and_none_of_more_than_512_bytes() {
    within(20, || {
        let large = kept_after::<2000>(1000);
        assert!(large < 150_000, "{large} bytes in cells of 2,000");
        let few = kept_after::<400>(1000);
        assert!(few > 400_000, "{few} bytes: the cells are not kept");
        let many = kept_after::<400>(2000);
        assert!(
            many < few + 200_000,
            "{many} bytes, and {few} after half as many"
        );
    });
}

/// R1, promise 3. Catches: a run queue that grows in a wake.
#[test]
fn a_wake_at_home_allocates_nothing() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let wakers: Rc<Cell<Vec<Waker>>> = Rc::default();
    for _ in 0..1000 {
        let wakers = Rc::clone(&wakers);
        drop(runtime.spawn(async move {
            let mut all = wakers.take();
            all.push(own_waker().await);
            wakers.set(all);
            pending::<()>().await;
        }));
        // One after the other, so that the queue was never long.
        runtime.turn().unwrap();
    }
    let wakers = wakers.take();
    assert_eq!(wakers.len(), 1000);
    runtime.block_on(async {
        let waking = during(|| {
            for waker in &wakers {
                waker.wake_by_ref();
                drop(waker.clone());
                waker.wake_by_ref();
            }
        });
        assert_eq!(waking, 0);
    });
}

/// R1, promise 3. Catches: a run queue too short for tasks that live in a slab which was longer once.
#[test]
fn a_wake_at_home_allocates_nothing_after_a_burst() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let wakers: Rc<Cell<Vec<Waker>>> = Rc::default();
    runtime.block_on(async {
        let burst: Vec<_> = (0..5000).map(|_| spawn(yield_now())).collect();
        spawn(pending::<()>()); // Behind the burst, where it keeps the slab long.
        for task in burst {
            task.await.unwrap();
        }
        for _ in 0..200 {
            yield_now().await;
        }
        for _ in 0..1000 {
            let wakers = Rc::clone(&wakers);
            spawn(async move {
                let mut all = wakers.take();
                all.push(own_waker().await);
                wakers.set(all);
                pending::<()>().await;
            });
            yield_now().await; // The queue is never long.
        }
        let wakers = wakers.take();
        assert_eq!(during(|| wakers.iter().for_each(Waker::wake_by_ref)), 0);
    });
}

/// Promise 3. Catches: an inbox that grows in a wake.
#[test]
fn a_wake_from_elsewhere_allocates_nothing() {
    within(10, || {
        let runtime = Runtime::new().unwrap();
        let wakers: Rc<Cell<Vec<Waker>>> = Rc::default();
        for _ in 0..1000 {
            let wakers = Rc::clone(&wakers);
            drop(runtime.spawn(async move {
                let mut all = wakers.take();
                all.push(own_waker().await);
                wakers.set(all);
                pending::<()>().await;
            }));
        }
        runtime.turn().unwrap();
        let wakers = wakers.take();
        let thread = thread::spawn(move || {
            during(|| {
                for waker in &wakers {
                    waker.wake_by_ref();
                    drop(waker.clone());
                    waker.wake_by_ref();
                }
            })
        });
        assert_eq!(thread.join().unwrap(), 0);
        runtime.turn().unwrap();
        assert_eq!(runtime.handle().metrics().remote_wakes, 1000);
    });
}

/// Catches: a wait that allocates a waiter, a timer, or a buffer of events.
#[test]
fn reading_and_writing_allocate_nothing() {
    within(10, || {
        block_on(async {
            let pair = UnixStream::pair().unwrap();
            let [ours, theirs] = [pair.0, pair.1].map(|socket| {
                socket.set_nonblocking(true).unwrap();
                AsyncFd::new(socket).unwrap()
            });
            drop(spawn(async move {
                loop {
                    let mut byte = [0];
                    let read = theirs.async_io(Interest::READABLE, |mut socket| {
                        socket.read_exact(&mut byte)
                    });
                    read.await.unwrap();
                    let write =
                        theirs.async_io(Interest::WRITABLE, |mut socket| socket.write(&byte));
                    assert_eq!(write.await.unwrap(), 1);
                }
            }));
            let mut before = 0;
            for round in 0..1100 {
                if round == 100 {
                    before = ALLOCATIONS.get();
                }
                let mut byte = [1];
                let write = ours.async_io(Interest::WRITABLE, |mut socket| socket.write(&byte));
                assert_eq!(write.await.unwrap(), 1);
                let read = ours.async_io(Interest::READABLE, |mut socket| {
                    socket.read_exact(&mut byte)
                });
                read.await.unwrap();
            }
            assert_eq!(ALLOCATIONS.get() - before, 0);
        });
    });
}

/// Fault B33, promise 13. Catches: a run queue, an inbox or a slab that keeps the room of a burst.
#[test]
fn a_burst_of_tasks_leaves_little_behind() {
    const BURST: usize = 100_000;
    within(20, || {
        let runtime = Runtime::new().unwrap();
        runtime.turn().unwrap();
        let before = BYTES.get();
        // Without a budget, which would have the reactor turn, and memory given back, before the end.
        runtime.block_on(unconstrained(async {
            let tasks: Vec<_> = (0..BURST).map(|_| spawn(yield_now())).collect();
            for task in tasks {
                task.await.unwrap();
            }
        }));
        let kept = BYTES.get().wrapping_sub(before);
        assert!(kept < 300_000, "{kept} bytes after {BURST} tasks");
    });
}

/// Fault B33, promise 13. Catches: memory that is given back only when nothing is left to do.
#[test]
fn a_burst_leaves_little_behind_in_a_runtime_that_goes_on() {
    const BURST: usize = 100_000;
    /// More polls than there are from one look to the next.
    const MORE: usize = 200;
    within(20, || {
        let runtime = Runtime::new().unwrap();
        runtime.turn().unwrap();
        let before = BYTES.get();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..BURST).map(|_| spawn(yield_now())).collect();
            for task in tasks {
                task.await.unwrap();
            }
            for _ in 0..MORE {
                yield_now().await;
            }
            let kept = BYTES.get().wrapping_sub(before);
            assert!(kept < 300_000, "{kept} bytes after {BURST} tasks");
        });
    });
}

/// Fault B33. Catches: what polled a source once, and is remembered after its event.
#[test]
fn those_that_polled_a_source_are_forgotten_with_its_event() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let fd = AsyncFd::new(ours).unwrap();
    // All alive, or one would have the address of another that is gone.
    let wakers: Vec<_> = (0..10_000)
        .map(|_| Waker::from(Arc::new(Nobody(0))))
        .collect();
    let before = BYTES.get();
    // By two each time: the first has a place of its own.
    for pair in wakers.chunks(2) {
        runtime.block_on(async {
            for waker in pair {
                let cx = &mut Context::from_waker(waker);
                assert!(fd.poll_read_ready(cx).is_pending());
            }
        });
        theirs.send(b"x").unwrap();
        runtime.turn().unwrap();
        runtime.block_on(async {
            let receive = |socket: &UnixDatagram| socket.recv(&mut [0; 2]);
            assert_eq!(fd.try_io(Interest::READABLE, receive).unwrap(), 1);
            assert!(fd.try_io(Interest::READABLE, receive).is_err());
        });
    }
    let kept = BYTES.get().wrapping_sub(before) as isize;
    assert!(kept < 30_000, "{kept} bytes");
}

/// Of a size, so that each has an address.
struct Nobody(#[expect(dead_code, reason = "it is there to have a size")] u64);

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// Fault B33. Catches: a set that keeps the room of a burst which was joined.
#[test]
fn a_set_whose_burst_was_joined_keeps_little() {
    const BURST: usize = 100_000;
    within(20, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let before = BYTES.get();
            let mut set: JoinSet<()> = (0..BURST).map(|_| ready(())).collect();
            while set.join_next().await.is_some() {}
            for _ in 0..200 {
                yield_now().await; // Until a look has given back what the runtime kept.
            }
            let kept = BYTES.get().wrapping_sub(before);
            assert!(kept < 300_000, "{kept} bytes after {BURST} tasks");
        });
    });
}

/// Which of a burst live on.
#[derive(Clone, Copy, Debug)]
enum Stay {
    First,
    Last,
    /// One of a thousand, wherever that is.
    Few,
    /// A hundred side by side.
    Run,
    /// One of a thousand, as far from the next as can be.
    Spread,
}

/// Fault B47, promise 13. Catches: slots that all stay for the one that lives on at their end, or in their
/// middle; a list, a queue or an inbox that follows the highest index.
#[test]
fn whoever_survives_a_burst_keeps_what_it_needs() {
    const BURST: usize = 60_000;
    /// A task with a sleep, in its cell and its slots.
    const NEED: usize = 400;
    /// The queue, the list of the inbox and the slots that stay whatever happens.
    const BASE: usize = 1 << 19;
    /// Of the slab of tasks, and of that of timers.
    const CHUNKS: usize = 2 * 4096;
    within(300, || {
        for stay in [Stay::First, Stay::Last, Stay::Few, Stay::Run, Stay::Spread] {
            let stays = |nth: usize| match stay {
                Stay::First => nth == 0,
                Stay::Last => nth == BURST - 1,
                Stay::Few => nth * 7_919 % 100_003 < 100,
                Stay::Run => (BURST / 2..BURST / 2 + 100).contains(&nth),
                Stay::Spread => nth % 1000 == 999,
            };
            let count = (0..BURST).filter(|&nth| stays(nth)).count();
            let runtime = Runtime::new().unwrap();
            runtime.turn().unwrap();
            let before = BYTES.get();
            runtime.block_on(async {
                let hour = Duration::from_secs(3600);
                let mut tasks: Vec<_> =
                    (0..BURST).map(|_| Some(spawn(time::sleep(hour)))).collect();
                yield_now().await;
                for (nth, slot) in tasks.iter_mut().enumerate() {
                    match slot.take() {
                        Some(task) if stays(nth) => drop(task),
                        task => task.iter().for_each(|task| task.abort()),
                    }
                }
                drop(tasks);
                // Aborted tasks are cleared away, and the rest is given back, by the looks after that.
                for _ in 0..200 {
                    yield_now().await;
                }
            });
            let kept = BYTES.get().wrapping_sub(before);
            let most = match stay {
                Stay::Spread => BASE + count * (CHUNKS + NEED),
                _ => BASE + 2 * count * NEED,
            };
            assert!(
                kept <= most,
                "{stay:?}: {kept} bytes for {count}, more than {most}"
            );
        }
    });
}

/// Fault B47. Catches: a set that remembers the tasks which end after they were detached, for ever.
#[test]
fn a_set_forgets_the_tasks_it_detached() {
    within(60, || {
        block_on(async {
            let mut set = JoinSet::new();
            let mut kept = Vec::new();
            for _ in 0..3 {
                for _ in 0..20_000 {
                    set.spawn(yield_now());
                }
                set.detach_all();
                for _ in 0..200 {
                    yield_now().await;
                }
                assert!(set.join_next().await.is_none());
                kept.push(BYTES.get());
            }
            assert!(kept[2] <= kept[0] + 1024, "{kept:?}");
            // Those that come after them are joined as ever.
            set.spawn(yield_now());
            assert!(set.join_next().await.is_some());
        });
    });
}

/// Fault B33, promise 13. Catches: a slab of sources that keeps the room of a burst.
#[test]
fn a_burst_of_sources_leaves_little_behind() {
    const BURST: usize = 3_000;
    within(20, || {
        rlimit::increase_nofile_limit(2 * BURST as u64).unwrap();
        let runtime = Runtime::new().unwrap();
        runtime.turn().unwrap();
        let before = BYTES.get();
        runtime.block_on(poll_fn(|cx| {
            let sources: Vec<_> = (0..BURST)
                .map(|_| AsyncFd::new(UnixDatagram::unbound().unwrap()).unwrap())
                .collect();
            for source in &sources {
                assert!(source.poll_read_ready(cx).is_pending());
            }
            assert!(BYTES.get().wrapping_sub(before) > 50 * BURST);
            Poll::Ready(())
        }));
        let kept = BYTES.get().wrapping_sub(before);
        assert!(kept < 150_000, "{kept} bytes after {BURST} sources");
    });
}

/// Fault B33, promise 13. Catches: a buffer of wakers that keeps the room of a burst, because the
/// looks that follow bring it none; a source that keeps the room of those who waited.
#[test]
fn a_burst_of_foreign_wakers_leaves_nothing_behind() {
    const BURST: u32 = 20_000;
    within(20, || {
        let runtime = Runtime::new().unwrap();
        let foreign = Waker::from(Arc::new(Foreign));
        let mut cx = Context::from_waker(&foreign);
        runtime.turn().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = AsyncFd::new(ours).unwrap();
        let before = BYTES.get();
        runtime.block_on(async {
            time::pause();
            // Due at once, and one source that tells all at once.
            let mut sleeps: Vec<_> = (1..=BURST)
                .map(|_| Box::pin(time::sleep(Duration::from_secs(1))))
                .collect();
            for sleep in &mut sleeps {
                assert!(sleep.as_mut().poll(&mut cx).is_pending());
            }
            time::advance(Duration::from_secs(1)).await;
            drop(sleeps);
            let mut waits: Vec<_> = (0..BURST / 4).map(|_| Box::pin(ours.readable())).collect();
            for wait in &mut waits {
                assert!(wait.as_mut().poll(&mut cx).is_pending());
            }
            theirs.write_all(b"x").unwrap();
            waits.pop().unwrap().await.unwrap().retain_ready();
        });
        // What follows is for nobody foreign.
        runtime.block_on(async {
            for _ in 0..200 {
                yield_now().await;
            }
        });
        let kept = BYTES.get().wrapping_sub(before);
        assert!(kept < 100_000, "{kept} bytes after {BURST} wakers");
    });
}

struct Foreign;

impl Wake for Foreign {
    fn wake(self: Arc<Self>) {}
}

/// Catches: an array on the heap for each call; a `Batch` that grows, or is made anew.
#[test]
fn datagrams_cost_no_allocation_one_or_many_a_call() {
    let _limit = limit(30);
    block_on(async {
        let (ours, theirs) = (
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        );
        let there = theirs.local_addr().unwrap();
        let bytes = [7; 3000];
        let many = [
            Outgoing::new(&bytes[..10], there).with_ecn(Ecn::Ect0),
            Outgoing::new(&bytes, there).with_segment(1000),
            Outgoing::new(&bytes[..10], there).with_source([127, 0, 0, 1].into()),
        ];
        theirs.set_recv_ecn(true).unwrap();
        theirs.set_recv_pktinfo(true).unwrap();
        let mut batch = Batch::new(8, 1500);
        let (mut buf, mut vec) = ([0; 1500], Vec::with_capacity(1500));
        let mut before = 0;
        for round in 0..20 {
            if round == 10 {
                before = ALLOCATIONS.get();
            }
            assert_eq!(ours.send_many(&many).await.unwrap().whole(), 3);
            let mut received = 0;
            while received < 5 {
                received += theirs.recv_many(&mut batch).await.unwrap();
            }
            ours.send_to(&bytes[..10], there).await.unwrap();
            assert_eq!(theirs.recv_from(&mut buf).await.unwrap().0, 10);
            ours.send_to(&bytes[..10], there).await.unwrap();
            vec.clear();
            assert_eq!(theirs.recv_vec_from(&mut vec).await.unwrap().0, 10);
        }
        assert_eq!(ALLOCATIONS.get() - before, 0);
    });
}
