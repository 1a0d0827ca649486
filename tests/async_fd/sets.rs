//! The two sets of bits: what one waits for, and what was reported.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use futures_lite::future::poll_once;
use reveille::Runtime;
use reveille::io::{AsyncFd, Interest, Ready};

use crate::faults::pipe;
use crate::limit::limit;
use crate::{fill, pair, write_one};

const INTERESTS: [(Interest, &str); 4] = [
    (Interest::READABLE, "READABLE"),
    (Interest::WRITABLE, "WRITABLE"),
    (Interest::PRIORITY, "PRIORITY"),
    (Interest::ERROR, "ERROR"),
];

const READY: [(Ready, &str); 6] = [
    (Ready::READABLE, "READABLE"),
    (Ready::WRITABLE, "WRITABLE"),
    (Ready::READ_CLOSED, "READ_CLOSED"),
    (Ready::WRITE_CLOSED, "WRITE_CLOSED"),
    (Ready::PRIORITY, "PRIORITY"),
    (Ready::ERROR, "ERROR"),
];

/// Every interest but the empty one, which nobody can make, with its bits.
fn interests() -> impl Iterator<Item = (usize, Interest)> {
    (1..16).map(|bits| {
        let members = (0..4).filter(|bit| bits & (1 << bit) != 0);
        let interest = members.map(|bit| INTERESTS[bit].0).reduce(|a, b| a | b);
        (bits, interest.unwrap())
    })
}

/// Every readiness with its bits.
fn readies() -> impl Iterator<Item = (usize, Ready)> {
    (0..64).map(|bits| {
        let members = (0..6).filter(|bit| bits & (1 << bit) != 0);
        let ready = members.fold(Ready::EMPTY, |ready, bit| ready | READY[bit].0);
        (bits, ready)
    })
}

/// As a set is written: its members in order.
fn text(bits: usize, names: &[&str]) -> String {
    let members = (0..names.len()).filter(|bit| bits & (1 << bit) != 0);
    let members: Vec<_> = members.map(|bit| names[bit]).collect();
    if members.is_empty() {
        return "EMPTY".into();
    }
    members.join(" | ")
}

/// Catches: a member that is told of another bit, or of none; a union that loses what both have.
#[test]
fn an_interest_has_the_members_that_were_put_in() {
    let _limit = limit(30);
    let names = INTERESTS.map(|(_, name)| name);
    for (bits, interest) in interests() {
        let has = [
            interest.is_readable(),
            interest.is_writable(),
            interest.is_priority(),
            interest.is_error(),
        ];
        assert_eq!(has, [1, 2, 4, 8].map(|bit| bits & bit != 0), "{interest:?}");
        assert_eq!(format!("{interest:?}"), text(bits, &names));
        for (others, other) in interests() {
            let both = interests().find(|(all, _)| *all == bits | others).unwrap();
            assert_eq!(interest | other, both.1);
            assert_eq!(interest.add(other), both.1);
        }
    }
}

/// Catches: an operation on sets that is another; a member that is told of another bit. A closed
/// direction counts as ready, for an operation has an end to tell.
#[test]
fn a_readiness_has_the_members_that_were_put_in() {
    let _limit = limit(30);
    let names = READY.map(|(_, name)| name);
    let all: Vec<_> = readies().collect();
    assert_eq!(all[63].1, Ready::ALL);
    assert_eq!(Ready::default(), Ready::EMPTY);
    for &(bits, ready) in &all {
        assert_eq!(ready.is_empty(), bits == 0);
        let has = [
            ready.is_readable(),
            ready.is_writable(),
            ready.is_read_closed(),
            ready.is_write_closed(),
            ready.is_priority(),
            ready.is_error(),
        ];
        let masks = [1 | 4, 2 | 8, 4, 8, 16, 32];
        assert_eq!(has, masks.map(|mask| bits & mask != 0), "{ready:?}");
        assert_eq!(format!("{ready:?}"), text(bits, &names));
        for &(others, other) in &all {
            assert_eq!(ready | other, all[bits | others].1);
            assert_eq!(ready & other, all[bits & others].1);
            assert_eq!(ready - other, all[bits & !others].1);
            let mut both = ready;
            both |= other;
            assert_eq!(both, ready | other);
        }
    }
}

