//! Both ends of pipes, anonymous and named, of which other code holds a duplicate, and clears O_NONBLOCK.

use std::cell::RefCell;
use std::env;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use reveille::net::pipe::{OpenOptions, Receiver, Sender, pipe};

use super::kernel::{self, eventually};
use super::play::{Outcome, Play, What, runtime};
use super::random::Random;
use super::schedules;

/// How a pipe comes to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Made,
    /// Anonymous, made by other code.
    Taken,
    /// Opened by its path.
    Named,
    /// Opened by its path, by other code.
    NamedTaken,
}

const KINDS: [Kind; 4] = [Kind::Made, Kind::Taken, Kind::Named, Kind::NamedTaken];

/// A pipe of which one end is ours, and whose other end is the peer's.
struct World {
    kind: Kind,
    path: Option<PathBuf>,
    /// The other end. A named one may be opened again.
    peer: RefCell<Option<File>>,
    /// A duplicate of our end, of other code's.
    sharer: Option<OwnedFd>,
}

impl World {
    /// Both ends as files in non-blocking mode, of a kind that other code makes.
    fn files(&self) -> (File, File) {
        let Some(path) = &self.path else {
            let [reading, writing] = kernel::pipe(0);
            return (reading.into(), writing.into());
        };
        // In this order, or there would be no reader.
        let reading = open(path, false);
        (reading, open(path, true))
    }

    fn new(kind: Kind) -> World {
        let path = matches!(kind, Kind::Named | Kind::NamedTaken).then(fifo);
        World {
            kind,
            path,
            peer: RefCell::new(None),
            sharer: None,
        }
    }

    fn receiver(kind: Kind) -> (World, Receiver) {
        let mut world = World::new(kind);
        let (ours, peer) = match (kind, &world.path) {
            (Kind::Made, _) => {
                let (sender, receiver) = pipe().unwrap();
                (receiver, sender.into_nonblocking_fd().unwrap().into())
            }
            (Kind::Named, Some(path)) => {
                let receiver = OpenOptions::new().open_receiver(path).unwrap();
                (receiver, open(path, true))
            }
            _ => {
                let (reading, writing) = world.files();
                world.sharer = Some(reading.try_clone().unwrap().into());
                (Receiver::from_file(reading).unwrap(), writing)
            }
        };
        world.peer = RefCell::new(Some(peer));
        (world, ours)
    }

    fn sender(kind: Kind) -> (World, Sender) {
        let mut world = World::new(kind);
        let (ours, peer) = match (kind, &world.path) {
            (Kind::Made, _) => {
                let (sender, receiver) = pipe().unwrap();
                (sender, receiver.into_nonblocking_fd().unwrap().into())
            }
            (Kind::Named, Some(path)) => {
                let reading = open(path, false);
                (OpenOptions::new().open_sender(path).unwrap(), reading)
            }
            _ => {
                let (reading, writing) = world.files();
                world.sharer = Some(writing.try_clone().unwrap().into());
                (Sender::from_file(writing).unwrap(), reading)
            }
        };
        world.peer = RefCell::new(Some(peer));
        (world, ours)
    }

    /// Opens the other end again, if it has a name and is closed.
    fn reopen(&self, writing: bool) {
        let mut peer = self.peer.borrow_mut();
        if let (None, Some(path)) = (peer.as_ref(), &self.path) {
            *peer = Some(open(path, writing));
        }
    }

    /// What a sharer of our end may do at any time.
    fn clear_nonblocking(&self) {
        if let Some(sharer) = &self.sharer {
            // SAFETY: F_SETFL takes an int and no pointer.
            let set = unsafe { libc::fcntl(sharer.as_raw_fd(), libc::F_SETFL, 0) };
            assert_eq!(set, 0);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            fs::remove_file(path).unwrap();
        }
    }
}

fn fifo() -> PathBuf {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let nth = MADE.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("reveille-stranded-{}-{nth}", process::id()));
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: mkfifo(3) reads the string, which ends with a zero byte and outlives the call.
    let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
    assert_eq!(made, 0, "mkfifo: {}", io::Error::last_os_error());
    path
}

