//! Operations that wait for descriptors, against what poll(2) says.
//!
//! A few pairs of Unix sockets and pipes; readers and writers that wait in every way there is, give
//! up, come back, and move; peers that send, read, shut down and close. At rest no operation may
//! wait for what the kernel holds already (R10), and no source is left behind.

use std::cell::Cell;
use std::fs;
use std::future::poll_fn;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;

use reveille::Runtime;
use reveille::io::{AsyncFd, Interest};
use reveille::task::{AbortHandle, JoinHandle};

use crate::Input;

/// Descriptors of ours, each with a peer.
const LINES: usize = 4;

pub fn run(data: &[u8]) {
    // libFuzzer's `main` leaves SIGPIPE as it is, which std's does not.
    // SAFETY: SIG_IGN installs no handler, so no code runs in signal context.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let mut world = World::new(Input::new(data));
    while let Some(step) = world.input.next() {
        let line = world.input.below(LINES);
        world.step(step, line);
    }
    world.settle();
    world.lines.clear();
    world.waits.iter().for_each(|wait| wait.abort.abort());
    world.waits.clear();
    for _ in 0..3 {
        world.runtime.turn().unwrap();
    }
    // All that is left in the interest list are the runtime's own eventfd and timerfd.
    assert_eq!(registrations(&world.runtime), 2);
}

struct World {
    input: Input,
    runtime: Runtime,
    lines: Vec<Line>,
    waits: Vec<Wait>,
}

struct Line {
    ours: Rc<AsyncFd<Ours>>,
    theirs: Option<Theirs>,
}

/// A task that waits, and what for.
struct Wait {
    ours: Rc<AsyncFd<Ours>>,
    reads: bool,
    /// What a wait for readiness, and not for an operation, has found to be over.
    done: Rc<Cell<bool>>,
    abort: AbortHandle,
    task: JoinHandle<()>,
}

enum Ours {
    Socket(UnixStream),
    Reader(PipeReader),
    Writer(PipeWriter),
}

enum Theirs {
    Socket(UnixStream),
    Reader(PipeReader),
    Writer(PipeWriter),
}

impl World {
    fn new(input: Input) -> World {
        let mut world = World {
            input,
            runtime: Runtime::new().unwrap(),
            lines: Vec::new(),
            waits: Vec::new(),
        };
        for _ in 0..LINES {
            let line = world.line();
            world.lines.push(line);
        }
        world
    }

    fn line(&self) -> Line {
        let (ours, theirs) = match self.input.byte() % 4 {
            0 => {
                let (reader, writer) = io::pipe().unwrap();
                (Ours::Reader(reader), Theirs::Writer(writer))
            }
            1 => {
                let (reader, writer) = io::pipe().unwrap();
                (Ours::Writer(writer), Theirs::Reader(reader))
            }
            _ => {
                let (ours, theirs) = UnixStream::pair().unwrap();
                (Ours::Socket(ours), Theirs::Socket(theirs))
            }
        };
        nonblocking(ours.as_fd());
        nonblocking(theirs.as_fd());
        let ours = AsyncFd::new(ours).unwrap();
        Line {
            ours: Rc::new(ours),
            theirs: Some(theirs),
        }
    }

    fn step(&mut self, step: u8, line: usize) {
        match step % 16 {
            0 => self.wait_for_operation(line, true),
            1 => self.wait_for_operation(line, false),
            2 => self.wait_for_report(line, true),
            3 => self.wait_for_report(line, false),
            4 => self.wait_polled(line, self.input.byte() % 2 == 0),
            5 | 6 => self.they_write(line),
            7 => self.they_read(line),
            8 => self.they_end(line),
            9 => self.try_now(line),
            10 => self.give_up(),
            11 => self.lines[line] = self.line(),
            12 => self.hold_a_guard(line),
            13 => self.settle(),
            _ => self.runtime.turn().unwrap(),
        }
    }

