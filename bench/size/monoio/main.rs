//! The echo of monoio's users, on io_uring, or on epoll where that is refused, to be weighed.

use std::io;

use monoio::buf::IoBuf as _;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::{TcpListener, TcpStream};
use monoio::{FusionDriver, RuntimeBuilder};

fn main() -> io::Result<()> {
    RuntimeBuilder::<FusionDriver>::new()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:7000")?;
            loop {
                let (stream, _peer) = listener.accept().await?;
                drop(monoio::spawn(echo(stream)));
            }
        })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 4096];
    loop {
        let (n, filled) = stream.read(buf).await;
        let n = n?;
        if n == 0 {
            return Ok(());
        }
        let (sent, slice) = stream.write_all(filled.slice(..n)).await;
        sent?;
        buf = slice.into_inner();
    }
}
