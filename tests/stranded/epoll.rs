//! What epoll(7) itself says and keeps silent about, asked without the library: the facts on the page `two_tutorials`.
//!
//! Interface: [`Epoll`] makes the system calls as they are, and answers with the errno. A test that is red says that a
//! kernel differs, and in what.

use std::fs::{self, File};
use std::io::{Error, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libc::{
    EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, c_int,
};

use super::kernel::{pipe, reset_when_closed, send_urgent, send_with_descriptor, terminal};
use crate::limit::limit;

/// How long an event that is expected may take, and how long silence is listened to.
const SOON: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_millis(20);

/// An epoll instance, bare.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> Epoll {
        // SAFETY: epoll_create1(2) takes an integer and touches no memory of ours.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0, "epoll_create1: {}", Error::last_os_error());
        // SAFETY: `epoll` is open and has no other owner, because the call above has just returned it.
        Epoll(unsafe { OwnedFd::from_raw_fd(epoll) })
    }

    /// epoll_ctl(2); the error is the errno.
    fn control(&self, op: c_int, fd: RawFd, events: c_int, data: u64) -> Result<(), c_int> {
        let events = events as u32;
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: the pointer is good for reads, because it is that of a local which outlives the call; epoll_ctl(2)
        // keeps a copy, and no pointer. A number that is no descriptor is an error.
        let done = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd, &raw mut event) };
        if done == 0 { Ok(()) } else { Err(errno()) }
    }

    /// Adds `fd`, whose events bring its number back, as in the tutorials.
    pub(crate) fn add(&self, fd: &impl AsRawFd, events: c_int) {
        let fd = fd.as_raw_fd();
        assert_eq!(
            self.control(libc::EPOLL_CTL_ADD, fd, events, fd as u64),
            Ok(())
        );
    }

    /// What one wait brings, of at most `room` events: the events and the data of each.
    fn wait_for(&self, room: usize, limit: Duration) -> Result<Vec<(c_int, u64)>, c_int> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        assert!(room <= events.len());
        let (buffer, millis) = (events.as_mut_ptr(), limit.as_millis() as c_int);
        // SAFETY: the buffer is good for writes of `room` events, because it is that of a local array of at least so
        // many, which outlives the call; epoll_wait(2) writes no more than its third argument says.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), buffer, room as c_int, millis) };
        let n = usize::try_from(n).map_err(|_| errno())?;
        Ok(events[..n]
            .iter()
            .map(|e| (e.events as c_int, e.u64))
            .collect())
    }

    pub(crate) fn wait(&self, limit: Duration) -> Vec<(c_int, u64)> {
        self.wait_for(8, limit).expect("epoll_wait")
    }

    /// The events of the one descriptor there is, or 0 for silence.
    fn heard(&self, limit: Duration) -> c_int {
        let events = self.wait(limit);
        assert!(events.len() <= 1, "{events:?}");
        events.first().map_or(0, |(events, _)| *events)
    }

    /// The lines of /proc/self/fdinfo that say what is registered: proc_pid_fdinfo(5).
    fn listed(&self) -> Vec<String> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("tfd:"));
        lines.map(str::to_owned).collect()
    }
}

