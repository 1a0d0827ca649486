//! What the columns ask of a type: how a value of it is made, and how it is used, whatever it is.
//!
//! An input is what the type waits for until its peer gives it, an output what it waits with until its peer makes
//! room. Both are counted in bytes. A listener's input is a connection, which its dialer has sent one byte.

use std::any::Any;
use std::fs::File;
use std::future::{Future, ready};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use reveille::Runtime;

use super::step::{inside, poll};
use super::steps::eventually;
use super::unconnected::Make;

/// A type, as the columns know it.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// As in the table; what follows a space tells kinds of one type apart.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// All the ways in which a descriptor for a value of it comes to be.
    pub(crate) creations: fn() -> Vec<Creation>,
}

impl Kind {
    /// The name of its row.
    pub(crate) fn row(&self) -> &'static str {
        self.name.split(' ').next().unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Shape {
    End(End),
    /// A socket that is yet to be connected, or to listen.
    Unconnected(Make),
}

/// An end, which has a peer.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// What the type itself does. A half is tested as part of the whole, which does the rest.
    pub(crate) sides: &'static [Side],
    /// Those of the sides that fail when the peer breaks off; an input may only see an end, or nothing.
    pub(crate) breaks: &'static [Side],
    pub(crate) parts: Parts,
    pub(crate) make: fn() -> Wired,
}

/// A value, and what it is connected to.
pub(crate) type Wired = (Box<dyn Subject>, Box<dyn Peer>);

impl End {
    /// Each side in each form.
    pub(crate) fn forms(&self) -> impl Iterator<Item = (Side, Form)> {
        let forms = |side: &Side| FORMS.map(|form| (*side, form));
        self.sides.iter().flat_map(forms)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Input,
    Output,
    /// An output that never waits: the kernel takes it, or drops it.
    OutputAtOnce,
}

/// What the input and the output consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    Bytes,
    /// Each is given and taken as a whole, and may be empty.
    Datagrams,
    /// Each counts as one byte, the one it was sent.
    Connections,
}

pub(crate) type Operation<'a> = Pin<Box<dyn Future<Output = io::Result<usize>> + 'a>>;

/// A value of a type. What the type does not have is left as it is here.
pub(crate) trait Subject: Send {
    fn input<'a>(&'a self, _room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(ready(unsupported()))
    }

    fn try_input(&self, _room: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    fn poll_input(&self, _cx: &mut Context<'_>, _room: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(unsupported())
    }

    fn output<'a>(&'a self, _bytes: &'a [u8]) -> Operation<'a> {
        Box::pin(ready(unsupported()))
    }

    fn try_output(&self, _bytes: &[u8]) -> io::Result<usize> {
        unsupported()
    }

    fn poll_output(&self, _cx: &mut Context<'_>, _bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(unsupported())
    }

    /// Ends the output, while the input goes on.
    fn finish(&mut self) -> io::Result<()> {
        unsupported().map(drop)
    }

    /// Lends its descriptor, of which this is a duplicate.
    fn share(&self) -> OwnedFd;

    /// Takes the descriptor out, and makes the value anew of it.
    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>>;
}

fn unsupported() -> io::Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

/// The other end, which never waits. Dropping it closes it.
pub(crate) trait Peer: Send {
    /// Gives the subject its input; returns how much of it the kernel took.
    fn give(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Takes the subject's output; nothing is its end, or an empty datagram.
    fn take(&mut self, _room: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    /// Gives no more, but goes on taking.
    fn finish(&mut self) {
        unreachable!("its column says that it has no meaning");
    }

    /// Breaks off; a dialer breaks a connection off that was not accepted yet.
    fn reset(&mut self);
}

/// A peer that is a descriptor of the test's own.
pub(crate) struct Descriptor {
    file: Option<File>,
    reset: fn(OwnedFd),
}

impl Descriptor {
    pub(crate) fn boxed(fd: impl Into<OwnedFd>, reset: fn(OwnedFd)) -> Box<dyn Peer> {
        let fd = fd.into();
        set_nonblocking(&fd, true);
        Box::new(Descriptor {
            file: Some(File::from(fd)),
            reset,
        })
    }

    fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("it was not reset")
    }
}

impl Peer for Descriptor {
    fn give(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.file().read(room)
    }

    fn finish(&mut self) {
        shut_down(self.file(), Shutdown::Write);
    }

    fn reset(&mut self) {
        (self.reset)(self.file.take().expect("it was not reset before").into());
    }
}

/// One way in which a descriptor comes to be.
pub(crate) struct Creation {
    pub(crate) how: &'static str,
    #[expect(clippy::type_complexity, reason = "each part says something")]
    pub(crate) create: Box<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Any>>>>>>,
}

impl Creation {
    pub(crate) fn new<T: 'static, F: Future<Output = io::Result<T>> + 'static>(
        how: &'static str,
        create: impl Fn() -> F + 'static,
    ) -> Creation {
        let create = move || {
            let creation = create();
            let create = async move { creation.await.map(|made| Box::new(made) as Box<dyn Any>) };
            Box::pin(create) as Pin<Box<dyn Future<Output = _>>>
        };
        Creation {
            how,
            create: Box::new(create),
        }
    }
}

/// The three forms of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Future,
    Try,
    Poll,
}

pub(crate) const FORMS: [Form; 3] = [Form::Future, Form::Try, Form::Poll];

impl Side {
    /// Awaits the operation, which takes into the buffer, or gives what is in there.
    pub(crate) fn begin<'a>(self, subject: &'a dyn Subject, buf: &'a mut [u8]) -> Operation<'a> {
        match self {
            Side::Input => subject.input(buf),
            _ => subject.output(buf),
        }
    }

    /// Makes the operation once, in the current runtime: a future is polled once and dropped.
    pub(crate) fn once(
        self,
        subject: &dyn Subject,
        form: Form,
        waker: &Waker,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let cx = &mut Context::from_waker(waker);
        let tried = match (form, self) {
            (Form::Future, _) => return poll(&mut self.begin(subject, buf), waker),
            (Form::Poll, Side::Input) => return subject.poll_input(cx, buf),
            (Form::Poll, _) => return subject.poll_output(cx, buf),
            (Form::Try, Side::Input) => subject.try_input(buf),
            (Form::Try, _) => subject.try_output(buf),
        };
        match tried {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            outcome => Poll::Ready(outcome),
        }
    }

    /// Makes the operation until it does not wait; between two attempts the runtime makes a turn.
    #[track_caller]
    pub(crate) fn soon(
        self,
        runtime: &Runtime,
        subject: &dyn Subject,
        form: Form,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        eventually(|| {
            let made = inside(runtime, || self.once(subject, form, Waker::noop(), buf));
            runtime.turn().unwrap();
            match made {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            }
        })
    }
}

/// Sets or clears O_NONBLOCK, for all who share what the descriptor stands for: fcntl(2).
pub(crate) fn set_nonblocking(fd: &impl AsRawFd, nonblocking: bool) {
    // SAFETY: F_GETFL takes no argument and touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    let others = flags & !libc::O_NONBLOCK;
    let flags = if nonblocking {
        others | libc::O_NONBLOCK
    } else {
        others
    };
    // SAFETY: F_SETFL takes an integer and touches no memory of ours.
    let set = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(set, 0);
}

/// shutdown(2), of whatever kind of socket.
pub(crate) fn shut_down(socket: &impl AsRawFd, how: Shutdown) {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: shutdown(2) takes two integers by value.
    let outcome = unsafe { libc::shutdown(socket.as_raw_fd(), how) };
    assert_eq!(outcome, 0, "shutdown: {}", io::Error::last_os_error());
}
