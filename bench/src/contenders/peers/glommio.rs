//! glommio on its three rings.
//!
//! Interface: [`Glommio`].
//! Invariant: one unbound executor, everything else as the builder has it; a dropped task would be
//! cancelled.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, spawn_local};

use super::super::{Buffer, Contender, OWN};

pub(super) struct Glommio;

impl Contender for Glommio {
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output> {
        Ok(LocalExecutorBuilder::default().make()?.run(main))
    }

    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static {
        spawn_local(task)
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        glommio::timer::sleep(duration)
    }

    async fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> io::Result<()> {
        if buffer != Buffer::Own {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let listener = TcpListener::bind("0.0.0.0:0")?;
        ready(listener.local_addr()?.port());
        loop {
            spawn_local(echo_own(listener.accept().await?)).detach();
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
