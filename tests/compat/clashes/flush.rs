//! Both families in one scope: inherent methods win, and the others are ambiguous.

#[allow(unused_imports)]
use futures_lite::io::AsyncWriteExt as _;
#[allow(unused_imports)]
use tokio::io::AsyncWriteExt as _;

use reveille::net::TcpStream;

#[allow(unused_mut)]
pub async fn send(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"x").await?;
    drop(stream.write(b"x").await?);
    drop(stream.writable());
    Ok(())
}
