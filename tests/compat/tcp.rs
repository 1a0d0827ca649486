//! Streams of TCP, and all of `streams` for them.

use reveille::net::{TcpListener, TcpStream};

#[path = "streams.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "the tests are the same, of another kind of stream"
)]
mod streams;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (there, _) = listener.accept().await.unwrap();
    (here.unwrap(), there)
}

/// Ends a connection by a reset, which `here` will see.
async fn reset(_here: &TcpStream, there: TcpStream) {
    there.set_zero_linger().unwrap();
}
