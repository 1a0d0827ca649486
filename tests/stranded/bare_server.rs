//! An echo server as one writes it from a tutorial: one loop, level-triggered, the number of the descriptor in `data`, and no
//! look at what `write` and `accept` answered. What that costs is counted here, for the page `two_tutorials`.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libc::EPOLLIN;

use super::epoll::Epoll;
use crate::child::{child, in_child};
use crate::limit::limit;

/// Serves until it is told to stop, and returns how many accepts failed.
fn serve(listener: &TcpListener, stop: &AtomicBool) -> usize {
    listener.set_nonblocking(true).unwrap();
    let (epoll, mut clients, mut failed) = (Epoll::new(), Vec::<File>::new(), 0);
    epoll.add(listener, EPOLLIN);
    while !stop.load(Ordering::Relaxed) {
        for (_, data) in epoll.wait(Duration::from_millis(5)) {
            if data == listener.as_raw_fd() as u64 {
                match listener.accept() {
                    Ok((client, _)) => {
                        client.set_nonblocking(true).unwrap();
                        epoll.add(&client, EPOLLIN);
                        clients.push(File::from(OwnedFd::from(client)));
                    }
                    // The fault: what cannot be accepted stays there, and is reported again at once.
                    Err(_) => failed += 1,
                }
                continue;
            }
            // A client that is gone, if a process that another test starts has a duplicate of it until its exec.
            let Some(at) = clients.iter().position(|c| c.as_raw_fd() as u64 == data) else {
                continue;
            };
            let mut buffer = [0; 1024];
            match clients[at].read(&mut buffer) {
                Ok(n @ 1..) => {
                    // The fault: a part of it may be all that was taken, or nothing. (A `File`, because its write(2) raises
                    // SIGPIPE as in C; a `TcpStream` of std's passes MSG_NOSIGNAL.)
                    let _ignored = clients[at].write(&buffer[..n]);
                }
                _ => drop(clients.swap_remove(at)),
            }
        }
    }
    failed
}

/// Runs the server on a thread, and `client` here; returns what both have to say.
fn beside<R>(client: impl FnOnce(TcpStream) -> R) -> (usize, R) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let server = thread::spawn(move || serve(&listener, &stopped));
    let said = client(stream);
    stop.store(true, Ordering::Relaxed);
    (server.join().unwrap(), said)
}

/// The counterpart is `a_client_that_reads_later_gets_every_byte_and_costs_bounded_memory`, of the example echo.
#[test]
fn a_server_that_ignores_what_write_said_loses_bytes_of_a_slow_reader() {
    let _limit = limit(120);
    const SENT: usize = 20 * 1024 * 1024;
    let (_, came_back) = beside(|mut stream| {
        stream.write_all(&vec![7; SENT]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // The server closes when it has read the end, so the rest is not to come.
        let mut came_back = Vec::new();
        stream.read_to_end(&mut came_back).unwrap();
        came_back.len()
    });
    println!("{came_back} of {SENT} bytes came back");
    // As much as the two buffers of the kernel hold, 10 MiB at most by default: tcp(7), tcp_rmem and tcp_wmem.
    assert!(came_back < SENT * 3 / 4, "{came_back} of {SENT} bytes");
}

/// The counterpart is `a_thousand_clients_that_leave_their_bytes_unread_harm_nobody`, of the example echo.
#[test]
fn a_server_that_lets_sigpipe_kill_is_ended_by_one_client() {
    let _limit = limit(120);
    let status = child(
        "bare_server::a_server_that_lets_sigpipe_kill_is_ended_by_one_client",
        || {
            // As in a program in C: Rust's start has it ignored.
            // SAFETY: SIG_DFL is no handler, so that no code of ours runs in a signal.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            // All of it is there before the server reads the first byte, and so is the end.
            stream.write_all(&[7; 64 * 1024]).unwrap();
            drop(stream);
            // The first answer is answered by a reset, and the second is written all the same.
            let stop = Arc::new(AtomicBool::new(false));
            let later = Arc::clone(&stop);
            thread::spawn(move || {
                thread::sleep(Duration::from_secs(10));
                later.store(true, Ordering::Relaxed);
            });
            let failed = serve(&listener, &stop);
            panic!("the server lived: {failed} accepts failed");
        },
    );
    if let Some(status) = status {
        assert_eq!(status.signal(), Some(libc::SIGPIPE), "{status}");
    }
}

/// The counterpart is `at_the_descriptor_limit_accept_idles_and_serves_all_when_it_can`, of the library.
#[test]
fn a_server_that_goes_on_when_accept_fails_is_never_at_rest() {
    in_child(
        "bare_server::a_server_that_goes_on_when_accept_fails_is_never_at_rest",
        || {
            let (failed, elapsed) = beside(|mut stream| {
                // The first is served; then there is room for no more.
                stream.write_all(b"x").unwrap();
                stream.read_exact(&mut [0; 1]).unwrap();
                let address = stream.peer_addr().unwrap();
                let waits = TcpStream::connect(address).unwrap();
                waits.set_nonblocking(true).unwrap();
                // Whether it is in yet or not: nothing after this is.
                let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
                let mut fill = Vec::new();
                rlimit::setrlimit(rlimit::Resource::NOFILE, 64, hard).unwrap();
                while let Ok(file) = stream.try_clone() {
                    fill.push(file);
                }
                drop(fill.pop());
                let _one_too_many = TcpStream::connect(address).unwrap();
                let begun = Instant::now();
                thread::sleep(Duration::from_millis(200));
                let elapsed = begun.elapsed();
                assert_eq!(
                    (&waits).read(&mut [0; 1]).unwrap_err().kind(),
                    ErrorKind::WouldBlock
                );
                elapsed
            });
            println!("{failed} accepts failed in {elapsed:?}");
            assert!(failed > 1000, "{failed} in {elapsed:?}");
        },
    );
}
