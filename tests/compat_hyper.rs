//! hyper's `Read`, `Write`, `Executor`, `Timer` and `Sleep`: `cargo test --features hyper --test compat_hyper`.
//!
//! `tests/interop/hyper` has hyper itself on them.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::hyper::rt::{self, Executor as _, ReadBuf, Timer as _};
use reveille::hyper::{Executor, Timer};
use reveille::net::{TcpListener, TcpStream};
use reveille::task::yield_now;
use reveille::time::{self, advance};
use reveille::{Builder, block_on};

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

/// The methods that the other families have in their `Ext` traits.
mod family {
    use std::future::poll_fn;
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use ::hyper::rt::ReadBuf;
    pub(super) use ::hyper::rt::{Read as AsyncRead, Write as AsyncWrite};

    pub(super) async fn read_some(
        reader: &mut (impl AsyncRead + Unpin),
        buf: &mut [u8],
    ) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, buf.unfilled())).await?;
        Ok(buf.filled().len())
    }

    pub(super) async fn read_to_end(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        let (mut bytes, mut buf) = (Vec::new(), [0; 8192]);
        loop {
            match read_some(reader, &mut buf).await? {
                0 => return Ok(bytes),
                n => bytes.extend_from_slice(&buf[..n]),
            }
        }
    }

    pub(super) async fn lines(mut reader: impl AsyncRead + Unpin) -> io::Result<Vec<String>> {
        let text = String::from_utf8(read_to_end(&mut reader).await?).unwrap();
        Ok(text.lines().map(str::to_owned).collect())
    }

    pub(super) async fn write_some(
        writer: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, bytes)).await
    }

    pub(super) async fn write_all(
        writer: &mut (impl AsyncWrite + Unpin),
        mut bytes: &[u8],
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = write_some(writer, bytes).await?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    pub(super) async fn flush(writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *writer).poll_flush(cx)).await
    }

    pub(super) async fn close(writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *writer).poll_shutdown(cx)).await
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

/// Catches: a cursor that moves further than bytes were received; bytes beyond that are touched.
#[test]
fn a_read_fills_what_it_received_and_no_more() {
    let _limit = limit(30);
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut ours, _) = listener.accept().await.unwrap();
        let mut memory = [MaybeUninit::new(0xa5_u8); 32];
        let mut buf = ReadBuf::uninit(&mut memory);
        let mut read = |cx: &mut Context<'_>, buf: &mut ReadBuf<'_>| -> Poll<io::Result<()>> {
            rt::Read::poll_read(Pin::new(&mut ours), cx, buf.unfilled())
        };
        theirs.write_all(b"new").unwrap();
        poll_fn(|cx| read(cx, &mut buf)).await.unwrap();
        assert_eq!(buf.filled(), b"new");
        assert_eq!(buf.unfilled().remaining(), 29);
        drop(theirs);
        poll_fn(|cx| read(cx, &mut buf)).await.unwrap();
        assert_eq!(buf.filled(), b"new");
        // SAFETY: each was given a value above.
        let rest = memory[3..].iter().map(|byte| unsafe { byte.assume_init() });
        assert!(rest.eq([0xa5; 29]));
    });
}

/// Catches: an executor that wants `Send`, cannot be shared, or drops what it is given.
#[test]
fn the_executor_spawns_what_need_not_be_send() {
    let _limit = limit(30);
    fn shared<T: Copy + Send + Sync + 'static>(_: T) {}
    shared(Executor);
    shared(Timer);
    block_on(async {
        let done = Rc::new(RefCell::new(Vec::new()));
        for nth in 0..3 {
            let done = Rc::clone(&done);
            Executor.execute(async move {
                yield_now().await;
                done.borrow_mut().push(nth);
            });
        }
        while done.borrow().len() < 3 {
            yield_now().await;
        }
    });
}

/// Catches: a timer that follows the machine's clock; a reset that makes a new timer, or none.
#[test]
fn the_timer_follows_a_paused_clock() {
    let _limit = limit(30);
    let poll = |sleep: &mut Pin<Box<dyn rt::Sleep>>| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        sleep.as_mut().poll(&mut cx).is_ready()
    };
    let mut options = Builder::new();
    options.start_paused(true).block_on(async {
        let start = Timer.now();
        assert_eq!(start, time::now());
        let mut sleep = Timer.sleep(Duration::from_secs(30));
        let mut until = Timer.sleep_until(start + Duration::from_secs(31));
        assert!(!poll(&mut sleep) && !poll(&mut until));
        let address = &raw const *sleep as *const ();
        Timer.reset(&mut sleep, start + Duration::from_secs(40));
        assert_eq!(&raw const *sleep as *const (), address, "the same sleep");
        advance(Duration::from_secs(30)).await;
        assert_eq!(Timer.now(), start + Duration::from_secs(30));
        assert!(!poll(&mut sleep) && !poll(&mut until));
        advance(Duration::from_secs(1)).await;
        assert!(!poll(&mut sleep) && poll(&mut until));
        advance(Duration::from_secs(9)).await;
        assert!(poll(&mut sleep));
    });
}

/// Catches: a sleep of another timer that is reset to nothing.
#[test]
fn a_reset_of_a_foreign_sleep_sleeps() {
    let _limit = limit(30);
    struct Never;
    impl Future for Never {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
    impl rt::Sleep for Never {}
    block_on(async {
        let mut sleep: Pin<Box<dyn rt::Sleep>> = Box::pin(Never);
        Timer.reset(&mut sleep, Instant::now() + Duration::from_millis(1));
        sleep.await;
    });
}

/// Catches: buffers that are empty and end the write.
#[test]
fn empty_buffers_in_front_are_skipped() {
    let _limit = limit(30);
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut here = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let mut bufs = vec![IoSlice::new(&[]); 1500];
        bufs.push(IoSlice::new(b"x"));
        let n = poll_fn(|cx| rt::Write::poll_write_vectored(Pin::new(&mut here), cx, &bufs));
        assert_eq!(n.await.unwrap(), 1);
    });
}
