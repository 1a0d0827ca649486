//! HTTP/1 and HTTP/2 by hyper, server and client, with nothing between it and reveille.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use std::{fs, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn as client;
use hyper::server::conn as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use reveille::hyper::{Executor, Timer};
use reveille::net::{TcpListener, TcpStream};
use reveille::task::{JoinHandle, yield_now};
use reveille::time::advance;
use reveille::{Builder, Runtime, block_on, spawn};

#[path = "../../../support/limit.rs"]
mod limit;

use limit::limit;

fn counted(n: usize) -> Bytes {
    (0..n).map(|i| (i % 251) as u8).collect()
}

/// Sends the body back, and counts.
async fn echo(
    request: Request<Incoming>,
    served: Rc<Cell<usize>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    served.set(served.get() + 1);
    Ok(Response::new(Full::new(body)))
}

fn post(body: Bytes) -> Request<Full<Bytes>> {
    let request = Request::post("http://test/").header("host", "test");
    request.body(Full::new(body)).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// Catches: a service, a body or a connection that would have to be `Send`; a read that loses bytes; a connection that
/// is not kept.
#[test]
fn http_1_serves_and_asks_with_an_rc_in_the_service() {
    let _limit = limit(60);
    block_on(async {
        let (listener, at) = listen().await;
        let served = Rc::new(Cell::new(0));
        let counter = Rc::clone(&served);
        let server = spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request| echo(request, Rc::clone(&counter)));
            let connection = server::http1::Builder::new()
                .timer(Timer)
                .serve_connection(stream, service);
            connection.await.unwrap();
        });
        let stream = TcpStream::connect(at).await.unwrap();
        let (mut sender, connection) = client::http1::handshake(stream).await.unwrap();
        let connection = spawn(connection);
        for size in [0, 1, 100_000, 8 << 20] {
            let response = sender.send_request(post(counted(size))).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body == counted(size), "{size} bytes");
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        server.await.unwrap();
        assert_eq!(served.get(), 4);
    });
}

/// Catches: an executor that wants `Send`, or runs one stream after the other.
#[test]
fn http_2_serves_and_asks_with_an_rc_in_the_service() {
    let _limit = limit(60);
    block_on(async {
        let (listener, at) = listen().await;
        let served = Rc::new(Cell::new(0));
        let counter = Rc::clone(&served);
        let server = spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request| echo(request, Rc::clone(&counter)));
            let connection = server::http2::Builder::new(Executor)
                .timer(Timer)
                .serve_connection(stream, service);
            connection.await.unwrap();
        });
        let stream = TcpStream::connect(at).await.unwrap();
        let handshake = client::http2::Builder::new(Executor).handshake(stream);
        let (sender, connection) = handshake.await.unwrap();
        let connection = spawn(connection);
        let requests: Vec<JoinHandle<()>> = (0..100)
            .map(|nth| {
                let mut sender = sender.clone();
                spawn(async move {
                    let sent = counted(nth * 1000);
                    let response = sender.send_request(post(sent.clone())).await.unwrap();
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    assert!(body == sent, "request {nth}");
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        server.await.unwrap();
        assert_eq!(served.get(), 100);
    });
}

/// A server whose client sends half a head, and then nothing.
async fn half_a_head(
    build: impl FnOnce(&mut server::http1::Builder) + 'static,
) -> (TcpStream, JoinHandle<hyper::Result<()>>) {
    let (listener, at) = listen().await;
    let server = spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut builder = server::http1::Builder::new();
        build(&mut builder);
        let never = service_fn(|_| async { Ok::<_, Infallible>(Response::new(String::new())) });
        builder.serve_connection(stream, never).await
    });
    let client = TcpStream::connect(at).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: te")
        .await
        .unwrap();
    // Until the server has read it and waits.
    for _ in 0..1000 {
        yield_now().await;
    }
    (client, server)
}

/// Catches: a timer of the machine's clock, which a paused one does not move; a timeout that never comes.
#[test]
fn the_timeout_for_headers_follows_a_paused_clock() {
    let _limit = limit(60);
    Builder::new().start_paused(true).block_on(async {
        let (client, server) = half_a_head(|builder| {
            builder
                .timer(Timer)
                .header_read_timeout(Duration::from_secs(30));
        })
        .await;
        advance(Duration::from_millis(29_900)).await;
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(!server.is_finished());
        advance(Duration::from_millis(200)).await;
        assert!(server.await.unwrap().unwrap_err().is_timeout());
        let mut rest = Vec::new();
        while client.read_vec(&mut rest).await.unwrap() > 0 {}
    });
}

/// What the page of `reveille::hyper` warns of. Catches: a warning that is no longer true.
#[test]
fn without_a_timer_no_timeout_comes_and_one_that_is_set_panics() {
    let _limit = limit(60);
    Builder::new().start_paused(true).block_on(async {
        let (_client, server) = half_a_head(|_| {}).await;
        advance(Duration::from_secs(3600)).await;
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(!server.is_finished());

        let (_client, server) = half_a_head(|builder| {
            builder.header_read_timeout(Duration::from_secs(30));
        })
        .await;
        let panic = server.await.unwrap_err().into_panic();
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        assert!(text.unwrap().contains("timer"));
    });
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Catches: a task, a stream or a registration that outlives its runtime.
#[test]
fn a_runtime_that_ends_amid_streams_leaves_no_descriptor() {
    let _limit = limit(60);
    // In a process of its own: other tests open descriptors meanwhile.
    const MARK: &str = "REVEILLE_ALONE";
    if std::env::var_os(MARK).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "a_runtime_that_ends_amid_streams_leaves_no_descriptor",
                "--exact",
            ])
            .env(MARK, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let before = descriptors();
    for _ in 0..3 {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (listener, at) = listen().await;
            let begun = Rc::new(Cell::new(0));
            let counter = Rc::clone(&begun);
            let _server = spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service_fn(move |_| {
                    counter.set(counter.get() + 1);
                    pending::<Result<Response<String>, io::Error>>()
                });
                server::http2::Builder::new(Executor)
                    .serve_connection(stream, service)
                    .await
            });
            let stream = TcpStream::connect(at).await.unwrap();
            let handshake = client::http2::Builder::new(Executor).handshake(stream);
            let (sender, connection) = handshake.await.unwrap();
            let _connection = spawn(connection);
            for _ in 0..20 {
                let mut sender = sender.clone();
                let _request = spawn(async move { sender.send_request(post(counted(9))).await });
            }
            while begun.get() < 20 {
                yield_now().await;
            }
        });
        assert!(descriptors() > before);
        drop(runtime);
        assert_eq!(descriptors(), before);
    }
}
