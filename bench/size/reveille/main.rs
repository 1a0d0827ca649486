//! The echo of the README, to be weighed. Beside it the same on tokio.

use reveille::net::TcpListener;

fn main() -> std::io::Result<()> {
    reveille::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:7000").await?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            reveille::spawn(async move {
                let mut buf = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buf).await {
                    stream.write_all(&buf[..n]).await?;
                }
                std::io::Result::Ok(())
            });
        }
    })
}
