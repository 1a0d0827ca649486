//! examples/resp.rs, from outside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use crate::limit::limit;
use crate::server::{Server, rest, until};

fn resp() -> Server {
    Server::start("resp", &["127.0.0.1:0"])
}

/// Sends some bytes, and expects some.
#[track_caller]
fn exchange(mut client: &TcpStream, sent: &[u8], expected: &str) {
    client.write_all(sent).expect("the server takes them");
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), expected);
}

/// Catches: data that belongs to one client; a count of what was named, and not of what was there.
#[test]
fn what_one_client_sets_another_gets() {
    let _limit = limit(30);
    let server = resp();
    let clients = [server.connect(), server.connect()];
    exchange(&clients[0], b"set key value\r\n", "+OK\r\n");
    exchange(&clients[1], b"get key\r\n", "$5\r\nvalue\r\n");
    exchange(&clients[1], b"get other\r\n", "$-1\r\n");
    exchange(&clients[1], b"exists key key other\r\n", ":2\r\n");
    exchange(&clients[1], b"del key key other\r\n", ":1\r\n");
    exchange(&clients[0], b"get key\r\n", "$-1\r\n");
    exchange(&clients[0], b"incr n\r\nincr n\r\n", ":1\r\n:2\r\n");
}

/// What makes a pipeline fast.
/// Catches: a write for each answer.
#[test]
fn a_hundred_commands_in_one_segment_are_answered_by_one() {
    let _limit = limit(30);
    let server = resp();
    let client = server.connect();
    let answers = "+PONG\r\n".repeat(100);
    exchange(&client, &b"*1\r\n$4\r\nPING\r\n".repeat(100), &answers);
    // The server has switched off Nagle's algorithm, so each write is a segment, at least.
    assert_eq!(data_segments_received(&client), 1);
}

/// tcpi_data_segs_in of TCP_INFO: tcp(7), linux/tcp.h.
fn data_segments_received(client: &TcpStream) -> u32 {
    const AT: usize = 152;
    let mut info = [0_u8; 256];
    let mut length = libc::socklen_t::try_from(info.len()).unwrap();
    // SAFETY: the kernel writes at most `length` bytes to `info`, which has as many, and the length; both outlive the call.
    let got = unsafe {
        libc::getsockopt(
            client.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!(got, 0);
    assert!(usize::try_from(length).unwrap() >= AT + 4, "Linux 4.6");
    u32::from_ne_bytes(info[AT..AT + 4].try_into().unwrap())
}

/// Catches: taking what one read returns for a command; forgetting the piece that is left over.
#[test]
fn a_command_in_pieces_is_one() {
    let _limit = limit(30);
    let server = resp();
    let client = server.connect();
    let command =
        b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$8\r\n12\r\n5678\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    for at in 1..command.len() {
        let (first, second) = command.split_at(at);
        // The pong says that the server has read what is behind it, too, but for the answers it had to give.
        let before = [b"PING\r\n", first].concat();
        exchange(&client, &before, "+PONG\r\n");
        exchange(&client, second, "");
        let answers = "+OK\r\n$8\r\n12\r\n5678\r\n";
        exchange(&client, b"", answers);
    }
}

/// Catches: a limit that is not there, or that is silent.
#[test]
fn one_who_breaks_the_protocol_is_told_so_and_closed() {
    let _limit = limit(30);
    let server = resp();
    let too_many = "*1\r\n$524288\r\n".to_owned() + &"x".repeat(524_288) + "\r\n";
    exchange(
        &server.connect(),
        too_many.as_bytes(),
        "-ERR unknown command `XXXX",
    );
    let argument = "$500000\r\n".to_owned() + &"x".repeat(500_000) + "\r\n";
    let long = "*3\r\n".to_owned() + &argument.repeat(3);
    for (sent, error) in [
        ("*1025\r\n", "invalid number of arguments"),
        ("*-1\r\n", "invalid number of arguments"),
        ("*99999999999999999999\r\n", "invalid number of arguments"),
        ("*1\r\n$524289\r\n", "invalid length of an argument"),
        ("*1\r\n$-1\r\n", "invalid length of an argument"),
        ("*1\r\n:1\r\n", "expected `$`"),
        ("*1\r\n$1\r\nxyz", "an argument is longer than its length"),
        (&long, "command too long"),
        (&"x".repeat(1 << 20), "line too long"),
    ] {
        let mut client = server.connect();
        client.write_all(sent.as_bytes()).unwrap();
        let answer = rest(&client);
        assert_eq!(answer, format!("-ERR Protocol error: {error}\r\n"));
    }
    // And what is an error of a command only leaves the connection open.
    let client = server.connect();
    exchange(
        &client,
        b"nonsense\r\n",
        "-ERR unknown command `NONSENSE`\r\n",
    );
    exchange(&client, b"get\r\n", "-ERR wrong arguments for `GET`\r\n");
    exchange(&client, b"set n x\r\n", "+OK\r\n");
    exchange(
        &client,
        b"incr n\r\n",
        "-ERR value is not an integer or out of range\r\n",
    );
}

/// A pipeline of 40 KB asks for 2 GB.
/// Catches: answers that are collected without bound.
#[test]
fn one_who_asks_for_much_and_reads_nothing_costs_bounded_memory() {
    let _limit = limit(60);
    let server = resp();
    let value = "x".repeat(500_000);
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000\r\n{value}\r\n");
    exchange(&server.connect(), set.as_bytes(), "+OK\r\n");
    let before = server.status("VmHWM");
    let mut greedy = server.connect();
    greedy.write_all(&b"get k\r\n".repeat(4000)).unwrap();
    greedy.read_exact(&mut [0]).unwrap();
    // It is stuck in a write, and others are served.
    until("the server waits", || server.is_asleep());
    exchange(&server.connect(), b"ping\r\n", "+PONG\r\n");
    let grown = server.status("VmHWM") - before;
    assert!(grown < 4 << 10, "{grown} KiB more");
}
