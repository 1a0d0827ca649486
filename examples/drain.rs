//! A server that ends well: it accepts until SIGTERM, tells all connections, and lets each finish what it does.
//!
//! ```text
//! cargo run --example drain                       # or: -- '[::]:7005' 2, and a limit of 2 s
//! listening on 127.0.0.1:7005
//!
//! nc 127.0.0.1 7005                               # in another terminal
//! 3000                                            # a job that takes 3000 ms; kill the server meanwhile:
//! done after 3000 ms                              # the answer comes,
//! bye                                             # and then the end
//! ```
//!
//! What to look for: three steps. Accepting and the signal race, and the one that is ready first ends the race. A `watch`
//! tells the connections, each of which looks at it where it waits for a request, and nowhere else: so a job that has
//! begun is done. A `JoinSet` waits for them, within a limit; what is left then is dropped with the runtime.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use futures_lite::future::or;
use reveille::net::{TcpListener, TcpStream};
use reveille::signal::unix::{SignalKind, signal};
use reveille::task::{JoinSet, coop::cooperative};
use reveille::time::{sleep, timeout};
use tokio::sync::watch;

/// The longest line, in bytes.
const LINE: usize = 32;

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:7005".to_owned());
    let seconds = args.next().and_then(|seconds| seconds.parse().ok());
    let limit = Duration::from_secs(seconds.unwrap_or(10));
    reveille::block_on(async {
        let listener = TcpListener::bind(address.as_str()).await?;
        let mut terminate = signal(SignalKind::terminate())?;
        println!("listening on {}", listener.local_addr()?);

        let (ending, is_ending) = watch::channel(false);
        let mut connections = JoinSet::new();
        let accept = async {
            loop {
                let (stream, _peer) = listener.accept().await?;
                connections.spawn(connection(stream, is_ending.clone()));
                // Connections that have ended in the meantime are removed from the set.
                while connections.try_join_next().is_some() {}
            }
        };
        let signalled = async {
            terminate.recv().await;
            io::Result::Ok(())
        };
        or(accept, signalled).await?;

        // Nobody new. (examples/echo.rs takes those, too, that wait to be accepted.)
        drop(listener);
        ending.send_replace(true);
        let drain = async { while connections.join_next().await.is_some() {} };
        if timeout(limit, drain).await.is_err() {
            eprintln!("drain: {} connections took too long", connections.len());
        }
        Ok(())
    })
}

/// Does one job after the other: a line has its milliseconds.
async fn connection(stream: TcpStream, mut is_ending: watch::Receiver<bool>) -> io::Result<()> {
    let mut received = Vec::with_capacity(LINE);
    loop {
        // `None` once the server ends. What has come of a line stays in `received`: a read that is dropped takes nothing.
        let line = or(
            async {
                let _told = cooperative(is_ending.wait_for(|ending| *ending)).await;
                Ok(None)
            },
            next_line(&stream, &mut received),
        );
        let Some(line) = line.await? else {
            return say(stream, "bye").await;
        };
        let Ok(milliseconds) = line.trim().parse() else {
            return say(stream, "? a number of milliseconds").await;
        };
        sleep(Duration::from_millis(milliseconds)).await;
        let answer = format!("done after {milliseconds} ms\n");
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The last word. A client that sends a line just now must see it, and no reset: examples/close_gently.rs.
async fn say(stream: TcpStream, word: &str) -> io::Result<()> {
    stream.write_all(format!("{word}\n").as_bytes()).await?;
    stream.shutdown(Shutdown::Write)?;
    let mut unread = [0; LINE];
    let drain = async { while matches!(stream.read(&mut unread).await, Ok(1..)) {} };
    timeout(Duration::from_secs(1), drain).await.or(Ok(()))
}

/// The next line; `None` at the end of the stream, or if it is too long.
async fn next_line(stream: &TcpStream, received: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = received.iter().position(|byte| *byte == b'\n') {
            let line = received.drain(..=end).collect();
            return Ok(String::from_utf8(line).ok().or(Some(String::new())));
        }
        if received.len() >= LINE || stream.read_vec(received).await? == 0 {
            return Ok(None);
        }
    }
}