/// Opens a named pipe in one direction, in non-blocking mode.
fn open(path: &PathBuf, writing: bool) -> File {
    let mut options = File::options();
    options
        .read(!writing)
        .write(writing)
        .custom_flags(libc::O_NONBLOCK);
    options.open(path).unwrap()
}

fn holds(fd: RawFd) -> impl Fn(What) -> bool {
    move |what| {
        let (wanted, ends) = match what {
            What::Bytes => (libc::POLLIN, libc::POLLHUP | libc::POLLERR),
            What::Priority => (libc::POLLPRI, 0),
            What::Room => (libc::POLLOUT, libc::POLLERR),
        };
        kernel::poll(fd, wanted) & (wanted | ends) != 0
    }
}

/// The number of the descriptor, without asking for the descriptor: from then on it would count as shared.
fn number(end: &dyn std::fmt::Debug) -> RawFd {
    let text = format!("{end:?}");
    let digits = text.split_once("fd: ").unwrap().1;
    digits.trim_end_matches(" }").parse().unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    // The other end:
    Transfer(usize),
    Close,
    Reopen,
    ClearNonblocking,
    // Ours, which may wait:
    Plain(usize),
    Vec(usize),
    Vectored(usize),
    Ready,
    // Ours, which does not:
    Try(usize),
    PollAny,
    CancelAny,
    Turn,
    Rest,
}

impl Step {
    fn any(random: &mut Random, sizes: &[usize]) -> Step {
        let n = random.pick(sizes);
        match random.below(64) {
            0..16 => Step::Transfer(n),
            16 => Step::Close,
            17..19 => Step::Reopen,
            19..22 => Step::ClearNonblocking,
            22..32 => Step::Plain(n),
            32..36 => Step::Vec(n),
            36..40 => Step::Vectored(n),
            40..43 => Step::Ready,
            43..46 => Step::Try(n),
            46..48 => Step::PollAny,
            48..50 => Step::CancelAny,
            50..58 => Step::Turn,
            _ => Step::Rest,
        }
    }
}

fn read_step<'a>(
    play: &mut Play<'a>,
    ours: &'a Receiver,
    world: &World,
    sent: &mut Vec<u8>,
    random: &mut Random,
) {
    let step = Step::any(random, &[1, 2, 3, 10, 100, 500]);
    play.tell(&step);
    match step {
        Step::Transfer(n) => {
            let bytes: Vec<u8> = (sent.len()..sent.len() + n).map(|i| i as u8).collect();
            let written = world
                .peer
                .borrow_mut()
                .as_mut()
                .map(|peer| peer.write(&bytes));
            let n = written.and_then(Result::ok).unwrap_or(0);
            sent.extend_from_slice(&bytes[..n]);
        }
        Step::Close => *world.peer.borrow_mut() = None,
        Step::Reopen => world.reopen(true),
        Step::ClearNonblocking => world.clear_nonblocking(),
        Step::Plain(room) => play.begin(What::Bytes, async move {
            let mut buf = vec![0; room];
            Outcome::of_read(ours.read(&mut buf).await, buf)
        }),
        Step::Vec(room) => play.begin(What::Bytes, async move {
            let mut buf = Vec::with_capacity(room);
            Outcome::of_read(ours.read_vec(&mut buf).await, buf)
        }),
        Step::Vectored(room) => play.begin(What::Bytes, async move {
            let mut buf = vec![0; room];
            let mut bufs: Vec<_> = buf.chunks_mut(2).map(IoSliceMut::new).collect();
            let n = ours.read_vectored(&mut bufs).await;
            Outcome::of_read(n, buf)
        }),
        Step::Ready => play.begin(What::Bytes, async move {
            Outcome::of_look(ours.readable().await)
        }),
        Step::Try(room) => play.attempt(|| {
            let mut buf = vec![0; room];
            Outcome::of_read(ours.try_read(&mut buf), buf)
        }),
        Step::PollAny => play.poll_any(random),
        Step::CancelAny => play.cancel_any(random),
        Step::Turn => play.turn(),
        Step::Rest => play.rest(holds(number(ours))),
    }
}