    fn wait(&mut self, line: usize, reads: bool, f: impl AsyncFnOnce(Rc<AsyncFd<Ours>>) + 'static) {
        if self.waits.len() >= 24 {
            return;
        }
        let ours = Rc::clone(&self.lines[line].ours);
        if !ours.get_ref().can(reads) {
            return;
        }
        let done = Rc::new(Cell::new(false));
        let (fd, finished) = (Rc::clone(&ours), Rc::clone(&done));
        let task = self.runtime.spawn(async move {
            f(fd).await;
            finished.set(true);
        });
        let abort = task.abort_handle();
        self.waits.push(Wait {
            ours,
            reads,
            done,
            abort,
            task,
        });
    }

    /// The runtime tries, and waits.
    fn wait_for_operation(&mut self, line: usize, reads: bool) {
        let (len, times) = (self.len(), self.input.below(3) + 1);
        self.wait(line, reads, async move |fd| {
            for _ in 0..times {
                let done = fd
                    .async_io(interest(reads), |fd| fd.transfer(reads, len))
                    .await;
                if matches!(done, Err(_) | Ok(0)) {
                    break;
                }
            }
        });
    }

    /// The user tries, after the report.
    fn wait_for_report(&mut self, line: usize, reads: bool) {
        let len = self.len();
        self.wait(line, reads, async move |fd| {
            loop {
                let mut guard = fd.ready(interest(reads)).await.unwrap();
                if guard.try_io(|fd| fd.get_ref().transfer(reads, len)).is_ok() {
                    break;
                }
            }
        });
    }

    /// As [`wait_for_report`](World::wait_for_report), by the methods that own no waiter.
    fn wait_polled(&mut self, line: usize, reads: bool) {
        let len = self.len();
        self.wait(line, reads, async move |fd| {
            poll_fn(|cx| {
                loop {
                    let ready = if reads {
                        fd.poll_read_ready(cx)
                    } else {
                        fd.poll_write_ready(cx)
                    };
                    let Poll::Ready(guard) = ready else {
                        return Poll::Pending;
                    };
                    if guard
                        .unwrap()
                        .try_io(|fd| fd.get_ref().transfer(reads, len))
                        .is_ok()
                    {
                        return Poll::Ready(());
                    }
                }
            })
            .await;
        });
    }

    /// A guard that is held while the world goes on, then clears what it saw if that is disproved.
    fn hold_a_guard(&mut self, line: usize) {
        let (len, yields) = (self.len(), self.input.below(4));
        self.wait(line, true, async move |fd| {
            let mut guard = fd.readable().await.unwrap();
            // The first look empties it; what the second finds may have come in between.
            let _emptied = fd.get_ref().transfer(true, len);
            let second = fd.get_ref().transfer(true, len);
            let missing = second.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            for _ in 0..yields {
                reveille::task::yield_now().await;
            }
            if missing {
                guard.clear_ready();
            }
        });
    }

    fn len(&self) -> usize {
        [1, 3, 100, 5000, 70_000][self.input.below(5)]
    }

    fn they_write(&mut self, line: usize) {
        let bytes = vec![7; self.len()];
        let _sent = match &mut self.lines[line].theirs {
            Some(Theirs::Socket(socket)) => socket.write(&bytes).ok(),
            Some(Theirs::Writer(writer)) => writer.write(&bytes).ok(),
            Some(Theirs::Reader(_)) | None => None,
        };
    }

    fn they_read(&mut self, line: usize) {
        let mut buf = vec![0; self.len() * 4];
        let _received = match &mut self.lines[line].theirs {
            Some(Theirs::Socket(socket)) => socket.read(&mut buf).ok(),
            Some(Theirs::Reader(reader)) => reader.read(&mut buf).ok(),
            Some(Theirs::Writer(_)) | None => None,
        };
    }

