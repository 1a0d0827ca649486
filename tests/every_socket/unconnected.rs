//! The columns of sockets that are yet to be connected, or to listen: they have no peer, and wait while they connect.

use std::any::Any;
use std::fs;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::thread;

use reveille::io::{is_forked_child, is_not_at_home};
use reveille::{Builder, Runtime};

use super::process::in_a_child;
use super::step::{inside, poll};
use super::steps::{eventually, registrations};
use super::subject::set_nonblocking;

/// Where a socket is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// A listener with room.
    Listener,
    /// A listener whose queue is full, so that it takes long.
    FullListener,
    /// An address where no listener is.
    Nowhere,
}

pub(crate) type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Any>>>>>;

/// A value of such a type.
pub(crate) trait Unconnected: Send {
    /// Connects it, and returns what lives as long as it is connected to.
    fn connect(self: Box<Self>, to: To) -> (Connecting, Box<dyn Any>);

    /// Has it listen, bound or not.
    fn listen(self: Box<Self>) -> io::Result<Box<dyn Any>>;

    /// Some of what changes it, by name.
    fn changes(&self) -> Vec<(&'static str, io::Result<()>)>;

    /// Lends its descriptor, of which this is a duplicate.
    fn share(&self) -> OwnedFd;
}

pub(crate) type Make = fn() -> Box<dyn Unconnected>;

/// Of columns that have no meaning for these sockets.
pub(crate) fn none(_: Make) {
    unreachable!("the table has a note there");
}

fn connects(runtime: &Runtime, socket: Box<dyn Unconnected>) {
    let (connecting, _listener) = socket.connect(To::Listener);
    drop(runtime.block_on(connecting).unwrap());
    assert_eq!(registrations(runtime), 0);
}

/// The column reset.
pub(crate) fn refused(make: Make) {
    let runtime = Runtime::new().unwrap();
    let (connecting, _place) = make().connect(To::Nowhere);
    let error = runtime.block_on(connecting).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    assert_eq!(registrations(&runtime), 0);
}

/// The column cancel.
pub(crate) fn canceled(make: Make) {
    for polls in 0..4 {
        let runtime = Runtime::new().unwrap();
        let socket = make();
        let name = name_of(&socket.share());
        let (mut connecting, _listener) = socket.connect(To::FullListener);
        for _ in 0..polls {
            let polled = inside(&runtime, || poll(&mut connecting, Waker::noop()));
            assert!(polled.is_pending(), "{:?}", polled.map_ok(drop));
            runtime.turn().unwrap();
        }
        assert!(is_open(&name));
        drop(connecting);
        assert_eq!(
            (registrations(&runtime), is_open(&name)),
            (0, false),
            "{polls} polls"
        );
    }
}

/// The column first.
pub(crate) fn first_used_elsewhere(make: Make) {
    let here = Runtime::new().unwrap();
    let socket = inside(&here, make);
    thread::spawn(move || connects(&Runtime::new().unwrap(), socket))
        .join()
        .unwrap();
    assert_eq!(registrations(&here), 0);
    let socket = inside(&here, make);
    thread::spawn(move || drop(socket.listen().unwrap()))
        .join()
        .unwrap();
}

/// The column foreign.
pub(crate) fn polled_elsewhere(make: Make) {
    let (home, foreign) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (mut connecting, _listener) = make().connect(To::FullListener);
    assert!(inside(&home, || poll(&mut connecting, Waker::noop())).is_pending());
    match inside(&foreign, || poll(&mut connecting, Waker::noop())) {
        Poll::Ready(Err(error)) => assert!(is_not_at_home(&error), "{error}"),
        polled => panic!("{:?}", polled.map_ok(drop)),
    }
    assert_eq!(registrations(&foreign), 0);
}

/// The column drop.
pub(crate) fn dropped_elsewhere(make: Make) {
    let home = Runtime::new().unwrap();
    let socket = inside(&home, make);
    let name = name_of(&socket.share());
    assert!(is_open(&name));
    thread::spawn(move || drop(socket)).join().unwrap();
    assert!(!is_open(&name));
}

/// The column child.
pub(crate) fn forked(make: Make) {
    let runtime = Runtime::new().unwrap();
    let (connecting, _listener) = make().connect(To::Listener);
    let mut sockets = Some((make(), connecting, make()));
    runtime.block_on(async {
        in_a_child(|| {
            let (changed, mut connecting, listening) = sockets.take().unwrap();
            for (what, outcome) in changed.changes() {
                let error = outcome.expect_err(what);
                assert!(is_forked_child(&error), "{what}: {error}");
            }
            match poll(&mut connecting, Waker::noop()) {
                Poll::Ready(Err(error)) => assert!(is_forked_child(&error), "connect: {error}"),
                polled => panic!("connect: {:?}", polled.map_ok(drop)),
            }
            let error = listening.listen().map(drop).unwrap_err();
            assert!(is_forked_child(&error), "listen: {error}");
        });
    });
    let (changed, connecting, listening) = sockets.unwrap();
    for (what, outcome) in changed.changes() {
        outcome.expect(what);
    }
    connects(&runtime, changed);
    drop(runtime.block_on(connecting).unwrap());
    drop(listening.listen().unwrap());
}

/// The column ended.
pub(crate) fn outlives_its_runtime(make: Make) {
    let home = Runtime::new().unwrap();
    let sockets = inside(&home, || [make(), make()]);
    let (mut connecting, _listener) = make().connect(To::FullListener);
    assert!(inside(&home, || poll(&mut connecting, Waker::noop())).is_pending());
    drop(home);
    drop(connecting);
    let [connected, listening] = sockets;
    let next = Runtime::new().unwrap();
    connects(&next, connected);
    drop(inside(&next, || listening.listen()).unwrap());
}

/// The column block.
pub(crate) fn made_blocking(make: Make) {
    let runtime = Runtime::new().unwrap();
    for to in [To::FullListener, To::Listener] {
        let socket = make();
        let sharer = socket.share();
        set_nonblocking(&sharer, false);
        let (mut connecting, _listener) = socket.connect(to);
        if to == To::Listener {
            drop(runtime.block_on(connecting).unwrap());
        } else {
            let polled = inside(&runtime, || poll(&mut connecting, Waker::noop()));
            assert!(polled.is_pending(), "{:?}", polled.map_ok(drop));
        }
    }
}

/// The column epoll.
pub(crate) fn leaves_nothing_registered(make: Make) {
    let runtime = Runtime::new().unwrap();
    for to in [To::Listener, To::FullListener, To::Nowhere] {
        let socket = make();
        // A sharer keeps it open: the kernel removes nothing by itself.
        let _sharer = socket.share();
        let (mut connecting, _listener) = socket.connect(to);
        let mut attempt = || inside(&runtime, || poll(&mut connecting, Waker::noop()));
        let made = match to {
            To::FullListener => attempt(),
            _ => eventually(|| {
                runtime.turn().unwrap();
                Some(attempt()).filter(Poll::is_ready)
            }),
        };
        drop(made);
        drop(connecting);
        assert_eq!(registrations(&runtime), 0, "{to:?}");
    }
    drop(inside(&runtime, || make().listen()).unwrap());
    assert_eq!(registrations(&runtime), 0);
}

/// The column chaos, under one seed.
pub(crate) fn under_chaos(make: Make, seed: u64) {
    let runtime = Builder::new().chaos(seed).build().unwrap();
    connects(&runtime, make());
    let (connecting, _place) = make().connect(To::Nowhere);
    let error = runtime.block_on(connecting).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    drop(runtime.block_on(async { make().listen() }).unwrap());
}

/// What the kernel calls the socket, by whatever descriptor: proc(5), /proc/pid/fd.
fn name_of(socket: &OwnedFd) -> String {
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()));
    link.unwrap().into_os_string().into_string().unwrap()
}

/// True if this process has a descriptor of the socket.
fn is_open(name: &str) -> bool {
    let mut all = fs::read_dir("/proc/self/fd").unwrap();
    all.any(|entry| fs::read_link(entry.unwrap().path()).is_ok_and(|link| link.as_os_str() == name))
}
