//! The inherent `shutdown` wins, and takes an argument.

use std::net::Shutdown::Write;

#[allow(unused_imports)]
use tokio::io::AsyncWriteExt as _;

use reveille::net::TcpStream;

#[allow(unused_mut)]
pub async fn end(mut stream: TcpStream) {
    let _ended = stream.shutdown(Write);
}
