//! The echo server, from outside: the built examples/echo.rs, its clients, and what the kernel says
//! of it in /proc. What its system calls are is counted by tests/strace.sh, what its messages cost
//! by tests/instructions.sh.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use limit::limit;
use server::{PATIENCE, Server, built, connect, number_after, rest, until};

#[path = "support/limit.rs"]
mod limit;
#[path = "support/server.rs"]
mod server;

#[path = "echo/abuse.rs"]
mod abuse;

fn echo() -> Server {
    Server::start("echo", &["127.0.0.1:0"])
}

/// Sends some bytes and receives as many.
#[track_caller]
fn exchange(mut client: &TcpStream, bytes: &[u8]) {
    client.write_all(bytes).expect("the server takes them");
    let mut echoed = vec![0; bytes.len()];
    client.read_exact(&mut echoed).expect("they come back");
    assert!(echoed == bytes, "other bytes came back");
}

/// Runs it to its end, which must come by itself.
fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(built("echo"));
    command.args(arguments).output().expect("the echo starts")
}

#[track_caller]
fn send_signal(server: &Server, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(server.pid()).unwrap();
    // SAFETY: kill(2) takes two integers and touches no memory of ours; the pid is our child's,
    // because it is reaped by `end_of` only, which consumes the server.
    let sent = unsafe { libc::kill(pid, signal) };
    assert_eq!(sent, 0, "{}", io::Error::last_os_error());
}

#[track_caller]
fn end_of(mut server: Server) -> ExitStatus {
    let mut status = None;
    until("the server ends", || {
        status = server.child.try_wait().expect("it is our child");
        status.is_some()
    });
    status.unwrap()
}

/// CPU time so far, in clock ticks of 10 ms: utime and stime of proc_pid_stat(5), 14th and 15th.
fn cpu(server: &Server) -> u64 {
    let fields = server.stat();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().unwrap();
    ticks(14) + ticks(15)
}

// What it says.

/// The example is what a reader sees first.
/// Catches: a feature more.
#[test]
fn the_program_has_less_than_70_lines_of_code() {
    let _limit = limit(300);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/echo.rs");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(str::trim);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    let code = code.count();
    assert!(code < 70, "{code} lines");
}

/// Port 0 is a question, and the line answers it.
/// Catches: printing the address that was asked for.
#[test]
fn the_first_line_tells_where_it_listens_with_the_real_port() {
    let _limit = limit(300);
    // `start` has read the line, and connects to what it says.
    let server = echo();
    assert_eq!(server.address.ip(), Ipv4Addr::LOCALHOST);
    assert_ne!(server.address.port(), 0);
    exchange(&server.connect(), b"hello");
}

/// Nobody can learn where it listens, so it does not serve; and it says why.
/// Catches: `println!`, which panics then.
#[test]
fn a_stdout_that_nobody_reads_is_a_failure_and_no_panic() {
    let _limit = limit(300);
    let (stdout, reader) = UnixStream::pair().unwrap();
    drop(reader);
    let mut command = Command::new(built("echo"));
    command
        .arg("127.0.0.1:0")
        .stdout(OwnedFd::from(stdout))
        .stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("Broken pipe"), "{told}");
    assert_eq!(output.status.code(), Some(1), "{told}");
}

/// Catches: a panic where no descriptor is left for the runtime.
#[test]
fn too_few_descriptors_at_the_start_are_told_in_one_line() {
    let _limit = limit(300);
    // With fewer the program does not even load.
    for room in 4..8 {
        let script = "ulimit -n $0; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, &room.to_string()]);
        command.arg(built("echo")).arg("127.0.0.1:0");
        command.stdin(Stdio::null());
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{room}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(
            told.starts_with("echo: ") && told.contains("open files"),
            "{told}"
        );
    }
}

/// Catches: a server that drains and says nothing, so that it seems to hang.
#[test]
fn at_the_first_signal_it_says_what_it_waits_for() {
    let _limit = limit(300);
    let server = echo();
    exchange(&server.connect(), b"hello");
    send_signal(&server, libc::SIGINT);
    let told = server.stderr.recv_timeout(Duration::from_secs(20));
    assert_eq!(
        told.unwrap(),
        "echo: ending within 5s; a second signal ends it at once"
    );
    assert_eq!(end_of(server).code(), Some(0));
}

