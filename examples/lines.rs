//! A protocol of lines, with the buffered reader and the `copy` that tokio's `io-util` has for any stream of its traits.
//!
//! ```sh
//! cargo run --features tokio-io --example lines
//! 1: HELLO
//! 2: HOW LONG IS A LINE?
//! 3: GOODBYE
//! copied 43 bytes
//! ```
//!
//! What to look for: `TcpStream` and its halves are handed to tokio's types as they are. tokio's runtime is not there, and
//! not compiled. The same goes for the futures crates' traits with the feature `futures-io`.

use std::io;

use reveille::net::{TcpListener, TcpStream};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter};

fn main() -> io::Result<()> {
    reveille::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let server = reveille::spawn(async move {
            let (stream, _peer) = listener.accept().await?;
            shout(stream).await
        });

        let (mut answers, requests) = TcpStream::connect(at).await?.into_split();
        requests
            .write_all(b"hello\nhow long is a line?\ngoodbye\n")
            .await?;
        requests.shutdown()?;
        let mut said = Vec::new();
        let copied = tokio::io::copy(&mut answers, &mut said).await?;
        server.await??;
        print!("{}", String::from_utf8_lossy(&said));
        println!("copied {copied} bytes");
        Ok(())
    })
}

/// Sends each line back, numbered and in capitals.
async fn shout(stream: TcpStream) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut answers = BufWriter::new(writer);
    let mut number = 0;
    while let Some(line) = lines.next_line().await? {
        number += 1;
        let answer = format!("{number}: {}\n", line.to_uppercase());
        answers.write_all(answer.as_bytes()).await?;
    }
    answers.flush().await
}
