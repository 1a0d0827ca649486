//! The echo of compio's users, on io_uring, to be weighed.

use std::io;

use compio::BufResult;
use compio::buf::{IntoInner as _, IoBuf as _};
use compio::io::{AsyncRead as _, AsyncWriteExt as _};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::Runtime;

fn main() -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:7000").await?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            compio::runtime::spawn(echo(stream)).detach();
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(4096);
    loop {
        let BufResult(n, filled) = stream.read(buf).await;
        let n = n?;
        if n == 0 {
            return Ok(());
        }
        let BufResult(sent, slice) = stream.write_all(filled.slice(..n)).await;
        sent?;
        buf = slice.into_inner();
    }
}
