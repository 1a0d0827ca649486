//! A server refuses a large upload early, and closes: once as one would, and once so that the client sees why.
//!
//! ```sh
//! cargo run --example close_gently
//! closed at once: the client could not send all, and gave up
//! closed gently: the client was told "too large"
//! ```
//!
//! What to look for: if a socket is closed while it holds unread bytes, or if some arrive later, the kernel resets the
//! connection, and throws away what it has not sent yet. The client cannot send any more, which most take for the end, and
//! look for no answer. So `close_gently` ends the writing, which the client sees as the end of the answer, and then reads
//! on for a while. RFC 9112, 9.6, has the recipe for HTTP; RFC 2525, 2.17, what a reset is for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

use reveille::net::{TcpListener, TcpStream};
use reveille::time::timeout;

/// More than the sockets' buffers hold, in bytes.
const UPLOAD: usize = 16 * 1024 * 1024;

fn main() -> io::Result<()> {
    reveille::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        for gently in [false, true] {
            let client = thread::spawn(move || upload(address));
            let (stream, _peer) = listener.accept().await?;
            stream.read(&mut [0; 1024]).await?; // The head says how much will come, say.
            stream.write_all(b"too large").await?;
            let how = if gently {
                close_gently(stream).await?;
                "gently"
            } else {
                drop(stream);
                "at once"
            };
            // All is done but what the client has to do, so the thread may wait for it.
            match client.join().expect("the client does not panic") {
                Ok(answer) => println!("closed {how}: the client was told {answer:?}"),
                Err(_) => println!("closed {how}: the client could not send all, and gave up"),
            }
        }
        Ok(())
    })
}

/// The client, which writes first and reads later, as most do.
fn upload(address: SocketAddr) -> io::Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(&vec![0; UPLOAD])?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Gives the client up to 2 s to read what was written, even if it goes on sending.
async fn close_gently(stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let mut unread = vec![0; 64 * 1024];
    let drain = async { while matches!(stream.read(&mut unread).await, Ok(1..)) {} };
    timeout(Duration::from_secs(2), drain).await.or(Ok(()))
}
