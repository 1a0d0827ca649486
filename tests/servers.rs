//! The other servers of examples/, from outside: chat.rs, chat_broadcast.rs and timeout.rs here, the others in files of their names.
//! What redis-cli, redis-benchmark and curl say of them, tests/clients.sh asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use limit::limit;
use server::{Server, rest, until};

#[path = "support/limit.rs"]
mod limit;
#[path = "support/server.rs"]
mod server;

#[path = "servers/drain.rs"]
mod drain;
#[path = "servers/files.rs"]
mod files;
#[path = "servers/resp.rs"]
mod resp;
#[path = "servers/udp_echo.rs"]
mod udp_echo;

/// Sends SIGTERM.
#[track_caller]
fn terminate(server: &Server) {
    let pid = libc::pid_t::try_from(server.pid()).unwrap();
    // SAFETY: kill(2) takes two integers and touches no memory of ours; the pid is our child's, because it is reaped
    // after this only.
    let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
    assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
}

/// The two examples that are the same from outside.
const CHATS: [&str; 2] = ["chat", "chat_broadcast"];

/// Starts a chat with so many clients in the room.
fn chat(example: &str, clients: usize) -> (Server, Vec<TcpStream>) {
    let server = Server::start(example, &["127.0.0.1:0"]);
    let idle = server.descriptors().1;
    let clients = (0..clients).map(|_| server.connect()).collect::<Vec<_>>();
    // One that is registered has been polled, so that it is in the room.
    until("all are in the room", || {
        server.descriptors().1 == idle + clients.len()
    });
    (server, clients)
}

#[track_caller]
fn line(client: &mut impl BufRead) -> String {
    let mut line = String::new();
    client.read_line(&mut line).expect("a line comes");
    line
}

/// What a chat is.
/// Catches: sending to whoever spoke as well, or to one of the others only.
#[test]
fn a_line_goes_to_all_the_others_and_not_back() {
    let _limit = limit(300);
    for example in CHATS {
        let (_server, mut clients) = chat(example, 3);
        clients[0].write_all(b"first\n").unwrap();
        let mut readers = clients.iter().map(BufReader::new).collect::<Vec<_>>();
        assert_eq!(line(&mut readers[1]), "first\n");
        assert_eq!(line(&mut readers[2]), "first\n");
        (&clients[1]).write_all(b"second\n").unwrap();
        assert_eq!(line(&mut readers[0]), "second\n");
    }
}

/// A stream has no boundaries.
/// Catches: taking what one read returns for a line.
#[test]
fn a_line_in_pieces_is_one_and_two_in_one_piece_are_two() {
    let _limit = limit(300);
    for example in CHATS {
        let (server, clients) = chat(example, 2);
        let mut reader = BufReader::new(&clients[1]);
        (&clients[0]).write_all(b"pie").unwrap();
        // The piece has been read when nothing is left between the two sockets.
        until("the piece was read", || unread(&server, &clients[0]) == 0);
        (&clients[0]).write_all(b"ces\none\ntwo\n").unwrap();
        let lines = [(); 3].map(|()| line(&mut reader));
        assert_eq!(lines, ["pieces\n", "one\n", "two\n"]);
    }
}

/// Bytes that the server has not read yet from this client: rx_queue in /proc/net/tcp.
fn unread(server: &Server, client: &TcpStream) -> u64 {
    let ports = [server.address.port(), client.local_addr().unwrap().port()];
    let [local, remote] = ports.map(|port| format!("0100007F:{port:04X}"));
    let table = server.proc("net/tcp");
    let mut rows = table.lines().map(|row| row.split_whitespace().collect());
    let row: Vec<&str> = rows
        .find(|row: &Vec<&str>| row[1] == local && row[2] == remote)
        .expect("the connection is open");
    let (_, receive_queue) = row[4].split_once(':').unwrap();
    u64::from_str_radix(receive_queue, 16).unwrap()
}