    fn they_end(&mut self, line: usize) {
        let theirs = &mut self.lines[line].theirs;
        match (self.input.byte() % 4, theirs.as_ref()) {
            (0, Some(Theirs::Socket(socket))) => drop(socket.shutdown(Shutdown::Write)),
            (1, Some(Theirs::Socket(socket))) => drop(socket.shutdown(Shutdown::Read)),
            _ => drop(theirs.take()),
        }
    }

    /// Outside the runtime, where an operation is tried and nothing is cleared.
    fn try_now(&self, line: usize) {
        let reads = self.input.byte() % 2 == 0;
        let ours = &self.lines[line].ours;
        if ours.get_ref().can(reads) {
            let len = self.len();
            let _tried = ours.try_io(interest(reads), |fd| fd.transfer(reads, len));
        }
    }

    fn give_up(&mut self) {
        if !self.waits.is_empty() {
            let chosen = self.input.below(self.waits.len());
            let wait = self.waits.swap_remove(chosen);
            wait.abort.abort();
        }
    }

    /// Turns until nothing moves, and asks the kernel whether anybody waits in vain.
    fn settle(&mut self) {
        for turns in 0.. {
            assert!(turns < 10_000, "they never come to rest");
            self.runtime.turn().unwrap();
            if self.runtime.next_deadline().is_none() && !readable(self.runtime.as_fd()) {
                break;
            }
        }
        self.waits.retain(|wait| !wait.done.get());
        for wait in &self.waits {
            let events = if wait.reads {
                libc::POLLIN | libc::POLLRDHUP
            } else {
                libc::POLLOUT
            };
            let found = poll(wait.ours.as_fd(), events);
            assert_eq!(found, 0, "stranded: {:?} waits, {found:}", wait.task);
        }
    }
}

impl Ours {
    fn can(&self, read: bool) -> bool {
        match self {
            Ours::Socket(_) => true,
            Ours::Reader(_) => read,
            Ours::Writer(_) => !read,
        }
    }

    /// Reads or writes once.
    fn transfer(&self, reads: bool, len: usize) -> io::Result<usize> {
        let mut buf = vec![0; len];
        match self {
            Ours::Socket(socket) if reads => (&*socket).read(&mut buf),
            Ours::Socket(socket) => (&*socket).write(&buf),
            Ours::Reader(reader) => (&*reader).read(&mut buf),
            Ours::Writer(writer) => (&*writer).write(&buf),
        }
    }
}

impl AsFd for Ours {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Ours::Socket(socket) => socket.as_fd(),
            Ours::Reader(reader) => reader.as_fd(),
            Ours::Writer(writer) => writer.as_fd(),
        }
    }
}

impl AsFd for Theirs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Theirs::Socket(socket) => socket.as_fd(),
            Theirs::Reader(reader) => reader.as_fd(),
            Theirs::Writer(writer) => writer.as_fd(),
        }
    }
}

fn interest(reads: bool) -> Interest {
    if reads {
        Interest::READABLE
    } else {
        Interest::WRITABLE
    }
}

fn nonblocking(fd: BorrowedFd<'_>) {
    // SAFETY: F_SETFL takes an integer and touches no memory of ours.
    let set = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(set, 0);
}

/// What the kernel has to say of `fd` now, errors and hang-ups included.
fn poll(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::c_short {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: the pointer is good for one pollfd, which outlives the call, and the count is 1.
    let found = unsafe { libc::poll(&raw mut entry, 1, 0) };
    assert!(found >= 0);
    entry.revents
}

fn readable(fd: BorrowedFd<'_>) -> bool {
    poll(fd, libc::POLLIN) != 0
}

/// How many descriptors are in the runtime's interest list.
fn registrations(runtime: &Runtime) -> usize {
    let path = format!("/proc/self/fdinfo/{}", runtime.as_fd().as_raw_fd());
    let lines = fs::read_to_string(path).unwrap();
    lines
        .lines()
        .filter(|line| line.starts_with("tfd:"))
        .count()
}
