//! examples/drain.rs, from outside.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::limit::limit;
use crate::server::{Server, rest, until};
use crate::terminate;

/// Starts a server, and clients that are with it.
fn drain(limit: &str, clients: usize) -> (Server, Vec<TcpStream>) {
    let server = Server::start("drain", &["127.0.0.1:0", limit]);
    let idle = server.descriptors().1;
    let clients = (0..clients).map(|_| server.connect()).collect::<Vec<_>>();
    // One that is registered waits for its first line.
    until("all are accepted", || {
        server.descriptors().1 == idle + clients.len()
    });
    (server, clients)
}

#[track_caller]
fn end_of(mut server: Server) {
    let mut status = None;
    until("the server ends", || {
        status = server.child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{status:?}");
}

/// Catches: a job that is cut off; a connection that is not told; one that waits for the limit.
#[test]
fn sigterm_lets_jobs_finish_and_says_bye_to_those_who_have_none() {
    let _limit = limit(30);
    let (server, clients) = drain("25", 3);
    // One that is refused reads the reason, and the end, though it had sent more.
    let refused = TcpStream::connect(server.address).unwrap();
    { &refused }
        .write_all(&[b"x\n".as_slice(), &[b'y'; 200]].concat())
        .unwrap();
    refused.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&refused), "? a number of milliseconds\n");
    let [busy, idle, half] = [&clients[0], &clients[1], &clients[2]];
    let start = Instant::now();
    // The answer to the first says that the second has begun.
    let mut lines = BufReader::new(busy);
    { busy }.write_all(b"0\n1500\n").unwrap();
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "done after 0 ms\n");
    { half }.write_all(b"10").unwrap();
    terminate(&server);
    assert_eq!(rest(idle), "bye\n");
    assert_eq!(rest(half), "bye\n", "half a line is no job");
    assert!(start.elapsed().as_millis() < 1500, "they wait for nobody");
    let refused = TcpStream::connect(server.address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    line.clear();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "done after 1500 ms\n");
    line.clear();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "bye\n");
    end_of(server);
    assert!(start.elapsed().as_secs() < 20, "nobody waits for the limit");
}

/// Catches: no limit.
#[test]
fn a_job_that_takes_too_long_does_not_hold_up_the_end() {
    let _limit = limit(30);
    let (server, clients) = drain("1", 1);
    { &clients[0] }.write_all(b"0\n1000000\n").unwrap();
    let mut line = String::new();
    BufReader::new(&clients[0]).read_line(&mut line).unwrap();
    terminate(&server);
    let told = server.stderr.recv().unwrap();
    assert_eq!(told, "drain: 1 connections took too long");
    end_of(server);
}
