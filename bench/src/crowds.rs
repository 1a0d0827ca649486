//! Crowds: many that wait for one thing, or that one thing brings; a list that is walked for each of them would show.
//!
//! Interface: [`crowd`] gathers a [`Crowd`], whose [`sizes`](Crowd::sizes) say how large it may be here.
//! Invariant: the time is that of one of the crowd, from where it comes to where it has gone; all of them are there
//! before the first one goes. What is not the runtime's is constant for each.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::iter;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::child::{Child, OWN_DESCRIPTORS};
use crate::contenders::{Contender, Gathers};
use crate::operations::{Sample, Watch};
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// Tasks that hold a `readable()` each, of one descriptor.
    Owned,
    /// Tasks that call `poll_read_ready` of one descriptor.
    Polled,
    /// Handles of tasks that one task awaits.
    Handles,
    /// Sleeps of one task until one deadline.
    Deadline,
    /// Tasks in one `JoinSet`.
    JoinSet,
    /// Connections that have come since the last turn.
    Accepts,
    /// Listeners of one signal, in a task each.
    Signal,
}

pub const CROWDS: &[Crowd] = &[
    Crowd::Owned,
    Crowd::Polled,
    Crowd::Handles,
    Crowd::Deadline,
    Crowd::JoinSet,
    Crowd::Accepts,
    Crowd::Signal,
];

/// The largest crowd, and where nothing is in the way, the smallest.
const MOST: usize = 100_000;
const FEWEST: usize = 1000;

/// Fewer than a task may do in one poll before its budget is spent: 128 in tokio, from 121 to 128 in reveille.
const A_POLL: usize = 64;

/// How long it takes to make the timers, at most: so much for all, and so much for each. Waiting takes no instructions.
const TO_MAKE_TIMERS: (Duration, Duration) =
    (Duration::from_millis(200), Duration::from_micros(30));

impl Crowd {
    /// As it is called on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Crowd::Owned => "crowd-owned",
            Crowd::Polled => "crowd-polled",
            Crowd::Handles => "crowd-handles",
            Crowd::Deadline => "crowd-deadline",
            Crowd::JoinSet => "crowd-join-set",
            Crowd::Accepts => "crowd-accepts",
            Crowd::Signal => "crowd-signal",
        }
    }

    /// As it is called in a table.
    pub fn title(self) -> &'static str {
        match self {
            Crowd::Owned => "tasks on one descriptor, `readable()`",
            Crowd::Polled => "tasks on one descriptor, `poll_read_ready`",
            Crowd::Handles => "handles awaited by one task",
            Crowd::Deadline => "sleeps until one deadline",
            Crowd::JoinSet => "tasks in one `JoinSet`",
            Crowd::Accepts => "connections accepted in one turn",
            Crowd::Signal => "listeners of one signal",
        }
    }

    /// From few to as many as the limits of this machine allow, at least ten times as many. Raises the limit of
    /// descriptors, which children inherit.
    pub fn sizes(self) -> io::Result<Vec<usize>> {
        let descriptors = sys::raise_descriptors(MOST as u64 + OWN_DESCRIPTORS)?;
        let room = descriptors.saturating_sub(OWN_DESCRIPTORS) as usize;
        let most = match self {
            Crowd::Accepts => room.min(backlog()?),
            Crowd::Signal => room,
            _ => MOST,
        }
        .min(MOST);
        let first = FEWEST.min(most / 10).max(2);
        let tenfold = iter::successors(Some(first), |size| Some(size * 10));
        let sizes = tenfold.take_while(|size| size * 2 < most).chain([most]);
        Ok(sizes.collect())
    }
}

/// Connections that may wait to be accepted.
fn backlog() -> io::Result<usize> {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn")?;
    text.trim().parse().map_err(io::Error::other)
}

/// Gathers one crowd after the other, `n` in all.
pub async fn crowd<C: Gathers>(crowd: Crowd, size: usize, n: u64) -> io::Result<Sample> {
    let crowds = n.div_ceil(size as u64);
    let (mut wall, mut cpu) = (0.0, 0.0);
    for _ in 0..crowds {
        let sample = match crowd {
            Crowd::Owned => owned::<C>(size).await,
            Crowd::Polled => polled::<C>(size).await,
            Crowd::Handles => handles::<C>(size).await,
            Crowd::Deadline => deadline::<C>(size).await,
            Crowd::JoinSet => join_set::<C>(size).await,
            Crowd::Accepts => accepts::<C>(size).await,
            Crowd::Signal => signal::<C>(size).await,
        }?;
        wall += sample.wall / crowds as f64;
        cpu += sample.cpu / crowds as f64;
    }
    Ok(Sample { wall, cpu })
}