fn errno() -> c_int {
    Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Two ends of a connection, neither of which blocks.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// What is heard of `fd` under edges, a read of at most 100 bytes, what is heard then, and a second read.
fn two_reads(mut fd: impl Read + AsRawFd, interest: c_int) -> (c_int, String, c_int, String) {
    let epoll = Epoll::new();
    epoll.add(&fd, interest | EPOLLET);
    let mut read = || {
        let mut buffer = [0; 100];
        let n = fd.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    let (first, bytes) = (epoll.heard(SOON), read());
    (first, bytes, epoll.heard(SILENCE), read())
}

/// R10. A runtime that takes each short read for the last hangs in all four.
#[test]
fn a_short_read_may_leave_something_of_which_no_event_speaks() {
    let _limit = limit(60);
    let (mut ours, theirs) = connection();
    ours.write_all(b"abc").unwrap();
    send_urgent(ours.as_raw_fd()).unwrap();
    ours.write_all(b"def").unwrap();
    super::kernel::eventually("all has come", || {
        super::kernel::tcp_bytes_received(theirs.as_raw_fd()) == 7
    });
    let plain = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
    let (events, first, then, second) = two_reads(theirs, plain);
    assert_eq!(events, EPOLLIN | EPOLLOUT);
    assert_eq!(
        (first.as_str(), then, second.as_str()),
        ("abc", 0, "def"),
        "urgent"
    );

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let null = File::open("/dev/null").unwrap();
    send_with_descriptor(ours.as_raw_fd(), b"one", null.as_raw_fd()).unwrap();
    ours.write_all(b"two").unwrap();
    let (_, first, then, second) = two_reads(theirs, plain);
    assert_eq!(
        (first.as_str(), then, second.as_str()),
        ("one", 0, "two"),
        "descriptor"
    );

    let [master, slave] = terminal(true);
    let mut master = File::from(master);
    master.write_all(b"l1\nl2\n").unwrap();
    let (_, first, then, second) = two_reads(File::from(slave), EPOLLIN);
    assert_eq!(
        (first.as_str(), then, second.as_str()),
        ("l1\n", 0, "l2\n"),
        "terminal"
    );

    let (mut ours, theirs) = connection();
    ours.write_all(b"hello").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    super::kernel::eventually("the end has come", || {
        super::kernel::poll(theirs.as_raw_fd(), libc::POLLRDHUP) != 0
    });
    let (events, first, then, second) = two_reads(theirs, EPOLLIN);
    assert_eq!(events, EPOLLIN, "not asked for, an end is no more than IN");
    assert_eq!(
        (first.as_str(), then, second.as_str()),
        ("hello", 0, ""),
        "end"
    );
}

/// R10. What a runtime goes by that trusts short reads of TCP, and of nothing else.
#[test]
fn an_urgent_byte_is_told_by_its_event_if_that_is_asked_for() {
    let _limit = limit(60);
    let (mut ours, theirs) = connection();
    let epoll = Epoll::new();
    epoll.add(&theirs, EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLET);
    assert_eq!(epoll.heard(SOON), EPOLLOUT);
    ours.write_all(b"abc").unwrap();
    assert_eq!(epoll.heard(SOON), EPOLLIN | EPOLLOUT, "room is told again");
    send_urgent(ours.as_raw_fd()).unwrap();
    assert_eq!(epoll.heard(SOON), EPOLLIN | EPOLLPRI | EPOLLOUT);
}

/// Fault A2, R7. A duplicate keeps a closed descriptor registered, for ever and under its old number.
#[test]
fn epoll_reports_a_closed_descriptor_of_which_there_is_a_duplicate() {
    let _limit = limit(60);
    let (mut ours, theirs) = connection();
    let (epoll, number) = (Epoll::new(), theirs.as_raw_fd());
    let (data, add, delete) = (0xabcd_0000_0007, libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_DEL);
    epoll.control(add, number, EPOLLIN, data).unwrap();
    // Above all numbers that other tests of this process may take in the meantime.
    // SAFETY: F_DUPFD_CLOEXEC takes an int and no pointer.
    let duplicate = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 900) };
    // SAFETY: `duplicate` is open and has no other owner, because the call above has just returned it.
    let duplicate = unsafe { OwnedFd::from_raw_fd(duplicate) };
    drop(theirs);
    ours.write_all(b"z").unwrap();
    assert_eq!(epoll.wait(SOON), [(EPOLLIN, data)]);
    let listed = epoll.listed();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let words: Vec<_> = listed[0].split_whitespace().collect();
    let number = number.to_string();
    assert_eq!(&words[..2], ["tfd:", &number]);
    assert_eq!(&words[4..6], ["data:", "abcd00000007"]);
    drop(duplicate);
    // Not at once, if a process that another test starts has a duplicate of its own until its exec.
    super::kernel::eventually("that was the last of them", || epoll.listed().is_empty());
    let closed = 1_000_000;
    assert_eq!(
        epoll.control(delete, closed, 0, 0),
        Err(libc::EBADF),
        "what is closed cannot be taken out"
    );
}

