//! The echo of tokio's users, on one thread, to be weighed: without `io-util`, which is not in its price.

use std::io;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};

fn main() -> io::Result<()> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:7000").await?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            drop(tokio::task::spawn_local(echo(stream)));
        }
    })
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        stream.readable().await?;
        let n = match stream.try_read(&mut buf) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            n => n?,
        };
        let mut rest = &buf[..n];
        while !rest.is_empty() {
            stream.writable().await?;
            match stream.try_write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                sent => rest = &rest[sent?..],
            }
        }
    }
}
