//! What the clients do, with nothing but std.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// What a connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A GET without a body, and a short answer.
    Hello,
    /// A POST whose body the server reads and drops.
    Upload,
    /// SET and GET of the redis protocol, in turn.
    Resp,
}

/// Bytes of an upload.
const BODY: usize = 20 << 20;

impl Work {
    pub const ALL: [Work; 3] = [Work::Hello, Work::Upload, Work::Resp];

    pub fn named(name: &str) -> Option<Work> {
        Work::ALL.into_iter().find(|work| work.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Work::Hello => "hello",
            Work::Upload => "upload of 20 MiB",
            Work::Resp => "SET or GET",
        }
    }

    /// The lesser and the greater load of a count.
    pub fn loads(self) -> [usize; 2] {
        match self {
            Work::Hello | Work::Resp => [500, 2500],
            Work::Upload => [3, 18],
        }
    }

    /// The load of a time.
    pub fn load(self) -> usize {
        match self {
            Work::Hello | Work::Resp => 20_000,
            Work::Upload => 15,
        }
    }
}

/// Sends so many requests through one connection, each after the answer to the one before.
pub fn run(at: &str, work: Work, requests: usize) -> io::Result<()> {
    let stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    // The server finds nothing, registers the connection, and waits. Under a tool it is so slow that otherwise the next
    // request might always be there before it asks, and no connection of reveille's be registered at all.
    thread::sleep(Duration::from_millis(500));
    let (mut writer, mut reader) = (&stream, BufReader::new(&stream));
    let part = vec![b'x'; 64 << 10];
    for nth in 0..requests {
        match work {
            Work::Resp => {
                let get = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
                let set = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n";
                // The answer: `+OK`, or the length and the value.
                let (command, lines): (&[u8], _) = if nth % 2 == 0 { (set, 1) } else { (get, 2) };
                writer.write_all(command)?;
                for _ in 0..lines {
                    if reader.read_line(&mut String::new())? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                continue;
            }
            Work::Hello => writer.write_all(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")?,
            Work::Upload => {
                write!(
                    writer,
                    "POST / HTTP/1.1\r\nhost: bench\r\ncontent-length: {BODY}\r\n\r\n"
                )?;
                for _ in 0..BODY / part.len() {
                    writer.write_all(&part)?;
                }
            }
        }
        answer(&mut reader)?;
    }
    Ok(())
}

/// Reads an answer with a `content-length`.
fn answer(reader: &mut impl BufRead) -> io::Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink()).map(drop)
}
