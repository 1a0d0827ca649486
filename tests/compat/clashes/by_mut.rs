//! Through a `&mut` the traits come first, and are ambiguous even where an inherent method has the name.

use futures_lite::io::AsyncReadExt as _;
use tokio::io::AsyncReadExt as _;

use reveille::net::TcpStream;

pub async fn bytes(stream: &TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    stream.read(bytes).await
}
