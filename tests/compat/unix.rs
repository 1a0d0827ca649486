//! Unix streams, and all of `streams` for them.

use reveille::net::UnixStream;

#[path = "streams.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "the tests are the same, of another kind of stream"
)]
mod streams;

async fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

/// Ends a connection by a reset, which `here` will see.
async fn reset(here: &UnixStream, there: UnixStream) {
    here.write_all(b"unread").await.unwrap();
    drop(there);
}
