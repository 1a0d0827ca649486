//! QUIC by quinn over reveille's `UdpSocket`, with ourselves and against the aioquic of Python, in both directions.
//!
//! The glue is `src/lib.rs`. `tests/interop/run quic` says in `REVEILLE_AIOQUIC` which Python has aioquic.

#[path = "../../../support/alone.rs"]
mod alone;
#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seccomp.rs"]
mod seccomp;
#[path = "../../../support/seeds.rs"]
mod seeds;

#[path = "quic/aioquic.rs"]
mod aioquic;
#[path = "quic/endpoints.rs"]
mod endpoints;
#[path = "quic/glue.rs"]
mod glue;
#[path = "quic/refused.rs"]
mod refused;

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use quinn::{ApplicationClose, Connection, ConnectionError, VarInt};
use reveille::runtime::Runtime;
use reveille::task::yield_now;
use reveille::time;
use reveille::{Builder, block_on, spawn};

use alone::alone;
use endpoints::{Identity, connected, echo, socket};
use limit::limit;
use seeds::under_seeds;

/// A pattern that no shift by a power of two maps to itself.
fn pattern(length: usize, first: usize) -> Vec<u8> {
    (first..first + length).map(|n| (n % 251) as u8).collect()
}

/// Sends so many bytes each way at once, on one stream.
async fn both_ways(client: &Connection, server: &Connection, length: usize) {
    let peer = server.clone();
    let answering = spawn(async move {
        let (mut sender, mut receiver) = peer.accept_bi().await.unwrap();
        let writing = spawn(async move {
            sender.write_all(&pattern(length, 7)).await.unwrap();
            sender.finish().unwrap();
            sender.stopped().await.unwrap();
        });
        let got = receiver.read_to_end(length + 1).await.unwrap();
        writing.await.unwrap();
        got
    });
    let (mut sender, mut receiver) = client.open_bi().await.unwrap();
    let writing = spawn(async move {
        sender.write_all(&pattern(length, 0)).await.unwrap();
        sender.finish().unwrap();
    });
    let got = receiver.read_to_end(length + 1).await.unwrap();
    assert!(got == pattern(length, 7), "{} of {length} bytes", got.len());
    writing.await.unwrap();
    let got = answering.await.unwrap();
    assert!(got == pattern(length, 0), "{} of {length} bytes", got.len());
}

/// Catches: bytes of datagrams that are torn, or joined, where many go or come with one call; a call for each.
#[test]
fn eight_megabytes_go_each_way_at_once() {
    let _limit = limit(120);
    block_on(async {
        let pair = connected("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1").await;
        both_ways(&pair.client, &pair.server, 8 << 20).await;
        let sent = pair.client.stats().udp_tx;
        assert!(sent.ios * 2 < sent.datagrams, "{sent:?}");
    });
}

/// Catches: a source that is not the address which the client asked (a client believes no other), in a socket of either
/// family, and in one of both.
#[test]
fn a_server_of_all_addresses_answers_from_the_one_that_was_asked() {
    let _limit = limit(60);
    block_on(async {
        for (server, client, asked) in [
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "0.0.0.0:0", "127.0.0.2"),
            ("[::1]:0", "[::1]:0", "::1"),
            ("[::]:0", "[::]:0", "::1"),
            ("[::]:0", "127.0.0.1:0", "127.0.0.3"),
            ("[::]:0", "[::]:0", "127.0.0.4"),
            ("127.0.0.5:0", "[::]:0", "127.0.0.5"),
        ] {
            let pair = connected(server, client, asked).await;
            both_ways(&pair.client, &pair.server, 100_000).await;
            let told = pair.server.local_ip().unwrap().to_canonical();
            assert_eq!(told.to_string(), asked, "{server} {client}");
        }
    });
}

/// Catches: a wake that is lost where many tasks wait for one socket.
#[test]
fn a_hundred_streams_are_open_at_once() {
    let _limit = limit(60);
    block_on(async {
        let pair = connected("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1").await;
        spawn(echo(pair.server.clone())).detach();
        many_streams(&pair.client, 100).await;
    });
}

