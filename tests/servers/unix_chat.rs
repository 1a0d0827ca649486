//! examples/unix_chat.rs, from outside.

use std::fs;
use std::io::{BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio, id};

use crate::limit::limit;
use crate::line;
use crate::server::{PATIENCE, built, until};

/// A chat, which is ended when this is dropped.
struct Chat {
    child: Child,
    stdout: BufReader<ChildStdout>,
    path: PathBuf,
}

impl Chat {
    fn start(name: &str) -> Chat {
        let path = std::env::temp_dir().join(format!("reveille-{name}-{}", id()));
        let mut child = command(&path).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let expected = format!("listening on {}\n", path.display());
        assert_eq!(line(&mut stdout), expected);
        Chat {
            child,
            stdout,
            path,
        }
    }

    /// A client that has said its name, and is in the room.
    fn join(&mut self, name: &str) -> BufReader<UnixStream> {
        let mut client = UnixStream::connect(&self.path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(format!("{name}\n").as_bytes()).unwrap();
        // SAFETY: geteuid(2) takes nothing.
        let user = unsafe { libc::geteuid() };
        let expected = format!("\"{name}\" is a process of user {user}\n");
        assert_eq!(line(&mut self.stdout), expected);
        BufReader::new(client)
    }

    fn end(&mut self, signal: libc::c_int) -> Option<i32> {
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: kill(2) takes two integers; the child was not waited for, so the number is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        let mut status = None;
        until("the chat ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
        let _removed = fs::remove_file(&self.path);
    }
}

fn command(path: &Path) -> Command {
    let mut command = Command::new(built("unix_chat"));
    command.arg(path).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Catches: a line without its name, one that goes back or to one of the others only; a name taken for a line.
#[test]
fn a_line_goes_to_all_the_others_behind_the_name() {
    let _limit = limit(300);
    let mut chat = Chat::start("chat");
    let [mut ann, mut bob, mut cy] = ["ann", "bob", "cy"].map(|name| chat.join(name));
    ann.get_mut().write_all(b"hel").unwrap();
    ann.get_mut().write_all(b"lo\nand\n").unwrap();
    for other in [&mut bob, &mut cy] {
        assert_eq!(line(other), "ann: hello\n");
        assert_eq!(line(other), "ann: and\n");
    }
    bob.get_mut().write_all(b"bye").unwrap();
    bob.get_mut().shutdown(Shutdown::Write).unwrap();
    for other in [&mut ann, &mut cy] {
        assert_eq!(line(other), "bob: bye\n");
    }
    assert_eq!(line(&mut bob), "", "and the other half is closed");
}

/// Catches: a file that stays, or an end that is none; after a crash, a file that is bound over or removed.
#[test]
fn the_file_goes_at_the_end_and_stays_after_a_crash() {
    let _limit = limit(300);
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut chat = Chat::start("chat-end");
        let mut client = chat.join("ann");
        assert_eq!(chat.end(signal), Some(0));
        assert!(!chat.path.exists());
        assert_eq!(line(&mut client), "");
    }
    let mut chat = Chat::start("chat-crash");
    assert_eq!(chat.end(libc::SIGKILL), None);
    let second = command(&chat.path).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("in use"), "{said}");
    assert!(chat.path.exists());
}
