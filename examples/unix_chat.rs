//! A chat over a Unix socket: who connects says a name, and then each line goes to all the others, behind that name.
//!
//! ```text
//! cargo run --example unix_chat                   # or: -- /run/user/1000/chat
//! listening on /tmp/reveille-chat
//!
//! socat - UNIX-CONNECT:/tmp/reveille-chat         # in a second terminal, and in a third:
//! ann                                             # a name
//! hello                                           # the others read `ann: hello`
//! ```
//!
//! What to look for: a client chooses its name, but not its credentials, which the kernel vouches for; the server prints
//! both. The file of the socket is the program's own affair: `bind` makes it, and at the end (Ctrl-C, SIGTERM) it is
//! removed here. The room is a channel of tokio's, as in examples/chat_broadcast.rs.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use futures_lite::future::or;
use reveille::net::{UnixListener, UnixStream};
use reveille::signal::unix::{SignalKind, signal};
use reveille::task::{coop::cooperative, yield_now};
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

/// The longest line, in bytes; what is longer is taken for several. The longest name is as long.
const LINE: usize = 1024;
/// Lines that are kept for the slowest, at most.
const KEPT: usize = 256;

/// The number of the client that said it, and the line.
#[derive(Clone)]
struct Said(u64, Rc<[u8]>);

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let path = std::env::args_os().nth(1);
    let path = PathBuf::from(path.unwrap_or("/tmp/reveille-chat".into()));
    reveille::block_on(async {
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        // After a crash, or SIGKILL, the file is still there, and this says "Address in use". If no other chat runs,
        // remove the file by hand. A server that has to start without a hand connects to it first: ECONNREFUSED
        // says that nobody listens, or not yet. The page of `reveille::net::unix` has this as a function.
        let listener = UnixListener::bind(&path)?;
        println!("listening on {}", path.display());
        let room = Sender::new(KEPT);
        let accept = async {
            for me in 0.. {
                let (stream, _unnamed) = listener.accept().await?;
                let room = room.clone();
                reveille::spawn(async move { chat(&stream, me, &room).await });
            }
            Ok(())
        };
        let signalled = async {
            or(interrupt.recv(), terminate.recv()).await;
            Ok(())
        };
        let end = or(accept, signalled).await;
        // While it still listens: after that, the file of a successor might be there.
        std::fs::remove_file(&path)?;
        end
    })
}

/// Serves one client, until it leaves or cannot be reached.
async fn chat(stream: &UnixStream, me: u64, room: &Sender<Said>) -> io::Result<()> {
    let mut received = Vec::with_capacity(LINE);
    let Some(mut name) = next_line(stream, &mut received).await? else {
        return Ok(());
    };
    name.pop(); // The line feed.
    let peer = stream.peer_cred()?;
    let shown = String::from_utf8_lossy(&name);
    println!("{shown:?} is a process of user {}", peer.uid());
    let others = tell(stream, me, room.subscribe());
    let listen = async {
        while let Some(line) = next_line(stream, &mut received).await? {
            let said = [&name[..], b": ", &line].concat();
            // It is an error if no receiver is there; but this client's own receiver is there.
            let _heard_by = room.send(Said(me, said.into()));
            // All receivers were woken, and run before this client says its next line.
            yield_now().await;
        }
        Ok(())
    };
    or(listen, others).await
}

/// The next line, with its line feed; `None` at the end. What is too long, or ended by the end, is given a line feed.
async fn next_line(stream: &UnixStream, received: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut is_end = false;
    loop {
        let feed = received.iter().take(LINE).position(|byte| *byte == b'\n');
        let rest = received.len().min(LINE);
        let is_line = rest == LINE || is_end && rest > 0;
        if let Some(length) = feed.map(|at| at + 1).or(is_line.then_some(rest)) {
            let mut line: Vec<u8> = received.drain(..length).collect();
            if feed.is_none() {
                line.push(b'\n');
            }
            return Ok(Some(line));
        }
        if is_end {
            return Ok(None);
        }
        is_end = stream.read_vec(received).await? == 0;
    }
}

/// Writes what the others say.
async fn tell(stream: &UnixStream, me: u64, mut lines: Receiver<Said>) -> io::Result<()> {
    loop {
        match cooperative(lines.recv()).await {
            Ok(Said(by, _)) if by == me => {}
            Ok(Said(_, line)) => stream.write_all(&line).await?,
            Err(RecvError::Lagged(missed)) => {
                let told = format!("* you missed {missed} lines\n");
                stream.write_all(told.as_bytes()).await?;
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
