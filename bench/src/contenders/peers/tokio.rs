//! tokio on one thread: `LocalRuntime`, whose tasks need not be `Send`, without a `LocalSet` in between.
//!
//! Interface: [`Tokio`].
//! Invariant: both drivers on, everything else as the `Builder` has it.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::{spawn_local, yield_now};

use super::super::{Buffer, Contender, OWN, SHARED};

pub(super) struct Tokio;

impl Contender for Tokio {
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(LocalOptions::default())?;
        Ok(runtime.block_on(main))
    }

    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static {
        let handle = spawn_local(task);
        async { handle.await.expect("no task panics here") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }

    async fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> io::Result<()> {
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        ready(listener.local_addr()?.port());
        let shared = Rc::new(RefCell::new(vec![0; SHARED]));
        loop {
            let (stream, _peer) = listener.accept().await?;
            drop(match buffer {
                Buffer::Own => spawn_local(echo_own(stream)),
                Buffer::Shared => spawn_local(echo_shared(stream, Rc::clone(&shared))),
            });
        }
    }
}

async fn echo_own(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; OWN];
    while let n @ 1.. = stream.read(&mut buf).await? {
        stream.write_all(&buf[..n]).await?;
    }
    Ok(())
}

async fn echo_shared(mut stream: TcpStream, buffer: Rc<RefCell<Vec<u8>>>) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let n = match stream.try_read(&mut buffer.borrow_mut()) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            n => n?,
        };
        let sent = match stream.try_write(&buffer.borrow()[..n]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        let left_over = buffer.borrow()[sent..n].to_vec();
        stream.write_all(&left_over).await?;
    }
}