/// R10. Faults A5, A7. Catches: HUP that ends no read; a 0 before the first writer, or between two, that is taken for the
/// end, or an end that is taken for nothing; a reader that blocks the thread.
#[test]
fn no_schedule_strands_the_reader_of_a_pipe_of_ours() {
    schedules(|random| {
        let runtime = runtime(random);
        let (world, ours) = World::receiver(random.pick(&KINDS));
        if random.below(2) == 0 && world.path.is_some() {
            // As if our end had been opened first.
            world.peer.borrow_mut().take();
        }
        let mut sent = Vec::new();
        let mut play = Play::new(&runtime);
        play.tell(&world.kind);
        for _ in 0..10 + random.below(30) {
            read_step(&mut play, &ours, &world, &mut sent, random);
        }
        play.rest(holds(number(&ours)));

        // And nothing was lost or mixed up on the way.
        play.cancel_all();
        eventually("bytes are missing", || {
            let ours = &ours;
            play.begin(What::Bytes, async move {
                let mut buf = vec![0; 1000];
                Outcome::of_read(ours.read(&mut buf).await, buf)
            });
            play.rest(holds(number(ours)));
            play.read.len() >= sent.len()
        });
        assert!(play.read == sent, "not what was sent");
    });
}

fn write_step<'a>(
    play: &mut Play<'a>,
    ours: &'a Sender,
    world: &World,
    taken: &mut usize,
    random: &mut Random,
) {
    let step = Step::any(random, &[1, 100, 3000, 4096, 8192]);
    play.tell(&step);
    match step {
        Step::Transfer(n) => {
            let mut buf = vec![0; n];
            let read = world
                .peer
                .borrow_mut()
                .as_mut()
                .map(|peer| peer.read(&mut buf));
            *taken += read.and_then(Result::ok).unwrap_or(0);
        }
        // What was not read stays in a named pipe only while an end is open: ours is.
        Step::Close => *world.peer.borrow_mut() = None,
        Step::Reopen => world.reopen(false),
        Step::ClearNonblocking => world.clear_nonblocking(),
        Step::Plain(n) | Step::Vec(n) => play.begin(What::Room, async move {
            Outcome::of_write(ours.write(&vec![7; n]).await)
        }),
        Step::Vectored(n) => play.begin(What::Room, async move {
            let bytes = vec![7; n];
            let bufs: Vec<_> = bytes.chunks(n.div_ceil(3)).map(IoSlice::new).collect();
            Outcome::of_write(ours.write_vectored(&bufs).await)
        }),
        Step::Ready => play.begin(What::Room, async move {
            Outcome::of_look(ours.writable().await)
        }),
        Step::Try(n) => play.attempt(|| Outcome::of_write(ours.try_write(&vec![7; n]))),
        Step::PollAny => play.poll_any(random),
        Step::CancelAny => play.cancel_any(random),
        Step::Turn => play.turn(),
        Step::Rest => play.rest(holds(number(ours))),
    }
}

/// R10. Fault A5. Catches: a writer that is not told of room, or of a reader that has gone; one that blocks the thread; bytes
/// that are counted and not written, or written and not counted.
#[test]
fn no_schedule_strands_the_writer_of_a_pipe_of_ours() {
    schedules(|random| {
        let runtime = runtime(random);
        let (world, ours) = World::sender(random.pick(&KINDS));
        kernel::shrink_pipe(number(&ours));
        let mut play = Play::new(&runtime);
        let mut taken = 0;
        play.tell(&world.kind);
        for _ in 0..20 + random.below(20) {
            write_step(&mut play, &ours, &world, &mut taken, random);
        }
        play.rest(holds(number(&ours)));
        play.cancel_all();
        assert_eq!(play.written, taken + ours.unread_bytes().unwrap());
    });
}
