//! A server of the redis protocol, in memory: PING, ECHO, GET, SET, DEL, EXISTS, INCR.
//!
//! ```text
//! cargo run --release --example resp              # or: -- '[::]:7003', or port 0 for a free one
//! listening on 127.0.0.1:7003
//!
//! redis-cli -p 7003 incr visits                   # in another terminal
//! (integer) 1
//! redis-benchmark -p 7003 -t set,get -P 16 -q     # 16 commands at a time
//! ```
//!
//! What to look for: all commands that one read has brought are answered by one write, which is what makes a pipeline
//! fast. A command that is not all there yet stays in the buffer, and the next read appends to it. What a client may
//! send, and what the server keeps in memory to answer it, is limited; a client that breaks the protocol is told so
//! before its connection is closed. (The keys and values of all clients together are not limited.) The clients share
//! the data without a lock, because all run on one thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use reveille::net::{TcpListener, TcpStream};
use reveille::time::timeout;

/// Bytes that are worth a read.
const READ: usize = 16 * 1024;
/// The largest argument, in bytes; and the largest command, with all that stands around its arguments.
const ARGUMENT: usize = 512 * 1024;
const COMMAND: usize = 1024 * 1024;
const ARGUMENTS: usize = 1024;
/// The longest line: a number, or a command that was typed by hand.
const LINE: usize = 1024;
/// Once the answers take so many bytes, they are written before the next command is looked at.
const ANSWERS: usize = 64 * 1024;

type Store = HashMap<Vec<u8>, Vec<u8>>;

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // Each client is a descriptor: getrlimit(2).
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:7003".to_owned());
    reveille::block_on(async {
        let listener = TcpListener::bind(address.as_str()).await?;
        println!("listening on {}", listener.local_addr()?);
        let store = Rc::new(RefCell::new(Store::new()));
        loop {
            let (stream, _peer) = listener.accept().await?;
            reveille::spawn(client(stream, Rc::clone(&store)));
        }
    })
}

/// Serves one client, until it leaves, cannot be reached, or breaks the protocol.
async fn client(stream: TcpStream, store: Rc<RefCell<Store>>) -> io::Result<()> {
    // An answer must not wait until the one before has been acknowledged: tcp(7), TCP_NODELAY.
    stream.set_nodelay(true)?;
    let (mut received, mut answers) = (Vec::new(), Vec::new());
    loop {
        received.reserve(READ);
        if stream.read_vec(&mut received).await? == 0 {
            return Ok(());
        }
        let mut done = 0;
        while let Some((command, length)) = match parse(&received[done..]) {
            Ok(parsed) => parsed,
            Err(error) => {
                put(&mut answers, &format!("-ERR Protocol error: {error}"));
                stream.write_all(&answers).await?;
                return close_gently(stream).await;
            }
        } {
            execute(&command, &mut store.borrow_mut(), &mut answers);
            done += length;
            if answers.len() >= ANSWERS {
                stream.write_all(&answers).await?;
                answers.clear();
            }
        }
        stream.write_all(&answers).await?;
        received.drain(..done);
        // What a large command has taken is given back.
        received.shrink_to(READ);
        answers.clear();
        answers.shrink_to(ANSWERS);
    }
}

/// The page of `TcpStream` says why: the client would lose the answer if the connection closed while it still sends.
async fn close_gently(stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let mut unread = [0; 4096];
    let drain = async { while matches!(stream.read(&mut unread).await, Ok(1..)) {} };
    timeout(Duration::from_secs(2), drain).await.or(Ok(()))
}

