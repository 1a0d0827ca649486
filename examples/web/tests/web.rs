//! The server from outside, asked by clients of std that write and read bytes. What curl and others say of it,
//! `check.sh` asks.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use limit::limit;

#[path = "../../../tests/support/limit.rs"]
mod limit;

/// How long a client waits. What is waited for here takes two seconds at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// The server's limit for uploads.
const LIMIT: usize = 1 << 20;

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    #[track_caller]
    fn start(arguments: &[&str]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_web"))
            .arg("127.0.0.1:0")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap();
        let address = address.parse().unwrap();
        Server { child, address }
    }

    #[track_caller]
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn terminate(&self) {
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: kill(2) takes two integers and touches no memory of ours; the pid is our child's, because it is reaped
        // after this only.
        let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
        assert_eq!(sent, 0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it has ended already, so much the better.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// An answer with a Content-Length: its head and its body.
#[track_caller]
fn answer(stream: &mut impl Read) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head comes whole");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (_, length) = head.split_once("content-length: ").expect("a length");
    let length = length.split('\r').next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body comes whole");
    (head, String::from_utf8(body).unwrap())
}

/// Expects that the connection ends, and is not reset.
#[track_caller]
fn end(stream: &mut impl Read) {
    let n = stream.read(&mut [0]).expect("the end, and not an error");
    assert_eq!(n, 0, "nothing comes behind the answer");
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

/// Catches: a builder without reveille's timer, which makes hyper's limit silently no limit.
#[test]
fn a_head_that_does_not_come_whole_is_closed_at_its_limit() {
    let _limit = limit(30);
    let server = Server::start(&["--head-timeout", "0.5"]);
    for sent in ["", "G", "GET / HTTP/1.1\r\nHost: "] {
        let start = Instant::now();
        let mut client = server.connect();
        client.write_all(sent.as_bytes()).unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).expect("the end");
        assert!(!rest.contains(" 200 "), "{rest}");
        assert!(start.elapsed().as_millis() >= 500, "{sent:?}");
        assert!(start.elapsed().as_secs() < 10, "{sent:?}");
    }
}

/// Catches: waiting for the body before the answer is given.
#[test]
fn the_head_of_a_413_comes_before_the_body_was_sent() {
    let _limit = limit(30);
    let server = Server::start(&[]);
    let mut client = server.connect();
    let body = vec![b'x'; 20_000_000];
    client
        .write_all(post("/length", body.len()).as_bytes())
        .unwrap();
    let (head, said) = answer(&mut client);
    assert!(head.starts_with("http/1.1 413 "), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(said, "too large\n");
    // And the server is ready for the body all the same.
    client.write_all(&body).unwrap();
    end(&mut client);
}

/// Catches: a limit that looks at the Content-Length only.
#[test]
fn an_upload_without_a_length_is_counted() {
    let _limit = limit(30);
    let server = Server::start(&[]);
    for chunk in [LIMIT, 20_000_000] {
        let mut client = server.connect();
        let head = "POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.write_all(head.as_bytes()).unwrap();
        client
            .write_all(format!("{chunk:x}\r\n").as_bytes())
            .unwrap();
        let body = vec![b'x'; chunk];
        let (first, rest) = body.split_at(chunk.min(LIMIT + 1));
        client.write_all(first).unwrap();
        if chunk > LIMIT {
            // The rest has not come, and the answer has.
            assert_eq!(answer(&mut client).1, "too large\n");
        }
        client.write_all(rest).expect("the server takes it");
        client
            .write_all(b"\r\n0\r\n\r\n")
            .expect("the server takes it");
        if chunk > LIMIT {
            end(&mut client);
        } else {
            assert_eq!(answer(&mut client).1, format!("{LIMIT}\n"));
        }
    }
}

/// A client that writes first and reads later, as most do.
/// Catches: closing a connection on which the client still sends.
#[test]
fn one_who_sends_all_of_20_mb_before_it_reads_gets_the_413() {
    let _limit = limit(60);
    let server = Server::start(&[]);
    let body = vec![b'x'; 20_000_000];
    for _ in 0..30 {
        let mut client = server.connect();
        client
            .write_all(post("/length", body.len()).as_bytes())
            .unwrap();
        client.write_all(&body).expect("the server takes it");
        assert_eq!(answer(&mut client).1, "too large\n");
        end(&mut client);
    }
}

/// Catches: dropping the body with a handler that does not want it, which costs the connection.
#[test]
fn a_body_that_nobody_wants_costs_neither_the_answer_nor_the_connection() {
    let _limit = limit(30);
    let server = Server::start(&[]);
    let mut client = server.connect();
    for _ in 0..10 {
        client.write_all(post("/none", LIMIT).as_bytes()).unwrap();
        client.write_all(&vec![b'x'; LIMIT]).unwrap();
        let (head, _) = answer(&mut client);
        assert!(head.starts_with("http/1.1 404 "), "{head}");
    }
}

/// Catches: reading on for ever.
#[test]
fn an_upload_without_an_end_is_cut_off() {
    let _limit = limit(60);
    let server = Server::start(&[]);
    let mut client = server.connect();
    client
        .write_all(post("/length", 1 << 40).as_bytes())
        .unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let sent = (0..1024)
        .take_while(|_| client.write_all(&chunk).is_ok())
        .count();
    // 32 MB, and what the two sockets hold.
    assert!((32..128).contains(&sent), "{sent} MiB");
    // One who sends nothing of what it has promised is closed, too.
    let start = Instant::now();
    let mut silent = server.connect();
    silent
        .write_all(post("/length", 1 << 40).as_bytes())
        .unwrap();
    answer(&mut silent);
    end(&mut silent);
    assert!((1..10).contains(&start.elapsed().as_secs()));
}

/// The clients ask all the time, each on one connection, and go on until they are told that it closes.
/// Catches: closing connections that have nothing to do for a moment; a request under way that is cut off.
#[test]
fn sigterm_under_load_resets_no_connection_and_loses_no_answer() {
    let _limit = limit(60);
    for _ in 0..3 {
        let mut server = Server::start(&[]);
        let mut slow = server.connect();
        slow.write_all(b"GET /wait/1500 HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut idle = server.connect();
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = [(); 16].map(|()| {
            let mut client = server.connect();
            let answered = Arc::clone(&answered);
            thread::spawn(move || {
                loop {
                    client
                        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                        .expect("it is open");
                    let (head, body) = answer(&mut client);
                    assert_eq!(body, "hello\n");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if head.contains("connection: close") {
                        return end(&mut client);
                    }
                }
            })
        });
        while answered.load(Ordering::Relaxed) < 2000 {
            thread::yield_now();
        }
        server.terminate();
        for client in clients {
            client.join().expect("no request is lost");
        }
        assert_eq!(answer(&mut slow).1, "waited\n");
        end(&mut slow);
        end(&mut idle);
        assert!(server.child.wait().unwrap().success());
        let refused = TcpStream::connect(server.address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

/// Catches: a stream whose options are not set.
#[test]
fn the_kernel_asks_a_silent_peer_if_it_is_still_there() {
    let _limit = limit(30);
    let server = Server::start(&[]);
    let mut client = server.connect();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    answer(&mut client);
    let ports = [server.address.port(), client.local_addr().unwrap().port()];
    let [local, remote] = ports.map(|port| format!("0100007F:{port:04X}"));
    // proc_pid_net(5): the timer of a connection, 2 for keepalive, and when it fires, in hundredths of a second. Another
    // one stands there until what was sent has been acknowledged.
    let start = Instant::now();
    loop {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        let row = rows
            .find(|row| row[1] == local && row[2] == remote)
            .unwrap();
        let (timer, when) = row[5].split_once(':').unwrap();
        let when = u64::from_str_radix(when, 16).unwrap();
        if timer == "02" && (1..=6100).contains(&when) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{}", row[5]);
        thread::sleep(Duration::from_millis(2));
    }
}

/// Catches: an offer of HTTP/2 that the server does not keep; a handshake that has no limit.
#[test]
fn tls_serves_http_1_and_offers_http_2() {
    let _limit = limit(30);
    let directory = env::temp_dir().join(format!("reveille-web-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| directory.join(name));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let [certificate, key] = [certificate, key].map(|path| path.to_str().unwrap().to_owned());
    let server = Server::start(&["--head-timeout", "0.5", "--tls", &certificate, &key]);
    fs::remove_dir_all(&directory).unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for (offered, taken) in [("http/1.1", "http/1.1"), ("h2", "h2")] {
        config.alpn_protocols = vec![offered.into()];
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::new(config.clone()), name).unwrap();
        let mut stream = StreamOwned::new(client, server.connect());
        if taken == "h2" {
            // The preface and an empty SETTINGS frame (RFC 9113, 3.4); the server begins with its own.
            stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .unwrap();
            let mut frame = [0; 9];
            stream.read_exact(&mut frame).unwrap();
            assert_eq!(frame[3], 4, "SETTINGS");
            // No request follows: the connection is closed, without a farewell of TLS.
            let end = stream.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
        } else {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            assert_eq!(answer(&mut stream).1, "hello\n");
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(taken.as_bytes()));
    }
    // One who does not begin the handshake.
    end(&mut server.connect());
}

/// Catches: a pool that does not keep connections.
#[test]
fn the_client_with_a_pool_asks_three_times_on_one_connection() {
    let _limit = limit(300);
    let server = Server::start(&[]);
    let this = env::current_exe().unwrap();
    // target/debug/deps/this
    let profile = this.ancestors().nth(2).unwrap();
    // cargo builds examples with the tests, but not where a test is named.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--offline",
        "--example=ask",
        "--target-dir",
    ]);
    cargo.arg(profile.parent().unwrap());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(
        cargo.status().unwrap().success(),
        "the example does not compile"
    );
    let program = profile.join("examples/ask");
    let output = Command::new(program)
        .arg(format!("http://{}/", server.address))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let hello = "200 OK: hello\n".repeat(3);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, hello + "connections made: 1\n");
}
