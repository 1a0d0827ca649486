//! GET and SET of the redis protocol, by the same code for any stream of tokio's traits.

use std::collections::HashMap;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

type Words<'a> = Vec<&'a [u8]>;

/// Serves one client, which keeps to the protocol.
pub async fn client(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut store: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let (mut received, mut answers) = (Vec::with_capacity(16 << 10), Vec::new());
    while stream.read_buf(&mut received).await? > 0 {
        let mut done = 0;
        while let Some((words, length)) = command(&received[done..]) {
            match words[..] {
                [b"GET", key] => {
                    let value = store.get(key).map_or(&[][..], Vec::as_slice);
                    answers.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                    answers.extend_from_slice(value);
                    answers.extend_from_slice(b"\r\n");
                }
                [b"SET", key, value] => {
                    store.insert(key.to_owned(), value.to_owned());
                    answers.extend_from_slice(b"+OK\r\n");
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            done += length;
        }
        stream.write_all(&answers).await?;
        answers.clear();
        received.drain(..done);
    }
    Ok(())
}

/// The words of a command, and its length; `None` if it is not all there yet.
fn command(bytes: &[u8]) -> Option<(Words<'_>, usize)> {
    let (count, mut at) = number(bytes, 0)?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, start) = number(bytes, at)?;
        words.push(bytes.get(start..start + length)?);
        at = start + length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

/// The number in the line that begins at `at`, behind its mark, and where the line ends.
fn number(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = bytes.get(at + 1..)?;
    let end = line.windows(2).position(|pair| pair == b"\r\n")?;
    let number = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    Some((number, at + 1 + end + 2))
}
