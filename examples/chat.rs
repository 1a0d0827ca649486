//! A chat server: each line that a client sends goes to all the others.
//!
//! ```text
//! cargo run --example chat                        # or: -- '[::]:7001', or port 0 for a free one
//! listening on 127.0.0.1:7001
//!
//! nc 127.0.0.1 7001                               # in a second terminal, and in a third:
//! hello                                           # what is typed in one appears in the other
//! ```
//!
//! What to look for: the clients share a room without a lock, because all run on one thread. Each
//! client is one task that reads and writes at once; the end of either ends both. A line is stored
//! once, however many clients it goes to. A client that reads more slowly than the others write
//! misses lines, and is told how many: the others do not wait for it, and it costs bounded memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_lite::future::or;
use reveille::net::{TcpListener, TcpStream};

/// The longest line, in bytes; what is longer is taken for several.
const LINE: usize = 1024;
/// Lines that wait for one client, at most.
const MAILBOX: usize = 256;

#[derive(Default)]
struct Mailbox {
    lines: VecDeque<Rc<[u8]>>,
    missed: usize,
    reader: Option<Waker>,
}

/// The clients, each by a number that is given once. (An address may come back before the earlier
/// connection from it has been found closed.)
type Room = Rc<RefCell<BTreeMap<u64, Mailbox>>>;

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:7001".to_owned());
    reveille::block_on(async {
        let listener = TcpListener::bind(address.as_str()).await?;
        println!("listening on {}", listener.local_addr()?);
        let room = Room::default();
        for me in 0.. {
            let (stream, _peer) = listener.accept().await?;
            // Before the task first runs, so that it gets every line of those that are accepted
            // later.
            room.borrow_mut().insert(me, Mailbox::default());
            reveille::spawn(chat(stream, me, Rc::clone(&room)));
        }
        Ok(())
    })
}

/// Serves one client, until it leaves or cannot be reached.
async fn chat(stream: TcpStream, me: u64, room: Room) -> io::Result<()> {
    let end = or(listen(&stream, me, &room), tell(&stream, me, &room)).await;
    room.borrow_mut().remove(&me);
    end
}

/// Passes on what the client says.
async fn listen(stream: &TcpStream, me: u64, room: &Room) -> io::Result<()> {
    let mut buf = [0; LINE];
    let mut filled = 0;
    loop {
        let n = stream.read(&mut buf[filled..]).await?;
        filled += n;
        let mut start = 0;
        while let Some(length) = buf[start..filled].iter().position(|byte| *byte == b'\n') {
            say(room, me, &buf[start..=start + length]);
            start += length + 1;
        }
        buf.copy_within(start..filled, 0);
        filled -= start;
        // A line that is too long, or that is ended by the end of the stream.
        if filled == LINE || (n == 0 && filled > 0) {
            say(room, me, &[&buf[..filled], b"\n"].concat());
            filled = 0;
        }
        if n == 0 {
            return Ok(());
        }
    }
}

fn say(room: &Room, me: u64, line: &[u8]) {
    let line: Rc<[u8]> = line.into();
    for (_, mailbox) in room.borrow_mut().iter_mut().filter(|(who, _)| **who != me) {
        if mailbox.missed == 0 && mailbox.lines.len() < MAILBOX {
            mailbox.lines.push_back(Rc::clone(&line));
        } else {
            mailbox.missed += 1;
        }
        if let Some(reader) = mailbox.reader.take() {
            reader.wake();
        }
    }
}

/// Writes what the others say.
async fn tell(stream: &TcpStream, me: u64, room: &Room) -> io::Result<()> {
    loop {
        let line = poll_fn(|cx| match room.borrow_mut().get_mut(&me) {
            Some(mailbox) => mailbox.poll_next(cx.waker()),
            None => Poll::Pending, // The client has left, and this is about to be dropped.
        })
        .await;
        stream.write_all(&line).await?;
    }
}

impl Mailbox {
    fn poll_next(&mut self, reader: &Waker) -> Poll<Rc<[u8]>> {
        if let Some(line) = self.lines.pop_front() {
            return Poll::Ready(line);
        }
        if self.missed > 0 {
            let text = format!("* you missed {} lines\n", self.missed);
            self.missed = 0;
            return Poll::Ready(text.into_bytes().into());
        }
        self.reader = Some(reader.clone());
        Poll::Pending
    }
}
