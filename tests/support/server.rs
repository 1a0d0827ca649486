//! A server of examples/ as a child process: built, started, watched through /proc, and ended.
//!
//! Whatever waits here does so for [`PATIENCE`] at most, and so do the clients' sockets: a hang is
//! a failure.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

#[path = "built.rs"]
mod built;

pub(crate) use built::built;

/// How long anything may take. What is waited for here takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    stdout: BufReader<ChildStdout>,
    /// Lines, as they are logged.
    pub(crate) stderr: Receiver<String>,
}

impl Server {
    /// Starts the example and reads the line which says where it listens.
    #[track_caller]
    pub(crate) fn start(example: &str, arguments: &[&str]) -> Server {
        let mut child = Command::new(built(example))
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        // Read all the time: a log that nobody reads must not be what holds the server up.
        let (sender, stderr) = channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            let mut lines = log.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        let mut line = String::new();
        stdout.read_line(&mut line).expect("text on stdout");
        let address = line.strip_prefix("listening on ").unwrap_or_default();
        let Ok(address) = address.trim_end().parse() else {
            let log: Vec<String> = stderr.iter().collect();
            panic!("the first line was {line:?}; on stderr: {log:?}");
        };
        let server = Server {
            child,
            address,
            stdout,
            stderr,
        };
        // The line is printed before the first wait registers the listener.
        until("it waits for clients", || server.is_asleep());
        server
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&mut self) -> &mut impl BufRead {
        &mut self.stdout
    }

    /// A file of /proc/PID.
    pub(crate) fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid());
        fs::read_to_string(path).expect("the server runs")
    }

    /// The fields of /proc/PID/stat from the third on, the state.
    pub(crate) fn stat(&self) -> Vec<String> {
        let stat = self.proc("stat");
        // The second is the name of the program, in parentheses.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().map(str::to_owned).collect()
    }

    /// True if it waits in the kernel.
    pub(crate) fn is_asleep(&self) -> bool {
        self.stat()[0] == "S"
    }

    /// A number of /proc/PID/status; memory is in KiB.
    pub(crate) fn status(&self, field: &str) -> u64 {
        number_after(&self.proc("status"), field)
    }

    /// Open descriptors, and those of them that are registered with epoll.
    pub(crate) fn descriptors(&self) -> (usize, usize) {
        let (mut open, mut registered) = (0, 0);
        for entry in fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the server runs") {
            // One that is closed meanwhile is not counted.
            let Ok(fd) = entry.and_then(|entry| Ok((fs::read_link(entry.path())?, entry))) else {
                continue;
            };
            open += 1;
            if fd.0 == Path::new("anon_inode:[eventpoll]") {
                let number = fd.1.file_name().into_string().unwrap();
                registered += self
                    .proc(&format!("fdinfo/{number}"))
                    .matches("tfd:")
                    .count();
            }
        }
        (open, registered)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it has ended already, so much the better.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
        if thread::panicking() {
            self.stderr.try_iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Connects a client that gives up after [`PATIENCE`].
#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads to the end of the stream.
#[track_caller]
pub(crate) fn rest(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the end comes");
    text
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// The number that follows `Field:` in a file of /proc.
pub(crate) fn number_after(text: &str, field: &str) -> u64 {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no number `{field}`"))
}
