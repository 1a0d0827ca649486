//! Pipes, as the columns see them: each has one side.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::{env, fs, future, io, process};

use reveille::net::pipe::{OpenOptions, Receiver, Sender, pipe};

use super::subject::{
    Creation, Descriptor, End, Kind, Operation, Parts, Peer, Shape, Side, Subject, Wired,
};

pub(crate) fn kinds() -> Vec<Kind> {
    let reads = |name, make, creations| {
        let (sides, breaks): (&[_], &[_]) = (&[Side::Input], &[]);
        let shape = Shape::End(End {
            sides,
            breaks,
            parts: Parts::Bytes,
            make,
        });
        Kind {
            name,
            shape,
            creations,
        }
    };
    let writes = |name, make, creations| {
        let sides: &[_] = &[Side::Output];
        let shape = Shape::End(End {
            sides,
            breaks: sides,
            parts: Parts::Bytes,
            make,
        });
        Kind {
            name,
            shape,
            creations,
        }
    };
    let pipes = || vec![Creation::new("pipe", || future::ready(pipe()))];
    vec![
        reads("pipe::Receiver", || receiver_of(pipe().unwrap()), pipes),
        reads(
            "pipe::Receiver of a FIFO",
            || receiver_of(Fifo::new().ends()),
            receivers,
        ),
        writes("pipe::Sender", || sender_of(pipe().unwrap()), pipes),
        writes(
            "pipe::Sender of a FIFO",
            || sender_of(Fifo::new().ends()),
            senders,
        ),
    ]
}

fn receiver_of((sender, receiver): (Sender, Receiver)) -> Wired {
    (
        Box::new(Reads(receiver)),
        peer(sender.into_nonblocking_fd()),
    )
}

fn sender_of((sender, receiver): (Sender, Receiver)) -> Wired {
    (
        Box::new(Writes(sender)),
        peer(receiver.into_nonblocking_fd()),
    )
}

fn receivers() -> Vec<Creation> {
    let fifo = Fifo::new();
    let open = move || future::ready(OpenOptions::new().open_receiver(&fifo.path));
    vec![Creation::new("open_receiver", open)]
}

fn senders() -> Vec<Creation> {
    let fifo = Fifo::new();
    // Without a reader there is none for a sender: fifo(7), ENXIO.
    let reader = OpenOptions::new().open_receiver(&fifo.path).unwrap();
    let open = move || {
        let _kept = &reader;
        future::ready(OpenOptions::new().open_sender(&fifo.path))
    };
    vec![Creation::new("open_sender", open)]
}

fn peer(fd: io::Result<OwnedFd>) -> Box<dyn Peer> {
    Descriptor::boxed(fd.unwrap(), drop)
}

/// A named pipe, which is removed with this.
struct Fifo {
    path: PathBuf,
}

impl Fifo {
    fn new() -> Fifo {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("reveille-every-socket-{}-{nth}", process::id()));
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: mkfifo(3) reads the name, which ends with a NUL and outlives the call.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
        assert_eq!(made, 0, "mkfifo: {}", io::Error::last_os_error());
        Fifo { path }
    }
}

impl Fifo {
    fn ends(&self) -> (Sender, Receiver) {
        let receiver = OpenOptions::new().open_receiver(&self.path).unwrap();
        (
            OpenOptions::new().open_sender(&self.path).unwrap(),
            receiver,
        )
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        fs::remove_file(&self.path).unwrap();
    }
}

struct Reads(Receiver);

impl Subject for Reads {
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(self.0.read(room))
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(room)
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, room)
    }

    fn share(&self) -> OwnedFd {
        self.0.as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        let fd = self.0.into_nonblocking_fd()?;
        Ok(Box::new(Reads(Receiver::from_owned_fd(fd)?)))
    }
}

struct Writes(Sender);

impl Subject for Writes {
    fn output<'a>(&'a self, bytes: &'a [u8]) -> Operation<'a> {
        Box::pin(self.0.write(bytes))
    }

    fn try_output(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn poll_output(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn share(&self) -> OwnedFd {
        self.0.as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        let fd = self.0.into_nonblocking_fd()?;
        Ok(Box::new(Writes(Sender::from_owned_fd(fd)?)))
    }
}
