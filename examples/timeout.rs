//! An echo server that closes a connection which is silent for too long.
//!
//! ```text
//! cargo run --example timeout                     # or: -- 127.0.0.1:7002 0.5, limit in seconds
//! listening on 127.0.0.1:7002
//!
//! nc 127.0.0.1 7002                               # in another terminal; say nothing for 10 s
//!
//! 127.0.0.1:41234 was closed: silent for 10s      # in the first one
//! ```
//!
//! What to look for: the limit is a future around the operation, so anything that waits can be
//! limited, and the read inside knows nothing of it. A message disarms the timer at once: a busy
//! connection leaves no timers behind. If a client does not read, its connection is closed, too.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reveille::net::{TcpListener, TcpStream};
use reveille::time::timeout;

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // A thousand silent clients are a thousand descriptors: getrlimit(2).
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:7002".to_owned());
    let seconds = args.next().unwrap_or("10".to_owned());
    let limit = parse(&seconds).ok_or_else(|| {
        let text = format!("`{seconds}` is not a number of seconds");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })?;
    reveille::block_on(serve(&address, limit))
}

fn parse(seconds: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
}

async fn serve(address: &str, limit: Duration) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        reveille::spawn(connection(stream, peer, limit));
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, limit: Duration) {
    match echo(&stream, limit).await {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            println!("{peer} was closed: silent for {limit:?}");
        }
        Err(error) => tracing::info!(%peer, %error, "left"),
    }
}

async fn echo(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let mut buf = [0; 1024];
    loop {
        // Two errors: the outer one says that the time was over, and becomes an `io::Error`, too.
        let n = timeout(limit, stream.read(&mut buf)).await??;
        if n == 0 {
            return Ok(());
        }
        timeout(limit, stream.write_all(&buf[..n])).await??;
    }
}