/// Spawns the `waiters`, brings about what they wait for when each has been polled, and awaits them.
async fn gather<C: Contender, F>(
    waiters: impl ExactSizeIterator<Item = F>,
    event: impl FnOnce() -> io::Result<()>,
) -> io::Result<()>
where
    F: Future<Output = ()> + 'static,
{
    let (size, polled) = (waiters.len(), Rc::new(Cell::new(0)));
    let mut handles = Vec::with_capacity(size);
    for waiter in waiters {
        let polled = Rc::clone(&polled);
        handles.push(C::spawn(async move {
            polled.set(polled.get() + 1);
            waiter.await;
        }));
    }
    while polled.get() < size {
        C::yield_now().await;
    }
    event()?;
    for handle in handles {
        handle.await;
    }
    Ok(())
}

async fn owned<C: Gathers>(size: usize) -> io::Result<Sample> {
    let (fd, mut theirs) = descriptor::<C>()?;
    let watch = Watch::start();
    let waiters = (0..size).map(|_| {
        let fd = Rc::clone(&fd);
        async move { C::readable(&fd).await.expect("the socket is registered") }
    });
    gather::<C, _>(waiters, || theirs.write_all(b"!")).await?;
    Ok(watch.per(size as u64))
}

async fn polled<C: Gathers>(size: usize) -> io::Result<Sample> {
    if !C::KEEPS_ALL_POLLED {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let (fd, mut theirs) = descriptor::<C>()?;
    let watch = Watch::start();
    let waiters = (0..size).map(|_| {
        let fd = Rc::clone(&fd);
        let polled = poll_fn(move |cx| C::poll_readable(&fd, cx));
        async { polled.await.expect("the socket is registered") }
    });
    gather::<C, _>(waiters, || theirs.write_all(b"!")).await?;
    Ok(watch.per(size as u64))
}

/// One to wait for, and the other end.
fn descriptor<C: Gathers>() -> io::Result<(Rc<C::Fd>, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((Rc::new(C::watch(ours)?), theirs))
}

/// What tasks wait for that is not the runtime's.
#[derive(Default)]
struct Gate {
    open: Cell<bool>,
    waiters: RefCell<Vec<Waker>>,
}

impl Gate {
    fn poll_pass(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open.get() {
            return Poll::Ready(());
        }
        self.waiters.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    fn open(&self) {
        self.open.set(true);
        let waiters = self.waiters.take();
        waiters.into_iter().for_each(Waker::wake);
    }
}

async fn handles<C: Contender>(size: usize) -> io::Result<Sample> {
    let gate = Rc::new(Gate::default());
    let watch = Watch::start();
    let task = || {
        let gate = Rc::clone(&gate);
        C::spawn(async move { poll_fn(|cx| gate.poll_pass(cx)).await })
    };
    let handles = wait_for_all::<C, _>((0..size).map(|_| task())).await?;
    gate.open();
    for handle in handles {
        handle.await;
    }
    Ok(watch.per(size as u64))
}

async fn deadline<C: Gathers>(size: usize) -> io::Result<Sample> {
    let (at_first, each) = TO_MAKE_TIMERS;
    let deadline = Instant::now() + at_first + each * size as u32;
    let watch = Watch::start();
    let sleeps = wait_for_all::<C, _>((0..size).map(|_| C::sleep_until(deadline))).await?;
    for sleep in sleeps {
        sleep.await;
    }
    Ok(watch.per(size as u64))
}

/// Polls each once, so that this task waits for all of them. An error if one need not be waited for.
async fn wait_for_all<C: Contender, F: Future>(
    futures: impl Iterator<Item = F>,
) -> io::Result<Vec<Pin<Box<F>>>> {
    let mut waiting = Vec::with_capacity(futures.size_hint().0);
    for future in futures {
        let mut future = Box::pin(future);
        let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if first.is_ready() {
            let text = "one was done before all had come: the machine is too slow, or too busy";
            return Err(io::Error::other(text));
        }
        waiting.push(future);
        if waiting.len().is_multiple_of(A_POLL) {
            C::yield_now().await;
        }
    }
    Ok(waiting)
}

async fn join_set<C: Gathers>(size: usize) -> io::Result<Sample> {
    let watch = Watch::start();
    C::join_set(size).await;
    Ok(watch.per(size as u64))
}

/// The connections come from another process, so that what they cost there is not counted.
async fn accepts<C: Gathers>(size: usize) -> io::Result<Sample> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    listener.set_nonblocking(true)?;
    sys::lengthen_backlog(&listener)?;
    let _callers = Child::callers(listener.local_addr()?.port(), size)?;
    let watch = Watch::start();
    C::accept(listener, size).await?;
    Ok(watch.per(size as u64))
}

async fn signal<C: Gathers>(size: usize) -> io::Result<Sample> {
    let watch = Watch::start();
    let listeners: io::Result<Vec<_>> = (0..size).map(|_| C::user_defined1()).collect();
    gather::<C, _>(listeners?.into_iter(), sys::raise_user_defined1).await?;
    Ok(watch.per(size as u64))
}
