//! Both families in one scope: inherent methods win, and the others are ambiguous.

use futures_lite::io::AsyncReadExt as _;
use tokio::io::AsyncReadExt as _;

use reveille::net::TcpStream;

pub async fn bytes(mut stream: TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    stream.read(bytes).await
}
