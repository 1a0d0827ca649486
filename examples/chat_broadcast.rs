//! The chat server once more, on a channel of tokio's: each line that a client sends goes to all the others.
//!
//! ```text
//! cargo run --example chat_broadcast              # or: -- '[::]:7006', or port 0 for a free one
//! listening on 127.0.0.1:7006
//!
//! nc 127.0.0.1 7006                               # in a second terminal, and in a third:
//! hello                                           # what is typed in one appears in the other
//! ```
//!
//! What to look for: tokio's `sync` needs no runtime of tokio's. `broadcast` keeps the last lines for all; a client that
//! reads more slowly than the others write loses the oldest, and is told how many. The channel knows nothing of
//! reveille's budget, so each `recv` is inside `cooperative`: otherwise a client that always has a line to write would let
//! no other task run. examples/chat.rs is the same with a room made by hand.

use std::io;
use std::rc::Rc;

use futures_lite::future::or;
use reveille::net::{TcpListener, TcpStream};
use reveille::task::{coop::cooperative, yield_now};
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

/// The longest line, in bytes; what is longer is taken for several.
const LINE: usize = 1024;
/// Lines that are kept for the slowest, at most.
const KEPT: usize = 256;

/// The number of the client that said it, and the line.
#[derive(Clone)]
struct Said(u64, Rc<[u8]>);

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:7006".to_owned());
    reveille::block_on(async {
        let listener = TcpListener::bind(address.as_str()).await?;
        println!("listening on {}", listener.local_addr()?);
        let room = Sender::new(KEPT);
        for me in 0.. {
            let (stream, _peer) = listener.accept().await?;
            let (room, lines) = (room.clone(), room.subscribe());
            reveille::spawn(async move {
                or(listen(&stream, me, &room), tell(&stream, me, lines)).await
            });
        }
        Ok(())
    })
}

/// Passes on what the client says.
async fn listen(stream: &TcpStream, me: u64, room: &Sender<Said>) -> io::Result<()> {
    let mut received = Vec::with_capacity(LINE);
    loop {
        let n = stream.read_vec(&mut received).await?;
        while let Some(length) = length_of_line(&received, n == 0) {
            let mut line: Vec<u8> = received.drain(..length).collect();
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            // It is an error if no receiver is there; but this client's own receiver is there.
            let _heard_by = room.send(Said(me, line.into()));
            // All receivers were woken, and run before this client says its next line. A client misses lines if its
            // socket is full, or if hundreds of clients say more than KEPT lines before its turn comes.
            yield_now().await;
        }
        if n == 0 {
            return Ok(());
        }
    }
}

/// A line ends with its line feed, where it is too long, or with the stream.
fn length_of_line(received: &[u8], is_end: bool) -> Option<usize> {
    let feed = received.iter().take(LINE).position(|byte| *byte == b'\n');
    let rest = received.len().min(LINE);
    let is_line = rest == LINE || is_end && rest > 0;
    feed.map(|at| at + 1).or(is_line.then_some(rest))
}

/// Writes what the others say.
async fn tell(stream: &TcpStream, me: u64, mut lines: Receiver<Said>) -> io::Result<()> {
    loop {
        match cooperative(lines.recv()).await {
            Ok(Said(by, _)) if by == me => {}
            Ok(Said(_, line)) => stream.write_all(&line).await?,
            // Lines of its own among them are counted, too.
            Err(RecvError::Lagged(missed)) => {
                let told = format!("* you missed {missed} lines\n");
                stream.write_all(told.as_bytes()).await?;
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