/// Scripts read the first line, and would have to read what follows it too.
/// Catches: a line for each connection, or at the end.
#[test]
fn nothing_is_printed_but_the_first_line() {
    let _limit = limit(300);
    let mut server = echo();
    exchange(&server.connect(), b"hello");
    send_signal(&server, libc::SIGTERM);
    let mut printed = String::new();
    server.stdout().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "");
}

/// Of two loopbacks a client may try either first.
/// Catches: setting IPV6_V6ONLY.
#[test]
fn the_ipv6_wildcard_serves_both_families() {
    let _limit = limit(300);
    let server = Server::start("echo", &["[::]:0"]);
    assert_eq!(server.address.ip(), Ipv6Addr::UNSPECIFIED);
    let port = server.address.port();
    exchange(&connect((Ipv6Addr::LOCALHOST, port).into()), b"six");
    exchange(&connect((Ipv4Addr::LOCALHOST, port).into()), b"four");
}

/// Misuse is answered at once, on stderr, by the code that means misuse.
/// Catches: taking anything for an address, or ignoring what is too much.
#[test]
fn a_wrong_argument_is_answered_by_the_usage_and_exit_code_2() {
    let _limit = limit(300);
    for arguments in [
        ["nonsense"].as_slice(),
        &["--help"],
        &["127.0.0.1:0", "more"],
    ] {
        let output = run(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("usage: echo "), "{arguments:?}: {told}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

/// Whoever has to repair it needs to know what failed, and why.
/// Catches: an error without the address, and one that ends like a success.
#[test]
fn a_port_in_use_is_told_with_its_address_and_exit_code_1() {
    let _limit = limit(300);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&[&address]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&address), "{told}");
    assert!(told.contains("Address already in use"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

// What it gives back.

/// The end of one direction is not the end of the other.
/// Catches: closing at the end of the stream before what is left has been sent.
#[test]
fn a_client_that_closes_its_half_gets_all_its_bytes_and_then_the_end() {
    let _limit = limit(300);
    let server = echo();
    let mut client = server.connect();
    let bytes = pattern(0, 1 << 20);
    let mut writer = client.try_clone().unwrap();
    let sent = bytes.clone();
    let writer = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed).expect("the end comes");
    writer.join().unwrap();
    assert!(echoed == bytes, "{} bytes came back", echoed.len());
}

/// Bytes that tell where in the stream they are.
fn pattern(from: usize, length: usize) -> Vec<u8> {
    let word = |nth: usize| {
        (nth as u64)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .to_le_bytes()
    };
    let words = from / 8..(from + length).div_ceil(8);
    let mut bytes: Vec<u8> = words.flat_map(word).skip(from % 8).collect();
    bytes.truncate(length);
    bytes
}

/// R10, and back-pressure: what a slow reader does not take is not read from him either.
/// Catches: keeping what one write left over, and reading on (unbounded memory); not keeping it
/// (other bytes).
#[test]
fn a_client_that_reads_later_gets_every_byte_and_costs_bounded_memory() {
    let _limit = limit(300);
    // More than all socket buffers between the two can hold.
    const ALL: usize = 64 << 20;
    const CHUNK: usize = 1 << 20;
    let server = echo();
    let client = server.connect();
    exchange(&client, b"01234567");
    let before = server.status("VmHWM");

    let mut writer = client.try_clone().unwrap();
    // A write that takes this long is stuck, unless the machine is: then the test is easier.
    writer
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut sent = 0;
    let chunks: Vec<Vec<u8>> = (0..ALL / CHUNK)
        .map(|nth| pattern(nth * CHUNK, CHUNK))
        .collect();
    let mut chunk = 0;
    // Until the server reads no more.
    while let Ok(n) = writer.write(&chunks[chunk][sent % CHUNK..]) {
        sent += n;
        chunk = sent / CHUNK;
        assert!(
            sent < ALL,
            "{ALL} bytes were taken from a client that reads none"
        );
    }
    let reader = thread::spawn({
        let mut client = client.try_clone().unwrap();
        move || {
            let mut echoed = vec![0; CHUNK];
            (0..ALL / CHUNK).all(|nth| {
                client.read_exact(&mut echoed).expect("the bytes come");
                echoed == pattern(nth * CHUNK, CHUNK)
            })
        }
    });
    writer.set_write_timeout(Some(PATIENCE)).unwrap();
    while sent < ALL {
        sent += writer.write(&chunks[sent / CHUNK][sent % CHUNK..]).unwrap();
    }
    assert!(reader.join().unwrap(), "other bytes came back");
    let grown = server.status("VmHWM") - before;
    assert!(grown < 2 << 10, "{grown} KiB more");
}

// What clients do to it.

/// R7, R10: each of these ends by a reset, with the server in the middle of an echo.
/// Catches: an error of one connection that ends the server, or leaves its descriptor open.
#[test]
fn a_thousand_clients_that_leave_their_bytes_unread_harm_nobody() {
    let _limit = limit(300);
    let server = echo();
    let idle = server.descriptors();
    let honest = server.connect();
    exchange(&honest, b"before");
    for _ in 0..1000 {
        let mut client = server.connect();
        client.write_all(&[1; 1000]).unwrap();
        // One byte has come back, so the others are there, or on their way, when it is closed.
        client.read_exact(&mut [0]).unwrap();
    }
    exchange(&honest, b"after");
    drop(honest);
    until("every descriptor is back", || server.descriptors() == idle);
}

/// R10: a reset that finds the server waiting.
/// Catches: not hearing of errors.
#[test]
fn a_thousand_resets_harm_nobody() {
    let _limit = limit(300);
    let server = echo();
    let idle = server.descriptors();
    let honest = server.connect();
    exchange(&honest, b"before");
    for nth in 0..1000 {
        let client = server.connect();
        if nth % 2 == 0 {
            exchange(&client, b"hello");
        }
        // The reset comes from the close that follows: socket(7), SO_LINGER.
        let client = reveille::net::TcpStream::from_std(client).unwrap();
        client.set_zero_linger().unwrap();
    }
    exchange(&honest, b"after");
    drop(honest);
    until("every descriptor is back", || server.descriptors() == idle);
}

/// Fault A7: a read ends at the mark of an urgent byte, short, although more is there.
/// Catches: trusting a short read after an event with EPOLLPRI.
#[test]
fn an_urgent_byte_strands_nothing_behind_it() {
    let _limit = limit(300);
    let server = echo();
    let mut client = server.connect();
    // Registered now, and known to be drained.
    exchange(&client, b"before");
    until("it waits again", || server.is_asleep());
    // All is there when it looks, so that no later segment brings another event.
    send_signal(&server, libc::SIGSTOP);
    until("it is stopped", || server.stat()[0] == "T");
    client.write_all(b"abc").unwrap();
    urgent(&client, b'!');
    client.write_all(b"def").unwrap();
    send_signal(&server, libc::SIGCONT);
    let mut echoed = [0; 6];
    client
        .read_exact(&mut echoed)
        .expect("all but the urgent byte");
    assert_eq!(&echoed, b"abcdef");
}

/// Sends one byte out of band: tcp(7), MSG_OOB.
#[track_caller]
fn urgent(client: &TcpStream, byte: u8) {
    // SAFETY: send(2) reads one byte at the pointer, which is that of a variable that outlives the
    // call, and keeps no pointer.
    let sent = unsafe {
        libc::send(
            client.as_raw_fd(),
            (&raw const byte).cast(),
            1,
            libc::MSG_OOB,
        )
    };
    assert_eq!(sent, 1, "{}", io::Error::last_os_error());
}

/// One thread serves all, and nobody can keep it to himself.
/// Catches: serving one connection after the other.
#[test]
fn silent_and_greedy_clients_do_not_hinder_an_honest_one() {
    let _limit = limit(300);
    let server = echo();
    let _silent: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    // They send until they are stuck, and read nothing.
    let greedy: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    for mut client in &greedy {
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 64 << 10]).is_ok() {}
    }
    let honest = server.connect();
    for _ in 0..100 {
        exchange(&honest, b"hello");
    }
}

/// Nothing is printed where it could block, but the first line.
/// Catches: a line to stdout for each connection.
#[test]
fn a_full_pipe_on_stdout_stalls_nothing() {
    let _limit = limit(300);
    let server = echo();
    // Another open file description of the same pipe: ours may be non-blocking.
    let path = format!("/proc/{}/fd/1", server.pid());
    let mut options = fs::OpenOptions::new();
    let mut pipe = options
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .unwrap();
    // Page by page, and the last one to the last byte.
    for size in [4096, 1] {
        while pipe.write(&vec![b'x'; size]).is_ok() {}
    }
    for _ in 0..10 {
        exchange(&server.connect(), b"hello");
    }
}

// What it does to the machine.

/// Fault A13: at the limit accept(2) fails, and nothing announces the descriptor that comes free.
/// Catches: giving up, trying without pause, logging every time.
#[test]
fn at_the_descriptor_limit_it_rests_and_serves_everyone_in_turn() {
    let _limit = limit(300);
    const SERVED: usize = 4;
    const WINDOW: Duration = Duration::from_secs(2);
    let server = echo();
    let limit = (server.descriptors().0 + SERVED) as u64;
    let pid = libc::pid_t::try_from(server.pid()).unwrap();
    rlimit::prlimit(pid, rlimit::Resource::NOFILE, Some((limit, limit)), None).unwrap();

    let start = Instant::now();
    let mut served: Vec<TcpStream> = (0..SERVED).map(|_| server.connect()).collect();
    served.iter().for_each(|client| exchange(client, b"served"));
    let mut waiting: VecDeque<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for mut client in &waiting {
        client.write_all(b"waiting").unwrap();
    }
    let told = server.stderr.recv_timeout(PATIENCE).expect("it is logged");
    assert!(told.contains("cannot accept"), "{told}");

    let before = cpu(&server);
    thread::sleep(WINDOW);
    let busy = cpu(&server) - before;
    // 10 ms each: a fifth of one CPU would be 40, and it needs none.
    assert!(busy <= 10, "{busy} ticks in {WINDOW:?}");
    served
        .iter()
        .for_each(|client| exchange(client, b"served still"));

    // Each who leaves makes room for the one who has waited longest.
    while let Some(mut client) = waiting.pop_front() {
        drop(served.pop());
        let mut echoed = [0; 7];
        client.read_exact(&mut echoed).expect("it is served");
        assert_eq!(&echoed, b"waiting");
        served.push(client);
    }
    let lines = 1 + server.stderr.try_iter().count() as u64;
    let seconds = start.elapsed().as_secs();
    assert!(lines <= seconds + 1, "{lines} lines in {seconds} s");
}

/// Nobody speaks, so there is nothing to do. (tests/strace.sh counts the calls themselves.)
/// Catches: a wait with a timeout, and an event that comes again and again.
#[test]
fn while_all_are_silent_it_does_not_even_wake_up() {
    let _limit = limit(300);
    let server = echo();
    let clients: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    clients.iter().for_each(|client| exchange(client, b"hello"));
    until("it waits again", || server.is_asleep());
    // The kernel counts a moment after it says "asleep".
    thread::sleep(Duration::from_millis(100));
    let before = server.status("voluntary_ctxt_switches");
    thread::sleep(Duration::from_secs(2));
    let after = server.status("voluntary_ctxt_switches");
    assert_eq!(after - before, 0, "times it went to sleep again");
}

/// All at once, on one thread: the server in a process of its own, as many clients as descriptors
/// allow in this one. Prints how many, and what one that waits costs.
/// Catches: a buffer for each connection.
#[test]
fn ten_thousand_connections_all_echo_and_cost_little_while_they_wait() {
    let _limit = limit(300);
    // Half of what this process may have: other tests of it have clients too.
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let connections = 10_000.min(usize::try_from(limit).unwrap() / 2);
    let server = Server::start("echo", &["0.0.0.0:0"]);
    let idle = server.descriptors();
    // One first, for what the first one costs.
    exchange(
        &connect((Ipv4Addr::LOCALHOST, server.address.port()).into()),
        b"first",
    );
    let before = private_memory(&server);

    let clients: Vec<TcpStream> = (0..connections)
        .map(|nth| {
            // Several loopback addresses, for each has its own 28,000 client ports.
            let host = Ipv4Addr::new(127, 0, 0, (nth % 8 + 1) as u8);
            connect((host, server.address.port()).into())
        })
        .collect();
    for (nth, client) in clients.iter().enumerate() {
        exchange(client, &nth.to_le_bytes());
    }
    until("it waits again", || server.is_asleep());
    let bytes = (private_memory(&server) - before) * 1024 / connections as u64;
    println!(
        "{connections} connections, all echoed; {bytes} bytes of user space for each that waits"
    );
    assert_eq!(
        server.descriptors().1,
        idle.1 + connections,
        "one registration each"
    );
    // A sanitizer surrounds each allocation with bytes of its own.
    let most = if std::env::var_os("ASAN_OPTIONS").is_some() {
        4096
    } else {
        2048
    };
    assert!(bytes < most, "{bytes} bytes of user space for each");
}

/// Memory of the process itself in KiB, without what it shares and what the kernel keeps for it.
fn private_memory(server: &Server) -> u64 {
    let text = server.proc("smaps_rollup");
    number_after(&text, "Private_Clean") + number_after(&text, "Private_Dirty")
}

// How it ends, and begins again.

/// Ends it by this signal while one client is connected, and finishes with the client.
#[track_caller]
fn ends_gracefully_by(signal: libc::c_int) {
    let server = echo();
    let (address, client) = (server.address, server.connect());
    exchange(&client, b"before");
    send_signal(&server, signal);
    until("nobody listens", || is_refused(address));
    exchange(&client, b"after");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&client), "");
    assert_eq!(end_of(server).code(), Some(0));
}

