//! The auto-traits of every public type, and `Debug` everywhere. What compiles holds.

use std::fmt::Debug;
use std::io::{IoSlice, IoSliceMut};
use std::marker::PhantomPinned;
use std::os::unix::net::UnixStream;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use reveille::io::{AsyncFd, AsyncFdReadyGuard, Interest, Ready, TryIoError};
use reveille::net::udp::{Batch, Outgoing, Received, RecvMeta, Sent};
use reveille::net::{TcpStream, UdpSocket};
use reveille::runtime::{Builder, Handle, Metrics, Runtime, TryCurrentError, UnhandledPanic};
use reveille::signal::unix::{Signal, SignalKind};
use reveille::task::{self, AbortHandle, Id, JoinError, JoinHandle, JoinSet};
use reveille::time::error::Elapsed;
use reveille::time::{Interval, MissedTickBehavior, Sleep, Timeout};

fn debug<T: Debug>() {}
fn send_sync<T: Send + Sync>() {}
fn unpin<T: Unpin>() {}
fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
fn static_error<T: std::error::Error + Send + Sync + 'static>() {}
fn send<T: Send>(_: &T) {}

/// Promise 2, R3. Catches: a handle, timer or socket that owns something of its runtime's.
#[test]
fn names_can_be_sent_and_shared_whatever_they_name() {
    send_sync::<JoinHandle<Rc<()>>>();
    send_sync::<JoinSet<Rc<()>>>();
    send_sync::<AbortHandle>();
    send_sync::<Id>();
    send_sync::<Handle>();
    send_sync::<Sleep>();
    send_sync::<Timeout<()>>();
    send_sync::<Interval>();
    send_sync::<AsyncFd<UnixStream>>();
    send_sync::<AsyncFdReadyGuard<'_, UnixStream>>();
    send_sync::<UdpSocket>();
    send_sync::<Batch>();
    send_sync::<Received<'_>>();
    send_sync::<Outgoing<'_>>();
    send_sync::<Signal>();
    send_sync::<SignalKind>();
    send_sync::<Builder>();
    send_sync::<task::Builder<'_>>();
    send_sync::<Metrics>();
    send_sync::<Interest>();
    send_sync::<Ready>();
    send_sync::<MissedTickBehavior>();
    send_sync::<UnhandledPanic>();
}

/// Catches: a runtime that cannot be borrowed by what is caught.
#[test]
fn a_runtime_may_be_used_in_what_is_caught() {
    unwind_safe::<Runtime>();
}

/// Catches: a name that has to be cloned.
#[test]
fn names_that_own_nothing_are_copied() {
    fn copy<T: Copy>() {}
    copy::<Handle>();
    copy::<AbortHandle>();
    copy::<Id>();
    copy::<Interest>();
    copy::<Metrics>();
    copy::<Received<'_>>();
    copy::<RecvMeta>();
    copy::<Outgoing<'_>>();
    copy::<Sent>();
}

/// Catches: an error that `?` cannot turn into a `Box<dyn Error + Send + Sync>`.
#[test]
fn errors_can_be_boxed_and_sent() {
    static_error::<JoinError>();
    static_error::<TryCurrentError>();
    static_error::<TryIoError>();
    static_error::<Elapsed>();
}

/// Catches: a handle, timer or socket that has to be pinned by whoever keeps it.
#[test]
fn whatever_is_awaited_by_reference_is_unpin() {
    unpin::<JoinHandle<PhantomPinned>>();
    unpin::<JoinSet<PhantomPinned>>();
    unpin::<Sleep>();
    unpin::<Interval>();
    unpin::<AsyncFd<UnixStream>>();
    unpin::<Signal>();
    unpin::<Runtime>();
    unpin::<Timeout<Sleep>>();
}

