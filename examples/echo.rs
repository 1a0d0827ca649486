//! The echo server: sends back whatever it is sent.
//!
//! ```text
//! cargo run --release --example echo              # or: -- '[::]:7000', or port 0 for a free one
//! listening on 127.0.0.1:7000
//!
//! printf hi | nc -N 127.0.0.1 7000                # in another terminal
//! hi
//! ```
//!
//! On Ctrl-C or SIGTERM the connections that already wait are accepted, but no later ones, and all
//! that are open have five seconds to finish. A second signal ends the program at once.
//!
//! What to look for: a connection that waits holds no buffer, because all share one, which a task
//! fills and empties without awaiting in between. Only what a slow reader leaves over is copied, and
//! nothing more is read until that has been sent. `RUST_LOG=trace` shows every step.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr};
use std::{cell::RefCell, future::poll_fn, iter, process::ExitCode, rc::Rc, time::Duration};

use futures_lite::future::or;
use reveille::net::{TcpListener, TcpStream};
use reveille::signal::unix::{SignalKind, restore_default, signal};
use reveille::{Runtime, task::JoinSet, time::sleep, time::timeout};
use tracing::level_filters::LevelFilter;

/// The one buffer, in bytes: large, so that bulk data takes few system calls.
const BUFFER: usize = 64 * 1024;
/// How many connections can wait to be accepted.
const BACKLOG: usize = 1024;
/// How long open connections may take to finish after the first signal.
const GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let level = std::env::var("RUST_LOG").unwrap_or("warn".to_owned());
    let log = tracing_subscriber::fmt().with_max_level(level.parse().unwrap_or(LevelFilter::WARN));
    log.with_writer(io::stderr).init();

    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:7000".to_owned());
    let (Ok(address), None) = (address.parse(), args.next()) else {
        eprintln!("usage: echo [ADDRESS:PORT]    (127.0.0.1:7000 if not given)");
        return ExitCode::from(2);
    };
    let served = Runtime::new().and_then(|runtime| runtime.block_on(serve(address)));
    let told = served.inspect_err(|error| eprintln!("echo: cannot serve {address}: {error}"));
    ExitCode::from(u8::from(told.is_err()))
}

async fn serve(address: SocketAddr) -> io::Result<()> {
    // Each connection is a descriptor, and the soft limit is often 1,024: getrlimit(2).
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = TcpListener::bind(address).await?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;

    let buffer = Rc::new(RefCell::new(vec![0; BUFFER]));
    // Echoes until the peer closes its write side, and then closes ours. A block and not an async fn, whose
    // future would hold the stream twice: as it came, and in the body.
    let echo = |stream: TcpStream| {
        let bytes = Rc::clone(&buffer);
        async move {
            while let n @ 1.. = poll_fn(|cx| stream.poll_read(cx, &mut bytes.borrow_mut())).await? {
                // No other task has run since, so the buffer still holds what was read.
                let sent = match stream.try_write(&bytes.borrow()[..n]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    sent => sent?,
                };
                if sent < n {
                    let left_over = bytes.borrow()[sent..n].to_vec();
                    // Boxed, because it is rare: else each connection that waits would hold room for it.
                    Box::pin(stream.write_all(&left_over)).await?;
                }
            }
            stream.shutdown(Shutdown::Write)
        }
    };
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            let (stream, _peer) = listener.accept().await?;
            connections.spawn(echo(stream));
            // Connections that have ended in the meantime are removed from the set.
            while connections.try_join_next().is_some() {}
        }
    };
    let signalled = async { io::Result::Ok(or(interrupt.recv(), terminate.recv()).await) };
    or(accept, signalled).await?;
    eprintln!("echo: ending within {GRACE:?}; a second signal ends it at once");

    // For the clients, connections in the backlog are open, and a close of the listener would reset
    // them. During the pause the runtime receives their event. The limit is there because
    // connections may come faster than they are taken.
    sleep(Duration::from_millis(1)).await;
    for (stream, _peer) in iter::from_fn(|| listener.try_accept().ok()).take(BACKLOG) {
        connections.spawn(echo(stream));
    }
    drop(listener);
    restore_default(SignalKind::interrupt())?;
    restore_default(SignalKind::terminate())?;
    let finish = async { while connections.join_next().await.is_some() {} };
    timeout(GRACE, finish).await.or(Ok(()))
}
