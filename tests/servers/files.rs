//! examples/files.rs, from outside.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::{env, process};

use crate::limit::limit;
use crate::server::{Server, rest, until};

/// A directory of a test, and a file beside it that nobody is to see.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Directory {
        let above = env::temp_dir().join(format!("reveille-files-{test}-{}", process::id()));
        fs::create_dir_all(above.join("root/folder")).unwrap();
        fs::write(above.join("secret"), "secret").unwrap();
        fs::write(above.join("root/folder/a file"), "what is in it").unwrap();
        Directory(above)
    }

    fn serve(&self) -> Server {
        let root = self.0.join("root");
        Server::start("files", &["127.0.0.1:0", root.to_str().unwrap()])
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left over is in the directory for such things.
        let _removed = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn ask(server: &Server, request: &str) -> String {
    let mut client = server.connect();
    client.write_all(request.as_bytes()).unwrap();
    rest(&client)
}

/// Catches: a length that is not the file's, a chunk that is lost.
#[test]
fn a_file_comes_whole() {
    let _limit = limit(30);
    let directory = Directory::new("whole");
    let server = directory.serve();
    let answer = ask(&server, "GET /folder/a%20file?x HTTP/1.0\r\n\r\n");
    assert_eq!(
        answer,
        "HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nwhat is in it"
    );
    let large: String = (0..1_000_000).map(|n| format!("{n}\n")).collect();
    fs::write(directory.0.join("root/large"), &large).unwrap();
    let answer = ask(&server, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.ends_with(&format!("\r\n\r\n{large}")));
}

/// Catches: looking at the path before it is decoded; a root that replaces the directory.
#[test]
fn no_path_leads_out_of_the_directory() {
    let _limit = limit(30);
    let directory = Directory::new("out");
    let server = directory.serve();
    let secret = directory.0.join("secret");
    for path in [
        "/../secret",
        "/folder/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/folder/%2e./.%2e/secret",
        &format!("/{}", secret.display()),
        &format!("/%2f{}", &secret.to_str().unwrap()[1..]),
    ] {
        let answer = ask(&server, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.0 400 "), "{path}: {answer}");
    }
}

#[test]
fn what_is_no_get_of_a_file_is_refused_by_its_reason() {
    let _limit = limit(60);
    let directory = Directory::new("refused");
    let server = directory.serve();
    let long = format!("GET / HTTP/1.0\r\nx: {}", "x".repeat(20_000));
    let upload = format!("POST / HTTP/1.0\r\n\r\n{}", "x".repeat(100_000));
    for (request, status) in [
        ("GET /none HTTP/1.0\r\n\r\n", "404"),
        ("GET / HTTP/1.0\r\n\r\n", "404"),
        ("GET /folder HTTP/1.0\r\n\r\n", "404"),
        ("GET /a%00b HTTP/1.0\r\n\r\n", "404"),
        ("POST / HTTP/1.0\r\n\r\n", "405"),
        ("POST / HTTP/1.0\r\n\r\na body behind the head", "405"),
        (&upload, "405"),
        ("GET none HTTP/1.0\r\n\r\n", "400"),
        ("GET /%zz HTTP/1.0\r\n\r\n", "400"),
        ("GET /%+1 HTTP/1.0\r\n\r\n", "400"),
        ("GET / SMTP\r\n\r\n", "400"),
        ("GET /\r\n\r\n", "400"),
        ("\r\n\r\n", "400"),
        (&long, "400"),
    ] {
        let answer = ask(&server, request);
        let expected = format!("HTTP/1.0 {status} ");
        assert!(answer.starts_with(&expected), "{request:?}: {answer}");
    }
}

/// Opening a FIFO blocks until another program opens its other end, for ever if none does.
/// Catches: opening on the thread of the connections.
#[test]
fn a_fifo_holds_up_nobody_else() {
    let _limit = limit(30);
    let directory = Directory::new("fifo");
    let fifo = directory.0.join("root/fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let server = directory.serve();
    let mut hanging = [(); 3].map(|()| server.connect());
    for client in &mut hanging {
        client.write_all(b"GET /fifo HTTP/1.0\r\n\r\n").unwrap();
    }
    until("three threads hang", || server.status("Threads") == 4);
    let answer = ask(&server, "GET /folder/a%20file HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("what is in it"));
    // All are served once the FIFO is written to: its bytes go to one of them, its end to all.
    let mut other_end = File::options().write(true).open(&fifo).unwrap();
    other_end.write_all(b"from the fifo").unwrap();
    let status = "HTTP/1.0 200 OK";
    for client in &mut hanging {
        let mut begin = vec![0; status.len()];
        client.read_exact(&mut begin).unwrap();
        assert_eq!(begin, status.as_bytes());
    }
    drop(other_end);
    let answers = hanging.map(|client| rest(&client)).concat();
    assert_eq!(answers.matches("from the fifo").count(), 1, "{answers}");
    assert_eq!(answers.len(), "\r\n\r\n".len() * 3 + "from the fifo".len());
}

/// Catches: a signal that is not looked at; an end that waits for the threads of blocking work.
#[test]
fn sigterm_ends_the_server_while_an_open_hangs() {
    let _limit = limit(30);
    let directory = Directory::new("end");
    let fifo = directory.0.join("root/fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let mut server = directory.serve();
    let mut client = server.connect();
    client.write_all(b"GET /fifo HTTP/1.0\r\n\r\n").unwrap();
    until("a thread hangs", || server.status("Threads") == 2);
    crate::terminate(&server);
    let mut status = None;
    until("it ends", || {
        status = server.child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{status:?}");
}