async fn many_streams(client: &Connection, count: usize) {
    let mut streams = Vec::new();
    for nth in 0..count {
        let (mut sender, receiver) = client.open_bi().await.unwrap();
        sender.write_all(&pattern(1000, nth)).await.unwrap();
        streams.push((sender, receiver));
    }
    let mut tasks = Vec::new();
    for (nth, (mut sender, mut receiver)) in streams.into_iter().enumerate() {
        tasks.push(spawn(async move {
            sender.write_all(&pattern(1000, nth + 1000)).await.unwrap();
            sender.finish().unwrap();
            let got = receiver.read_to_end(3000).await.unwrap();
            assert!(got == pattern(2000, nth), "stream {nth}: {}", got.len());
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Catches: several connections of one endpoint, of which only one is told that its socket has room again.
#[test]
fn many_connections_share_one_socket() {
    let _limit = limit(60);
    block_on(async {
        let identity = Identity::new();
        let server = identity.server(socket("127.0.0.1:0"));
        let client = identity.client(socket("127.0.0.1:0"));
        let at = server.local_addr().unwrap();
        let accepting = spawn(async move {
            while let Some(incoming) = server.accept().await {
                let connection = incoming.await.unwrap();
                spawn(echo(connection)).detach();
            }
        });
        let mut asking = Vec::new();
        for nth in 0..20 {
            let connecting = client.connect(at, "localhost").unwrap();
            asking.push(spawn(async move {
                let connection = connecting.await.unwrap();
                let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
                let sent = pattern(100_000, nth);
                let bytes = sent.clone();
                let writing = spawn(async move {
                    sender.write_all(&bytes).await.unwrap();
                    sender.finish().unwrap();
                });
                let got = receiver.read_to_end(200_000).await.unwrap();
                writing.await.unwrap();
                assert!(got == sent, "connection {nth}: {}", got.len());
            }));
        }
        for task in asking {
            task.await.unwrap();
        }
        accepting.abort();
    });
}

/// Catches: a datagram that is cut, or that waits for another one.
#[test]
fn datagrams_come_back() {
    let _limit = limit(60);
    block_on(async {
        let pair = connected("[::1]:0", "[::1]:0", "::1").await;
        spawn(echo(pair.server.clone())).detach();
        datagrams(&pair.client).await;
    });
}

async fn datagrams(client: &Connection) {
    let most = client.max_datagram_size().unwrap();
    for length in [0, 1, 500, most] {
        let sent = pattern(length, length);
        client.send_datagram(sent.clone().into()).unwrap();
        assert_eq!(client.read_datagram().await.unwrap(), sent);
    }
}

/// Catches: a code that is lost with the last datagram; a client that waits for its idle timeout.
#[test]
fn a_client_is_told_the_code_with_which_the_server_closes() {
    let _limit = limit(60);
    block_on(async {
        let pair = connected("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1").await;
        pair.server.close(VarInt::from_u32(4001), b"enough");
        let told = pair.client.closed().await;
        let expected = ApplicationClose {
            error_code: VarInt::from_u32(4001),
            reason: b"enough"[..].into(),
        };
        assert_eq!(told, ConnectionError::ApplicationClosed(expected));
        assert_eq!(pair.server.closed().await, ConnectionError::LocallyClosed);
        // Both have nothing more to say, after a while in which late datagrams are answered.
        pair.endpoints.0.wait_idle().await;
        pair.endpoints.1.wait_idle().await;
    });
}

/// Catches: a timer of quinn's by another clock, or one that is not wound anew.
#[test]
fn a_client_that_vanished_is_given_up_when_the_idle_timeout_has_passed() {
    let _limit = limit(60);
    block_on(async {
        let identity = Identity::new();
        let server = identity.server(socket("127.0.0.1:0"));
        let at = server.local_addr().unwrap();
        let (gone, vanish) = mpsc::channel();
        let client = thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            let connection = runtime.block_on(async {
                let endpoint = identity.client(socket("127.0.0.1:0"));
                let connection = endpoint.connect(at, "localhost").unwrap().await.unwrap();
                let mut stream = connection.open_uni().await.unwrap();
                stream.write_all(b"hello").await.unwrap();
                // Until the server has read it.
                while vanish.try_recv().is_err() {
                    yield_now().await;
                }
                connection
            });
            // With its tasks, which would say farewell.
            drop(runtime);
            drop(connection);
        });
        let connection = server.accept().await.unwrap().await.unwrap();
        let mut stream = connection.accept_uni().await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
        gone.send(()).unwrap();
        client.join().unwrap();

        time::pause();
        let begun = time::now();
        let closing = spawn(async move { (connection.closed().await, time::now()) });
        while !closing.is_finished() {
            time::advance(Duration::from_secs(1)).await;
        }
        let (error, at) = closing.await.unwrap();
        assert_eq!(error, ConnectionError::TimedOut);
        // 30 s by default; the probes that are not answered count from the last answer, too.
        let passed = (at - begun).as_secs();
        assert!((29..=35).contains(&passed), "{passed} s");
    });
}

/// Catches: a wait that relies on the order of tasks; a `WouldBlock`, a wake or an interruption that was not foreseen.
#[test]
fn under_shuffled_choices_streams_and_datagrams_come_back() {
    under_seeds("REVEILLE_CHAOS", 2, |seed| {
        let _limit = limit(60);
        Builder::new().chaos(seed).block_on(async {
            let pair = connected("[::]:0", "[::]:0", "127.0.0.1").await;
            both_ways(&pair.client, &pair.server, 300_000).await;
            spawn(echo(pair.server.clone())).detach();
            many_streams(&pair.client, 50).await;
            datagrams(&pair.client).await;
        });
    });
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Catches: a task, a socket or a registration that outlives its runtime, because quinn's ends hold each other.
#[test]
fn a_runtime_that_ends_amid_streams_leaves_no_descriptor() {
    let _limit = limit(60);
    // In a process of its own: other tests open descriptors meanwhile.
    alone(
        "a_runtime_that_ends_amid_streams_leaves_no_descriptor",
        || {
            let before = descriptors();
            for _ in 0..3 {
                let runtime = Runtime::new().unwrap();
                runtime.block_on(async {
                    let pair = connected("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1").await;
                    spawn(echo(pair.server.clone())).detach();
                    let asking = spawn(async move { many_streams(&pair.client, 100).await });
                    for _ in 0..20 {
                        yield_now().await;
                    }
                    assert!(!asking.is_finished());
                    asking.detach();
                });
                assert!(descriptors() > before);
                drop(runtime);
                assert_eq!(descriptors(), before);
            }
        },
    );
}