/// A command's words, and how many bytes it takes; `None` if it is not all there yet.
type Parsed<'a> = Result<Option<(Vec<&'a [u8]>, usize)>, &'static str>;

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((line, mut at)) = line(bytes)? else {
        return Ok(None);
    };
    let Some(count) = line.strip_prefix(b"*") else {
        // Typed by hand, into nc say.
        let words = line.split(|byte| *byte == b' ');
        return Ok(Some((words.filter(|word| !word.is_empty()).collect(), at)));
    };
    let count = number(count, ARGUMENTS).ok_or("invalid number of arguments")?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let Some((length, taken)) = self::line(&bytes[at..])? else {
            return Ok(None);
        };
        let length = length.strip_prefix(b"$").ok_or("expected `$`")?;
        let length = number(length, ARGUMENT).ok_or("invalid length of an argument")?;
        let (start, end) = (at + taken, at + taken + length);
        at = end + 2;
        if at > COMMAND {
            return Err("command too long");
        }
        let Some(after) = bytes.get(end..at) else {
            return Ok(None);
        };
        if after != b"\r\n" {
            return Err("an argument is longer than its length");
        }
        words.push(&bytes[start..end]);
    }
    Ok(Some((words, at)))
}

/// The first line without its end, and its length with it.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, &'static str> {
    match bytes.iter().take(LINE).position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = &bytes[..end];
            Ok(Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1)))
        }
        None if bytes.len() >= LINE => Err("line too long"),
        None => Ok(None),
    }
}

fn number(digits: &[u8], most: usize) -> Option<usize> {
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number <= most).then_some(number)
}

/// Does what a command says, and appends the answer.
fn execute(command: &[&[u8]], store: &mut Store, answers: &mut Vec<u8>) {
    let Some((name, arguments)) = command.split_first() else {
        return; // An empty line: redis does not answer it, either.
    };
    let name = name.to_ascii_uppercase();
    match (name.as_slice(), arguments) {
        (b"PING", []) => put(answers, "+PONG"),
        (b"PING" | b"ECHO", [text]) => put_bulk(answers, text),
        (b"GET", [key]) => match store.get(*key) {
            Some(value) => put_bulk(answers, value),
            None => put(answers, "$-1"),
        },
        (b"SET", [key, value]) => {
            store.insert(key.to_vec(), value.to_vec());
            put(answers, "+OK");
        }
        (b"DEL", keys @ [_, ..]) => {
            let deleted = keys.iter().filter(|key| store.remove(**key).is_some());
            put(answers, &format!(":{}", deleted.count()));
        }
        (b"EXISTS", keys @ [_, ..]) => {
            let existing = keys.iter().filter(|key| store.contains_key(**key));
            put(answers, &format!(":{}", existing.count()));
        }
        (b"INCR", [key]) => match increment(store, key) {
            Some(number) => put(answers, &format!(":{number}")),
            None => put(answers, "-ERR value is not an integer or out of range"),
        },
        // redis-cli asks for the documentation of the commands, redis-benchmark for two settings.
        (b"COMMAND", _) => put(answers, "*0"),
        (b"CONFIG", [get, setting]) if get.eq_ignore_ascii_case(b"get") => {
            put(answers, "*2");
            put_bulk(answers, setting);
            put_bulk(answers, b"");
        }
        (b"PING" | b"ECHO" | b"GET" | b"SET" | b"DEL" | b"EXISTS" | b"INCR" | b"CONFIG", _) => {
            let name = name.escape_ascii();
            put(answers, &format!("-ERR wrong arguments for `{name}`"));
        }
        _ => {
            let name = name[..name.len().min(32)].escape_ascii();
            put(answers, &format!("-ERR unknown command `{name}`"));
        }
    }
}

fn increment(store: &mut Store, key: &[u8]) -> Option<i64> {
    let number = match store.get(key) {
        Some(value) => std::str::from_utf8(value).ok()?.parse::<i64>().ok()?,
        None => 0,
    };
    let number = number.checked_add(1)?;
    store.insert(key.to_vec(), number.to_string().into_bytes());
    Some(number)
}

fn put(answers: &mut Vec<u8>, line: &str) {
    answers.extend_from_slice(line.as_bytes());
    answers.extend_from_slice(b"\r\n");
}

fn put_bulk(answers: &mut Vec<u8>, bytes: &[u8]) {
    put(answers, &format!("${}", bytes.len()));
    answers.extend_from_slice(bytes);
    answers.extend_from_slice(b"\r\n");
}