/// What has no line feed is not held back for ever, and not held in memory without bound.
/// Catches: forgetting what is left in the buffer at the end of the stream.
#[test]
fn a_last_line_without_a_line_feed_is_heard() {
    let _limit = limit(300);
    for example in CHATS {
        let (_server, clients) = chat(example, 2);
        (&clients[0]).write_all(b"bye").unwrap();
        clients[0].shutdown(Shutdown::Write).unwrap();
        assert_eq!(line(&mut BufReader::new(&clients[1])), "bye\n");
        assert_eq!(rest(&clients[0]), "", "and the other half is closed");
    }
}

/// Bounded memory: a thousand bytes a line, 64 MiB in all, to one who reads nothing meanwhile.
/// Catches: a mailbox without a bound.
#[test]
fn one_who_does_not_read_costs_bounded_memory_and_is_told_what_he_missed() {
    let _limit = limit(300);
    const LINES: u64 = 64 << 10;
    for example in CHATS {
        let (server, clients) = chat(example, 2);
        let before = server.status("VmHWM");
        let line = [[b'x'; 999].as_slice(), b"\n"].concat();
        for _ in 0..LINES {
            (&clients[0]).write_all(&line).unwrap();
        }
        // All was said when the server has closed the speaker's connection.
        clients[0].shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&clients[0]), "");
        let grown = server.status("VmHWM") - before;
        assert!(grown < 4 << 10, "{grown} KiB more");

        let (mut heard, mut missed) = (0, 0);
        let mut lines = BufReader::new(&clients[1]).lines();
        while heard + missed < LINES {
            let line = lines.next().unwrap().unwrap();
            match line.strip_prefix("* you missed ") {
                Some(text) => missed += text.split(' ').next().unwrap().parse::<u64>().unwrap(),
                None => heard += 1,
            }
        }
        assert_eq!(heard + missed, LINES);
        assert!(missed > 0, "64 MiB are more than the kernel keeps");
    }
}

/// A thousand timers, and each closes its connection: never early, and every descriptor returns.
/// Catches: a limit that is not applied to the read.
#[test]
fn a_thousand_silent_connections_are_closed_when_the_limit_passes() {
    let _limit = limit(300);
    rlimit::increase_nofile_limit(4096).unwrap();
    let mut server = Server::start("timeout", &["127.0.0.1:0", "0.5"]);
    let idle = server.descriptors();
    let start = Instant::now();
    let clients = (0..1000).map(|_| server.connect()).collect::<Vec<_>>();
    for mut client in &clients {
        let n = client.read(&mut [0]).expect("the end, not an error");
        assert_eq!(n, 0, "nothing was sent, so nothing comes back");
    }
    assert!(start.elapsed().as_millis() >= 500);
    until("every descriptor is back", || server.descriptors() == idle);
    for _ in 0..1000 {
        let told = line(server.stdout());
        assert!(told.ends_with(" was closed: silent for 500ms\n"), "{told}");
    }
}

/// The limit is on silence, not on the connection.
/// Catches: one timer for the whole connection, made before the loop.
#[test]
fn one_who_keeps_talking_is_not_closed() {
    let _limit = limit(300);
    let server = Server::start("timeout", &["127.0.0.1:0", "5"]);
    let mut client = server.connect();
    let start = Instant::now();
    let mut word = [0; 4];
    while start.elapsed().as_secs_f32() < 5.5 {
        client.write_all(b"word").unwrap();
        client.read_exact(&mut word).expect("an echo");
    }
}

/// One who does not take his bytes is silent too.
/// Catches: no limit around the write.
#[test]
fn one_who_takes_nothing_is_closed() {
    let _limit = limit(300);
    let server = Server::start("timeout", &["127.0.0.1:0", "0.2"]);
    let mut client = server.connect();
    // Until the server, which is stuck in its write, has given up on it.
    let closed = (0..1 << 20).find_map(|_| client.write_all(&[0; 4096]).err());
    let kind = closed.expect("4 GiB were taken").kind();
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    assert!(matches!(kind, BrokenPipe | ConnectionReset), "{kind}");
}