/// Promise 2. Catches: a future that holds something of its thread's across an await.
#[test]
fn futures_that_wait_can_be_sent() {
    let fd = AsyncFd::new(UnixStream::pair().unwrap().0).unwrap();
    send(&fd.readable());
    send(&fd.writable());
    send(&fd.ready(Interest::READABLE));
    send(&fd.async_io(Interest::READABLE, |_| Ok(())));
    send(&task::yield_now());
    send(&JoinSet::<Rc<()>>::new().join_next());
    send(&reveille::time::advance(std::time::Duration::ZERO));
    send(&reveille::signal::ctrl_c());
}

/// Catches: a read or write that `select` or `&mut future` cannot take as it is.
#[test]
fn futures_that_read_and_write_are_unpin() {
    fn is_unpin<T: Unpin>(_: T) {}
    /// Makes the futures, and polls none.
    fn futures(stream: &TcpStream, fd: &AsyncFd<UnixStream>, buf: &mut [u8]) {
        is_unpin(stream.read(buf));
        is_unpin(stream.read_vec(&mut Vec::new()));
        is_unpin(stream.read_exact(buf));
        is_unpin(stream.read_vectored(&mut [IoSliceMut::new(buf)]));
        is_unpin(stream.peek(buf));
        is_unpin(stream.write(buf));
        is_unpin(stream.write_all(buf));
        is_unpin(stream.write_vectored(&[IoSlice::new(buf)]));
        is_unpin(fd.async_io(Interest::READABLE, |_| Ok(())));
    }
    /// Of datagrams, and these can be sent, too.
    fn datagrams(socket: &UdpSocket, batch: &mut Batch, buf: &mut [u8]) {
        fn both<T: Unpin + Send>(_: T) {}
        both(socket.recv(buf));
        both(socket.recv_from(buf));
        both(socket.recv_vec(&mut Vec::new()));
        both(socket.recv_many(batch));
        both(socket.peek_from(buf));
        both(socket.send(buf));
        both(socket.send_many(&[Outgoing::to_peer(buf)]));
        send(&socket.send_to(buf, "localhost:9"));
        send(&socket.connect("localhost:9"));
    }
    let _made: fn(&TcpStream, &AsyncFd<UnixStream>, &mut [u8]) = futures;
    let _made: fn(&UdpSocket, &mut Batch, &mut [u8]) = datagrams;
}

/// R3. Catches: a runtime that can be sent away from its tasks, a pinned future that is `Unpin`.
#[test]
fn what_must_not_hold_does_not() {
    /// `$type: $trait` is ambiguous, and does not compile, exactly if the type has the trait.
    macro_rules! lacks {
        ($type:ty: $trait:path) => {{
            trait Ambiguous<A> {
                fn item() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct Has;
            impl<T: ?Sized + $trait> Ambiguous<Has> for T {}
            <$type as Ambiguous<_>>::item()
        }};
    }
    lacks!(Runtime: Send);
    lacks!(Runtime: Sync);
    lacks!(Timeout<PhantomPinned>: Unpin);
    lacks!(AsyncFd<Rc<UnixStream>>: Send);
}

/// Catches: a handle that makes a struct unfit for `catch_unwind`.
#[test]
fn names_are_unwind_safe() {
    unwind_safe::<JoinHandle<Rc<()>>>();
    unwind_safe::<AbortHandle>();
    unwind_safe::<Handle>();
    unwind_safe::<Sleep>();
    unwind_safe::<Interval>();
}

/// Catches: a public type that a user's `derive(Debug)` stumbles over.
#[test]
fn everything_public_is_debug() {
    debug::<JoinHandle<Rc<()>>>();
    debug::<JoinSet<Rc<()>>>();
    debug::<(AbortHandle, Id, JoinError, task::Builder<'_>)>();
    debug::<(
        Runtime,
        Handle,
        Builder,
        Metrics,
        UnhandledPanic,
        TryCurrentError,
    )>();
    debug::<(Sleep, Timeout<()>, Interval, MissedTickBehavior, Elapsed)>();
    debug::<(
        AsyncFd<UnixStream>,
        AsyncFdReadyGuard<'_, UnixStream>,
        TryIoError,
    )>();
    debug::<(Interest, Ready, Signal, SignalKind)>();
}
