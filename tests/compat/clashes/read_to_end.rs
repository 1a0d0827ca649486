//! Both families in one scope: inherent methods win, and the others are ambiguous.

#[allow(unused_imports)]
use futures_lite::io::AsyncReadExt as _;
#[allow(unused_imports)]
use tokio::io::AsyncReadExt as _;

use reveille::net::TcpStream;

#[allow(unused_mut)]
pub async fn bytes(mut stream: TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    stream.read(bytes).await
}
