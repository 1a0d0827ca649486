//! tokio's `AsyncRead` and `AsyncWrite` on the streams of `net`: `cargo test --features tokio-io --test compat_tokio_io`.

use std::future::poll_fn;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use reveille::block_on;
use reveille::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWrite, ReadBuf};

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

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    pub(super) use tokio::io::{AsyncRead, AsyncWrite};

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
        while let Some(line) = reader.next_line().await? {
            lines.push(line);
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
        writer.shutdown().await
    }

    pub(super) fn poll_write_vectored(
        writer: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(writer.is_write_vectored());
        writer.poll_write_vectored(cx, bufs)
    }
}

/// A stream of ours, and std's end of it.
async fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().await.unwrap().0, theirs)
}

fn poll_read(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    tokio::io::AsyncRead::poll_read(Pin::new(stream), cx, buf)
}

/// Catches: a buffer that is said to be initialised further than bytes were received; bytes beyond that are touched;
/// bytes put over those that were there.
#[test]
fn a_read_initialises_what_it_received_and_no_more() {
    let _limit = limit(30);
    block_on(async {
        let (mut ours, mut theirs) = pair().await;
        let mut memory = [MaybeUninit::new(0xa5_u8); 32];
        let mut buf = ReadBuf::uninit(&mut memory);
        buf.put_slice(b"old");
        theirs.write_all(b"new").unwrap();
        poll_fn(|cx| poll_read(&mut ours, cx, &mut buf))
            .await
            .unwrap();
        assert_eq!((buf.filled(), buf.initialized().len()), (&b"oldnew"[..], 6));
        // SAFETY: each was given a value above.
        let rest = unsafe { buf.unfilled_mut() }
            .iter()
            .map(|byte| unsafe { byte.assume_init() });
        assert!(rest.eq([0xa5; 26]));
    });
}

/// Catches: an error, a wait or the end that moves the buffer on.
#[test]
fn without_bytes_a_buffer_is_as_it_was() {
    let _limit = limit(30);
    block_on(async {
        let (mut ours, theirs) = pair().await;
        let mut memory = [MaybeUninit::uninit(); 32];
        let mut buf = ReadBuf::uninit(&mut memory);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        assert!(poll_read(&mut ours, cx, &mut buf).is_pending());
        assert_eq!((buf.filled().len(), buf.initialized().len()), (0, 0));
        drop(theirs);
        poll_fn(|cx| poll_read(&mut ours, cx, &mut buf))
            .await
            .unwrap();
        assert_eq!((buf.filled().len(), buf.initialized().len()), (0, 0));

        let (mut ours, theirs) = pair().await;
        reset(theirs);
        let mut buf = ReadBuf::uninit(&mut memory);
        let error = poll_fn(|cx| poll_read(&mut ours, cx, &mut buf))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!((buf.filled().len(), buf.initialized().len()), (0, 0));
    });
}

/// Closes with a reset.
fn reset(stream: std::net::TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = u32::try_from(size_of_val(&linger)).unwrap();
    // SAFETY: setsockopt(2) reads `size` bytes, which are those of `linger`.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    assert_eq!(set, 0);
}

/// Catches: an inherent `read_buf` that takes the place of the trait's, which takes any `BufMut`.
#[test]
fn read_buf_is_the_traits() {
    let _limit = limit(30);
    block_on(async {
        let (mut ours, mut theirs) = pair().await;
        theirs.write_all(b"hello").unwrap();
        let mut bytes = bytes::BytesMut::with_capacity(16);
        assert_eq!(ours.read_buf(&mut bytes).await.unwrap(), 5);
        assert_eq!(&bytes[..], b"hello");
        // And `read`, with the trait in scope, is the stream's own, which takes no `&mut`.
        theirs.write_all(b"x").unwrap();
        let shared = &ours;
        assert_eq!(shared.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

/// Catches: a trait object that cannot be made; a half that is not `Send`.
#[test]
fn streams_fit_where_crates_ask_for_them() {
    let _limit = limit(30);
    fn fits<T: tokio::io::AsyncRead + AsyncWrite + Unpin + Send + 'static>() {}
    fits::<TcpStream>();
    fn reads<T: tokio::io::AsyncRead + Unpin + Send + 'static>() {}
    reads::<reveille::net::tcp::OwnedReadHalf>();
    fn writes<T: AsyncWrite + Unpin + Send + 'static>() {}
    writes::<reveille::net::tcp::OwnedWriteHalf>();
}
