//! The futures crates' `AsyncRead` and `AsyncWrite` on the streams of `net`:
//! `cargo test --features futures-io --test compat_futures_io`.

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::pin::Pin;

use reveille::block_on;
use reveille::net::{TcpListener, TcpStream};

#[path = "support/limit.rs"]
mod limit;
#[path = "compat/pipes.rs"]
mod pipes;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "compat/tcp.rs"]
mod tcp;
#[path = "compat/unix.rs"]
mod unix;

use limit::limit;

mod family {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_lite::StreamExt;
    use futures_lite::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    pub(super) use futures_lite::io::{AsyncRead, AsyncWrite};

    pub(super) async fn read_some(
        reader: &mut (impl AsyncRead + Unpin),
        buf: &mut [u8],
    ) -> io::Result<usize> {
        reader.read(buf).await
    }

    pub(super) async fn read_to_end(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    pub(super) async fn lines(reader: impl AsyncRead + Unpin) -> io::Result<Vec<String>> {
        let mut reader = BufReader::new(reader).lines();
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await {
            lines.push(line?);
        }
        Ok(lines)
    }

    pub(super) async fn write_some(
        writer: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> io::Result<usize> {
        writer.write(bytes).await
    }

    pub(super) async fn write_all(
        writer: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> io::Result<()> {
        writer.write_all(bytes).await
    }

    pub(super) async fn flush(writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        writer.flush().await
    }

    pub(super) async fn close(writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        writer.close().await
    }

    pub(super) fn poll_write_vectored(
        writer: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        writer.poll_write_vectored(cx, bufs)
    }
}

/// Catches: a vectored read into the first buffer only.
#[test]
fn a_vectored_read_fills_one_buffer_after_the_other() {
    let _limit = limit(30);
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut there, _) = listener.accept().await.unwrap();
        here.write_all(b"abcdefgh").await.unwrap();
        let (mut one, mut other) = ([0; 3], [0; 9]);
        let n = poll_fn(|cx| {
            let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
            futures_lite::AsyncRead::poll_read_vectored(Pin::new(&mut there), cx, &mut bufs)
        });
        assert_eq!(n.await.unwrap(), 8);
        assert_eq!((&one, &other[..5]), (b"abc", &b"defgh"[..]));
    });
}
