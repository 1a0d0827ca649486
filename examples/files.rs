//! A server of files, for GET of HTTP/1.0.
//!
//! ```text
//! cargo run --example files                       # or: -- '[::]:7004' DIRECTORY
//! listening on 127.0.0.1:7004
//!
//! curl http://127.0.0.1:7004/README.md            # in another terminal
//! mkfifo pipe; curl http://127.0.0.1:7004/pipe    # hangs, until: date > pipe
//! ```
//!
//! What to look for: a file is never "not ready" for epoll, so opening and reading it block a thread. Here that is one
//! of the pool's, and not the one that all connections share: no other client waits for a slow disk, or for the FIFO above.
//! SIGTERM ends the server while such a thread still hangs. (The pool has 512 threads. An open that hangs keeps its thread
//! even when its client has gone, so 512 FIFOs without a writer would take them all.) A path names what is below the directory, or it is refused; symbolic links are followed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use reveille::net::{TcpListener, TcpStream};
use reveille::signal::unix::{SignalKind, signal};
use reveille::{task::spawn_blocking, time::timeout};

/// The longest head of a request, in bytes.
const HEAD: usize = 8 * 1024;
/// How much of a file is in memory at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// How long a client may take to send a request, or to take a chunk.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // Each client, and each file, is a descriptor: getrlimit(2).
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut args = std::env::args_os().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:7004".into());
    let address = address.into_string().unwrap_or_default();
    let root: Rc<Path> = Path::new(&args.next().unwrap_or(".".into())).into();
    reveille::block_on(async {
        let listener = TcpListener::bind(address.as_str()).await?;
        let mut terminate = signal(SignalKind::terminate())?;
        println!("listening on {}", listener.local_addr()?);
        let accept = async {
            loop {
                let (stream, _peer) = listener.accept().await?;
                reveille::spawn(connection(stream, Rc::clone(&root)));
            }
        };
        let signalled = async {
            terminate.recv().await;
            Ok(())
        };
        or(accept, signalled).await
    })
}

/// Serves one request.
async fn connection(stream: TcpStream, root: Rc<Path>) -> io::Result<()> {
    let mut head = Vec::with_capacity(HEAD);
    // What comes behind the head, a body say, is in the way of nothing.
    let receive = async {
        while end_of_head(&head).is_none() && head.len() < HEAD {
            if stream.read_vec(&mut head).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    let request = match timeout(PATIENCE, receive).await {
        Ok(received) => {
            received?;
            requested(&head)
        }
        Err(_late) => Err("408 Request Timeout"),
    };
    match request {
        Ok(path) => send(&stream, root.join(path)).await?,
        Err(status) => refuse(&stream, status).await?,
    }
    // What comes behind the head is read, too: the page of `TcpStream` says why.
    stream.shutdown(Shutdown::Write)?;
    let mut unread = vec![0; CHUNK];
    let drain = async { while matches!(stream.read(&mut unread).await, Ok(1..)) {} };
    timeout(Duration::from_secs(2), drain).await.or(Ok(()))
}

async fn send(stream: &TcpStream, path: PathBuf) -> io::Result<()> {
    let opened = spawn_blocking(|| {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok((file, metadata))
    });
    let (mut file, length) = match opened.await? {
        Ok((_, metadata)) if metadata.is_dir() => return refuse(stream, "404 Not Found").await,
        Ok((file, metadata)) => (file, metadata.is_file().then_some(metadata.len())),
        io::Result::Err(error) => return refuse(stream, status(&error)).await,
    };
    // What has no length, a FIFO say, is ended by the end of the connection.
    let length_line = length.map_or(String::new(), |n| format!("Content-Length: {n}\r\n"));
    let head = format!("HTTP/1.0 200 OK\r\n{length_line}\r\n");
    stream.write_all(head.as_bytes()).await?;
    // A file that grows meanwhile is longer than was said.
    let mut left = length.unwrap_or(u64::MAX);
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        // The file and the chunk go to the thread, and come back with what it has read.
        let n;
        (file, chunk, n) = spawn_blocking(move || {
            let n = (&file).take(left).read(&mut chunk)?;
            io::Result::Ok((file, chunk, n))
        })
        .await??;
        if n == 0 {
            break;
        }
        timeout(PATIENCE, stream.write_all(&chunk[..n])).await??;
        left -= n as u64;
    }
    Ok(())
}

/// What a file that cannot be opened is to HTTP.
fn status(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "404 Not Found",
        // A name with a NUL, which no file has.
        io::ErrorKind::InvalidInput => "404 Not Found",
        io::ErrorKind::PermissionDenied => "403 Forbidden",
        // Too many descriptors, say: another time it may be there.
        _ => "503 Service Unavailable",
    }
}

async fn refuse(stream: &TcpStream, status: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.0 {status}\r\nAllow: GET\r\nContent-Length: {}\r\n\r\n{status}\n",
        status.len() + 1
    );
    stream.write_all(answer.as_bytes()).await
}

/// The path that a request names, below the directory; or why it is refused.
fn requested(head: &[u8]) -> Result<PathBuf, &'static str> {
    const BAD: &str = "400 Bad Request";
    if end_of_head(head).is_none() {
        return Err(BAD);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(head);
    let mut words = std::str::from_utf8(line).map_err(|_| BAD)?.split(' ');
    let next = [(); 4].map(|()| words.next());
    let [Some(method), Some(target), Some(version), None] = next else {
        return Err(BAD);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(BAD);
    }
    if method != "GET" {
        return Err("405 Method Not Allowed");
    }
    let path = target.split('?').next().and_then(|t| t.strip_prefix('/'));
    let path = path.and_then(decoded).ok_or(BAD)?;
    let path = PathBuf::from(OsString::from_vec(path));
    // After it is decoded: `%2e%2e` is `..`, too. And joined to the directory, `/etc` would be `/etc`.
    let is_below = path.components().all(|c| matches!(c, Component::Normal(_)));
    if is_below { Ok(path) } else { Err(BAD) }
}

/// Where the empty line stands that ends a head.
fn end_of_head(received: &[u8]) -> Option<usize> {
    received.windows(4).position(|bytes| bytes == b"\r\n\r\n")
}

/// `%20` is a space.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(match byte {
            b'%' => u8::try_from(16 * digit()? + digit()?).ok()?,
            byte => byte,
        });
    }
    Some(decoded)
}