/// Fault A16, A17. The errors of epoll_create(2), epoll_ctl(2) and epoll_wait(2).
#[test]
fn each_misuse_of_epoll_has_its_errno() {
    let _limit = limit(60);
    let (add, modify, delete) = (
        libc::EPOLL_CTL_ADD,
        libc::EPOLL_CTL_MOD,
        libc::EPOLL_CTL_DEL,
    );
    let epoll = Epoll::new();
    let (ours, _theirs) = connection();
    let fd = ours.as_raw_fd();
    assert_eq!(epoll.control(modify, fd, EPOLLIN, 0), Err(libc::ENOENT));
    assert_eq!(epoll.control(delete, fd, 0, 0), Err(libc::ENOENT));
    assert_eq!(epoll.control(add, fd, EPOLLIN, 0), Ok(()));
    assert_eq!(epoll.control(add, fd, EPOLLIN, 0), Err(libc::EEXIST));
    let itself = epoll.0.as_raw_fd();
    assert_eq!(epoll.control(add, itself, EPOLLIN, 0), Err(libc::EINVAL));
    assert_eq!(epoll.control(add, 1_000_000, EPOLLIN, 0), Err(libc::EBADF));
    for path in ["Cargo.toml", "/dev/null", "/dev/zero"] {
        let file = File::open(path).unwrap();
        let refused = epoll.control(add, file.as_raw_fd(), EPOLLIN, 0);
        assert_eq!(refused, Err(libc::EPERM), "{path}");
    }
    assert_eq!(epoll.wait_for(0, SILENCE), Err(libc::EINVAL));
    // SAFETY: epoll_create(2) takes an integer and touches no memory of ours.
    let made = unsafe { libc::epoll_create(0) };
    assert_eq!((made, errno()), (-1, libc::EINVAL));
}