/// True if a connection is refused. One that was in the backlog when it closed is reset.
fn is_refused(address: SocketAddr) -> bool {
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    TcpStream::connect(address).is_err_and(refused)
}

/// Catches: not listening for it, so that it ends the process.
#[test]
fn sigint_stops_accepting_and_lets_connections_finish() {
    let _limit = limit(300);
    ends_gracefully_by(libc::SIGINT);
}

/// Catches: not listening for it, so that it ends the process.
#[test]
fn sigterm_stops_accepting_and_lets_connections_finish() {
    let _limit = limit(300);
    ends_gracefully_by(libc::SIGTERM);
}

/// Fault C35. Stopped and continued, so that all are in the backlog when the signal is heard.
/// Catches: a close that resets whoever is connected and was not accepted yet; a drain that never ends
/// while others keep connecting.
#[test]
fn clients_that_wait_in_the_backlog_are_served_before_it_ends() {
    let _limit = limit(300);
    for keep_coming in [false, true] {
        let server = echo();
        let address = server.address;
        send_signal(&server, libc::SIGSTOP);
        let clients: Vec<_> = (0..300).map(|_| server.connect()).collect();
        send_signal(&server, libc::SIGTERM);
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let others = thread::spawn(move || {
            for _ in 0..if keep_coming { 20_000 } else { 0 } {
                drop(TcpStream::connect_timeout(&address, Duration::from_secs(1)));
                if ended.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        send_signal(&server, libc::SIGCONT);
        for client in &clients {
            exchange(client, b"waited");
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(client), "", "closed, not reset");
        }
        assert_eq!(end_of(server).code(), Some(0));
        over.store(true, Ordering::SeqCst);
        others.join().unwrap();
    }
}

/// A client that stays must not keep it.
/// Catches: waiting without a limit, and not at all.
#[test]
fn connections_that_do_not_finish_have_five_seconds() {
    let _limit = limit(300);
    let server = echo();
    let client = server.connect();
    exchange(&client, b"hello");
    let start = Instant::now();
    send_signal(&server, libc::SIGTERM);
    assert_eq!(rest(&client), "", "closed, not reset");
    let lasted = start.elapsed();
    assert!(lasted >= Duration::from_secs(5), "{lasted:?}");
    assert_eq!(end_of(server).code(), Some(0));
}

/// Whoever asks twice means it.
/// Catches: waiting for the connections whatever comes.
#[test]
fn a_second_signal_ends_it_at_once() {
    let _limit = limit(300);
    let server = echo();
    let (address, client) = (server.address, server.connect());
    exchange(&client, b"hello");
    send_signal(&server, libc::SIGINT);
    until("nobody listens", || is_refused(address));
    // Asleep again, it has also given the signals their former action back.
    until("it waits for the connection", || server.is_asleep());
    send_signal(&server, libc::SIGINT);
    assert_eq!(end_of(server).signal(), Some(libc::SIGINT));
}

/// A server that was ended with connections open leaves them in TIME_WAIT, and must be able to
/// begin again.
/// Catches: no SO_REUSEADDR.
#[test]
fn it_can_be_started_again_at_once_on_the_same_port() {
    let _limit = limit(300);
    let server = echo();
    let address = server.address;
    let client = server.connect();
    exchange(&client, b"hello");
    // Ended first, so that its end of the connection is the one that waits: tcp(7).
    drop(server);
    assert_eq!(rest(&client), "");
    drop(client);
    let again = Server::start("echo", &[&address.to_string()]);
    assert_eq!(again.address, address);
    exchange(&again.connect(), b"hello");
}
