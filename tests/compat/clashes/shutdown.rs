//! The inherent `shutdown` wins, and takes an argument.

use std::net::Shutdown::Write;

use tokio::io::AsyncWriteExt as _;

use reveille::net::TcpStream;

pub async fn end(mut stream: TcpStream) {
    let _ended = stream.shutdown(Write);
}