/// What each end of a connection or a pipe looks like. HUP is said when both directions are over, and by no means always
/// when the peer is gone.
#[test]
fn each_end_has_its_events() {
    let _limit = limit(60);
    let all = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
    let hears = |fd: &dyn AsRawFd, expected: c_int| {
        let epoll = Epoll::new();
        epoll.add(&fd.as_raw_fd(), all);
        super::kernel::eventually("all events", || epoll.heard(SOON) == expected);
    };
    // SAFETY: socket(2) takes integers and touches no memory of ours.
    let fresh = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fresh >= 0);
    // SAFETY: `fresh` is open and has no other owner, because the call above has just returned it.
    hears(&unsafe { OwnedFd::from_raw_fd(fresh) }, EPOLLOUT | EPOLLHUP);

    let (ours, mut theirs) = connection();
    ours.shutdown(Shutdown::Write).unwrap();
    hears(&theirs, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    theirs.write_all(b"still").unwrap();
    drop(ours);
    // "still" is unread, so the close is a reset.
    hears(&theirs, all | EPOLLERR | EPOLLHUP);

    let (ours, theirs) = connection();
    drop(ours);
    hears(&theirs, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    theirs.shutdown(Shutdown::Write).unwrap();
    hears(&theirs, all | EPOLLHUP);

    let (ours, theirs) = connection();
    reset_when_closed(&ours);
    drop(ours);
    hears(&theirs, all | EPOLLERR | EPOLLHUP);

    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    hears(&theirs, all | EPOLLHUP);

    let [reader, writer] = pipe(libc::O_NONBLOCK | libc::O_CLOEXEC);
    drop(writer);
    hears(&reader, EPOLLHUP);
    let [reader, writer] = pipe(libc::O_NONBLOCK | libc::O_CLOEXEC);
    drop(reader);
    hears(&writer, EPOLLOUT | EPOLLERR);
}

/// R10. An edge is new bytes, and not bytes that are left; a connection that came before is no edge either.
#[test]
fn under_edges_what_is_left_is_told_with_what_comes_next() {
    let _limit = limit(60);
    let (mut ours, mut theirs) = connection();
    let epoll = Epoll::new();
    epoll.add(&theirs, EPOLLIN | EPOLLET);
    ours.write_all(b"two").unwrap();
    assert_eq!(epoll.heard(SOON), EPOLLIN);
    theirs.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(epoll.heard(SILENCE), 0, "two bytes are left");
    ours.write_all(b"!").unwrap();
    assert_eq!(epoll.heard(SOON), EPOLLIN);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let epoll = Epoll::new();
    epoll.add(&listener, EPOLLIN | EPOLLET);
    let _clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
    assert_eq!(epoll.heard(SOON), EPOLLIN);
    let _first = listener.accept().unwrap();
    assert_eq!(epoll.heard(SILENCE), 0, "two connections are left");
}

/// A source that is disarmed is silent about everything, errors too, until it is armed again.
#[test]
fn oneshot_is_silent_even_about_a_reset_until_it_is_armed_again() {
    let _limit = limit(60);
    let (mut ours, theirs) = connection();
    let epoll = Epoll::new();
    epoll.add(&theirs, EPOLLIN | EPOLLONESHOT);
    ours.write_all(b"q").unwrap();
    assert_eq!(epoll.heard(SOON), EPOLLIN);
    assert_eq!(epoll.heard(SILENCE), 0);
    let arm = |events| {
        epoll.control(
            libc::EPOLL_CTL_MOD,
            theirs.as_raw_fd(),
            events | EPOLLONESHOT,
            0,
        )
    };
    arm(EPOLLIN).unwrap();
    assert_eq!(epoll.heard(SOON), EPOLLIN, "the byte is still there");
    reset_when_closed(&ours);
    drop(ours);
    super::kernel::eventually("the reset has come", || {
        super::kernel::poll(theirs.as_raw_fd(), 0) != 0
    });
    assert_eq!(epoll.heard(SILENCE), 0);
    arm(0).unwrap();
    assert_eq!(epoll.heard(SOON), EPOLLERR | EPOLLHUP);
}

/// What one wait has no room for comes with the next, before what was told already is told again.
#[test]
fn what_does_not_fit_into_a_batch_comes_with_the_next() {
    let _limit = limit(60);
    let pairs = [(); 5].map(|()| UnixStream::pair().unwrap());
    let epoll = Epoll::new();
    for (ours, theirs) in &pairs {
        epoll.add(theirs, EPOLLIN);
        (&mut &*ours).write_all(b"x").unwrap();
    }
    let mut told = Vec::new();
    for room in [2, 2, 1] {
        let events = epoll.wait_for(room, SOON).unwrap();
        told.extend(events.iter().map(|(_, data)| *data));
    }
    told.sort_unstable();
    let mut all = pairs
        .each_ref()
        .map(|(_, theirs)| theirs.as_raw_fd() as u64);
    all.sort_unstable();
    assert_eq!(told, all);
}

/// The instance lives as long as one descriptor of it is open.
#[test]
fn an_instance_outlives_the_descriptor_it_was_made_with() {
    let _limit = limit(60);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let epoll = Epoll::new();
    epoll.add(&theirs, EPOLLIN);
    let other = Epoll(epoll.0.try_clone().unwrap());
    drop(epoll);
    ours.write_all(b"x").unwrap();
    assert_eq!(other.wait(SOON), [(EPOLLIN, theirs.as_raw_fd() as u64)]);
}
