//! Both families in one scope: inherent methods win, and the others are ambiguous.

use futures_lite::io::AsyncWriteExt as _;
use tokio::io::AsyncWriteExt as _;

use reveille::net::TcpStream;

pub async fn send(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"x").await?;
    drop(stream.write(b"x").await?);
    drop(stream.writable());
    Ok(())
}
