//! WebSockets by tokio-tungstenite over reveille's `TcpStream`, against the `websockets` of Python, in both directions.
//!
//! `tests/interop/run websocket` says in `REVEILLE_WEBSOCKETS` which Python has them.

use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::net::{Shutdown, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};

use futures_util::{SinkExt, StreamExt};
use reveille::net::{TcpListener, TcpStream};
use reveille::task::spawn_blocking;
use reveille::{Builder, block_on, spawn};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Result};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seeds.rs"]
mod seeds;

use limit::limit;
use seeds::under_seeds;

fn python(script: &str) -> Command {
    let python = env::var("REVEILLE_WEBSOCKETS").expect(
        "REVEILLE_WEBSOCKETS is not set: these tests are run by tests/interop/run websocket",
    );
    let mut command = Command::new(python);
    command.arg(format!("{}/{script}", env!("CARGO_MANIFEST_DIR")));
    command
}

fn close(code: u16, reason: &str) -> CloseFrame {
    CloseFrame {
        code: CloseCode::from(code),
        reason: reason.into(),
    }
}

/// Sends what comes back, until the other side closes: then this is how.
async fn echo(stream: TcpStream) -> Result<Option<CloseFrame>> {
    let mut socket = accept_async(stream).await?;
    let mut closed = None;
    while let Some(message) = socket.next().await {
        match message {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await?,
            Ok(Message::Close(frame)) => closed = frame,
            Ok(_) => {}
            Err(error @ Error::Utf8(_)) => return refuse(socket, error).await,
            Err(error) => return Err(error),
        }
    }
    Ok(closed)
}

/// Closes as the protocol wants it. What still comes is read to the end, from the stream itself, for tungstenite reads no
/// more after an error: a stream that is closed with bytes unread is reset, and the farewell may be lost.
async fn refuse<T>(mut socket: WebSocketStream<TcpStream>, error: Error) -> Result<T> {
    socket.close(Some(close(1007, "not UTF-8"))).await?;
    socket.get_ref().shutdown(Shutdown::Write)?;
    while socket.get_ref().read(&mut [0; 4096]).await? > 0 {}
    Err(error)
}

/// How our server saw so many connections of Python's client end, which has to be content.
fn serve(case: &'static str, connections: usize) -> Vec<Result<Option<CloseFrame>>> {
    serve_with(&mut Builder::new(), case, connections)
}

fn serve_with(
    options: &mut Builder,
    case: &'static str,
    connections: usize,
) -> Vec<Result<Option<CloseFrame>>> {
    options.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("ws://{}", listener.local_addr().unwrap());
        let client = spawn_blocking(move || python("client.py").args([&uri, case]).status());
        let server = spawn(async move {
            let mut ends = Vec::new();
            while ends.len() < connections {
                let (stream, _) = listener.accept().await.unwrap();
                ends.push(echo(stream).await);
            }
            ends
        });
        let status = client.await.unwrap().unwrap();
        assert!(status.success(), "{case}: {status}");
        server.await.unwrap()
    })
}

/// Catches: a message that is cut, or whose kind changes.
#[test]
fn our_server_sends_back_messages_of_a_megabyte() {
    let _limit = limit(60);
    let ends = serve("echo", 1);
    assert_eq!(*ends[0].as_ref().unwrap(), Some(close(1000, "")));
}

/// Catches: a ping that is answered only when the message is whole.
#[test]
fn our_server_answers_pings_between_fragments() {
    let _limit = limit(60);
    let ends = serve("fragments", 1);
    assert_eq!(*ends[0].as_ref().unwrap(), Some(close(1000, "")));
}

/// Catches: a read that is cut short and believed, or a write; a frame that is torn.
#[test]
fn under_shuffled_choices_our_server_sends_the_same_back() {
    under_seeds("REVEILLE_CHAOS", 2, |seed| {
        let _limit = limit(60);
        for case in ["echo", "fragments"] {
            let ends = serve_with(Builder::new().chaos(seed), case, 1);
            assert_eq!(*ends[0].as_ref().unwrap(), Some(close(1000, "")), "{case}");
        }
    });
}

