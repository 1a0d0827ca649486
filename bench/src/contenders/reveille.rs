//! reveille, with the options of its `Builder`.
//!
//! Interface: [`Reveille`].
//! Invariant: [`Buffer::Own`] is the echo of the README, [`Buffer::Shared`] that of examples/echo.rs.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use reveille::Builder;
use reveille::net::{TcpListener, TcpStream};

use super::{Buffer, Contender, OWN, SHARED};

pub(super) struct Reveille(pub(super) Builder);

impl Contender for Reveille {
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output> {
        Ok(self.0.build()?.block_on(main))
    }

    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static {
        let handle = reveille::spawn(task);
        async { handle.await.expect("no task panics here") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        reveille::task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        reveille::time::sleep(duration)
    }

    async fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> io::Result<()> {
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        ready(listener.local_addr()?.port());
        let shared = Rc::new(RefCell::new(vec![0; SHARED]));
        loop {
            let (stream, _peer) = listener.accept().await?;
            drop(match buffer {
                Buffer::Own => reveille::spawn(echo_own(stream)),
                Buffer::Shared => reveille::spawn(echo_shared(stream, Rc::clone(&shared))),
            });
        }
    }
}

async fn echo_own(stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; OWN];
    while let n @ 1.. = stream.read(&mut buf).await? {
        stream.write_all(&buf[..n]).await?;
    }
    Ok(())
}

async fn echo_shared(stream: TcpStream, buffer: Rc<RefCell<Vec<u8>>>) -> io::Result<()> {
    while let n @ 1.. = poll_fn(|cx| stream.poll_read(cx, &mut buffer.borrow_mut())).await? {
        let sent = match stream.try_write(&buffer.borrow()[..n]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        let left_over = buffer.borrow()[sent..n].to_vec();
        stream.write_all(&left_over).await?;
    }
    Ok(())
}
