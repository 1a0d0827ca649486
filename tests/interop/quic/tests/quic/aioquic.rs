//! Against aioquic.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use quinn::{ApplicationClose, ConnectionError, VarInt};
use reveille::task::spawn_blocking;
use reveille::{block_on, spawn};

use super::endpoints::{Identity, echo, socket};
use super::limit::limit;
use super::{datagrams, many_streams, pattern};

fn python(script: &str) -> Command {
    let python = env::var("REVEILLE_AIOQUIC")
        .expect("REVEILLE_AIOQUIC is not set: these tests are run by tests/interop/run quic");
    let mut command = Command::new(python);
    command.arg(format!("{}/{script}", env!("CARGO_MANIFEST_DIR")));
    command
}

/// Files with the certificate and the key.
fn files(identity: &Identity, name: &str) -> (PathBuf, PathBuf) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (certificate, key) = identity.pem();
    let file = |ending: &str, text: &str| {
        let path = folder.join(format!("{name}.{ending}"));
        fs::write(&path, text).unwrap();
        path
    };
    (file("crt", &certificate), file("key", &key))
}

fn closed(code: u32, reason: &str) -> ConnectionError {
    ConnectionError::ApplicationClosed(ApplicationClose {
        error_code: VarInt::from_u32(code),
        reason: reason.to_owned().into(),
    })
}

/// Catches: what only quinn would understand of quinn.
#[test]
fn our_server_sends_streams_and_datagrams_of_aioquic_back() {
    let _limit = limit(60);
    block_on(async {
        let identity = Identity::new();
        let (certificate, _) = files(&identity, "our_server");
        let server = identity.server(socket("127.0.0.1:0"));
        let port = server.local_addr().unwrap().port().to_string();
        let client =
            spawn_blocking(move || python("client.py").arg(port).arg(certificate).status());
        let serving = spawn(async move {
            let connection = server.accept().await.unwrap().await.unwrap();
            spawn(echo(connection.clone())).detach();
            connection.closed().await
        });
        let status = client.await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(serving.await.unwrap(), closed(4001, "é"));
    });
}

/// Python's server; it ends when this is dropped.
struct Server {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    at: SocketAddr,
}

impl Server {
    fn start(identity: &Identity, name: &str) -> Server {
        let (certificate, key) = files(identity, name);
        let mut command = python("server.py");
        command.args([certificate, key]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let at = said.next().unwrap().unwrap().parse().unwrap();
        Server { child, said, at }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _status = self.child.wait();
    }
}

/// Catches: what only quinn would understand of quinn; a farewell that does not arrive.
#[test]
fn our_client_gets_streams_and_datagrams_back_from_aioquic() {
    let _limit = limit(60);
    let identity = Identity::new();
    let mut server = Server::start(&identity, "our_client");
    block_on(async {
        let endpoint = identity.client(socket("127.0.0.1:0"));
        let connection = endpoint
            .connect(server.at, "localhost")
            .unwrap()
            .await
            .unwrap();
        let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
        let sent = pattern(1 << 20, 3);
        let bytes = sent.clone();
        let writing = spawn(async move {
            sender.write_all(&bytes).await.unwrap();
            sender.finish().unwrap();
        });
        let got = receiver.read_to_end(2 << 20).await.unwrap();
        assert!(got == sent, "{}", got.len());
        writing.await.unwrap();
        many_streams(&connection, 50).await;
        datagrams(&connection).await;
        connection.close(VarInt::from_u32(7), b"thanks");
        endpoint.wait_idle().await;
    });
    assert_eq!(server.said.next().unwrap().unwrap(), "7 thanks");
}

/// Catches: a code that is lost, and a timeout in its place.
#[test]
fn our_client_is_told_the_code_with_which_aioquic_closes() {
    let _limit = limit(60);
    let identity = Identity::new();
    let server = Server::start(&identity, "our_client_is_told");
    block_on(async {
        let endpoint = identity.client(socket("127.0.0.1:0"));
        let connection = endpoint
            .connect(server.at, "localhost")
            .unwrap()
            .await
            .unwrap();
        connection
            .send_datagram(b"leave".as_slice().into())
            .unwrap();
        assert_eq!(connection.closed().await, closed(4001, "é"));
    });
}