/// Catches: a farewell that is lost, because the stream is closed with bytes that nobody has read.
#[test]
fn our_server_closes_with_1007_what_is_not_utf_8() {
    let _limit = limit(60);
    for end in serve("bad UTF-8", 2) {
        assert!(matches!(end, Err(Error::Utf8(_))), "{end:?}");
    }
}

/// Catches: an end of the stream that comes before the answer to a farewell.
#[test]
fn our_server_sees_and_answers_the_codes_of_closing() {
    let _limit = limit(60);
    let ends: Vec<_> = serve("closing", 4)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let long = "r".repeat(123);
    let sent = [(1000, ""), (1001, "leaving"), (3000, "é"), (4999, &*long)];
    assert_eq!(ends, sent.map(|(code, reason)| Some(close(code, reason))));
}

/// Python's server; it ends when this is dropped.
struct Server {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    at: SocketAddr,
}

impl Server {
    fn start() -> Server {
        let mut command = python("server.py");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let at = said.next().unwrap().unwrap().parse().unwrap();
        Server { child, said, at }
    }

    /// What it says of the connection that was closed first, of those that it has not told yet.
    fn told(&mut self) -> String {
        self.said.next().unwrap().unwrap()
    }

    async fn connect(&self, path: &str) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(self.at).await.unwrap();
        let uri = format!("ws://{}{path}", self.at);
        client_async(uri, stream).await.unwrap().0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _status = self.child.wait();
    }
}

/// Catches: a message that is cut, or whose kind changes; a farewell that is not answered.
#[test]
fn our_client_gets_messages_of_a_megabyte_back_and_closes() {
    let _limit = limit(60);
    let mut server = Server::start();
    block_on(async {
        let mut socket = server.connect("/echo").await;
        let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| i as u8).collect();
        for message in [Message::text("é".repeat(1 << 19)), Message::binary(bytes)] {
            socket.send(message.clone()).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap() == message);
        }
        socket.close(Some(close(4000, "enough"))).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Close(Some(close(4000, "enough"))));
        assert!(socket.next().await.is_none());
    });
    assert_eq!(server.told(), "/echo 4000 enough");
}

/// Catches: a ping that is answered only when the message is whole.
#[test]
fn our_client_answers_pings_between_fragments() {
    let _limit = limit(60);
    let mut server = Server::start();
    block_on(async {
        let mut socket = server.connect("/fragments").await;
        let mut got = Vec::new();
        while let Some(message) = socket.next().await {
            match message.unwrap() {
                Message::Text(text) => {
                    got.push(text.to_string());
                    socket.close(None).await.unwrap();
                }
                Message::Ping(_) | Message::Close(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(got, ["one two three"]);
    });
    // 1005: closed without a code.
    assert_eq!(server.told(), "/fragments 1005 ");
}

/// Catches: a farewell that is lost, because the stream is closed with bytes that nobody has read.
#[test]
fn our_client_closes_with_1007_what_is_not_utf_8() {
    let _limit = limit(60);
    let mut server = Server::start();
    block_on(async {
        let mut socket = server.connect("/bad").await;
        let error = socket.next().await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Utf8(_)), "{error}");
        refuse::<()>(socket, error).await.unwrap_err();
    });
    assert_eq!(server.told(), "/bad 1007 not UTF-8");
}

/// Catches: a code that is lost, and an end of the stream in its place.
#[test]
fn our_client_sees_and_answers_the_code_of_closing() {
    let _limit = limit(60);
    let mut server = Server::start();
    block_on(async {
        let mut socket = server.connect("/leave").await;
        let farewell = socket.next().await.unwrap().unwrap();
        assert_eq!(farewell, Message::Close(Some(close(4001, "é"))));
        assert!(socket.next().await.is_none());
    });
    assert_eq!(server.told(), "/leave 4001 é");
}