/// What the first report says to one who waits for this.
fn reported<T: AsFd>(fd: T, interest: Interest) -> Ready {
    let runtime = Runtime::new().unwrap();
    let fd = AsyncFd::with_interest(fd, interest).unwrap();
    runtime.block_on(async { fd.ready(interest).await.unwrap().ready() })
}

/// Catches: an event that counts as another; an end of reading that ends writing.
#[test]
fn each_event_is_reported_as_what_it_is() {
    let _limit = limit(30);
    let both = Interest::READABLE | Interest::WRITABLE;
    let data = Ready::READABLE;
    let (ours, theirs) = pair();
    assert_eq!(reported(&ours, both), Ready::WRITABLE);
    write_one(&theirs, 1);
    assert_eq!(reported(&ours, both), data | Ready::WRITABLE);
    fill(&ours);
    assert_eq!(reported(&ours, both), data);
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(reported(&ours, both), data | Ready::READ_CLOSED);
    drop(theirs);
    let closed = Ready::READ_CLOSED | Ready::WRITE_CLOSED;
    assert_eq!(reported(&ours, both), data | Ready::WRITABLE | closed);
}

/// Catches: ERR that is no error, or ends no wait; a reader that has gone and closes nothing.
#[test]
fn a_pipe_without_a_reader_reports_an_error_and_no_more_writing() {
    let _limit = limit(30);
    let (reader, writer) = pipe();
    drop(reader);
    let interest = Interest::WRITABLE | Interest::ERROR;
    let gone = Ready::WRITABLE | Ready::WRITE_CLOSED | Ready::ERROR;
    assert_eq!(reported(&writer, interest), gone);
    assert_eq!(reported(&writer, Interest::ERROR), Ready::ERROR);
}

/// Catches: priority data that passes for data, or is not waited for.
#[test]
fn an_urgent_byte_is_reported_as_priority_data() {
    let _limit = limit(30);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    // SAFETY: the pointer is good for a read of one byte, and send(2) only reads.
    let sent = unsafe { libc::send(theirs.as_raw_fd(), [1_u8].as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
    assert_eq!(reported(&ours, Interest::PRIORITY), Ready::PRIORITY);
}

/// Fault A32. Catches: a wait for priority data alone that the end of the stream does not end.
#[test]
fn a_wait_for_priority_data_alone_ends_with_the_stream() {
    let _limit = limit(60);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    let reported = crate::within::within(20, move || reported(&ours, Interest::PRIORITY));
    assert_eq!(reported, Ready::READ_CLOSED);
    drop(theirs);
}

/// Fault A32. Pins what the page of `WRITE_CLOSED` says of datagrams: one refusal is reported so, and
/// sends go on.
#[test]
fn a_datagram_that_was_refused_reports_no_more_writing_and_the_next_is_sent() {
    let _limit = limit(30);
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = nobody.local_addr().unwrap();
    drop(nobody);
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    ours.connect(at).unwrap();
    ours.send(b"x").unwrap();
    let both = Interest::READABLE | Interest::WRITABLE;
    let ready = reported(&ours, both);
    assert!(ready.is_write_closed(), "{ready:?}");
    let refused = ours.send(b"x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let somebody = UdpSocket::bind(at).unwrap();
    ours.send(b"y").unwrap();
    assert_eq!(somebody.recv(&mut [0; 2]).unwrap(), 1);
}

/// Catches: a direction that epoll was not asked about and that counts as ready: a wait for either direction spins then,
/// because nothing can disprove it.
#[test]
fn what_is_not_reported_is_never_ready() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
        reader.set_nonblocking(true).unwrap();
        let reader = AsyncFd::with_interest(reader, Interest::READABLE).unwrap();
        // A read that has to wait registers it.
        let read = |reader: &std::os::unix::net::UnixStream| (&mut &*reader).read(&mut [0; 8]);
        let nothing = poll_once(reader.async_io(Interest::READABLE, read)).await;
        assert!(nothing.is_none());
        let either = Interest::READABLE | Interest::WRITABLE;
        assert!(poll_once(reader.ready(either)).await.is_none());
    });
}
