//! HTTP/1 and HTTP/2 on one port by hyper-util's `auto`, and a shutdown that breaks no response.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn as client;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use reveille::hyper::{Executor, Timer};
use reveille::net::{TcpListener, TcpStream};
use reveille::task::{JoinSet, yield_now};
use reveille::{Builder, block_on, spawn};

#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seeds.rs"]
mod seeds;

use limit::limit;
use seeds::under_seeds;

/// What happened, on both sides.
#[derive(Default)]
struct Counts {
    /// Requests that reached the service.
    begun: Cell<usize>,
    /// Responses that arrived whole.
    whole: Cell<usize>,
}

/// Sends the body back, after some turns in which others run.
async fn echo(
    request: Request<Incoming>,
    counts: Rc<Counts>,
) -> hyper::Result<Response<Full<Bytes>>> {
    counts.begun.set(counts.begun.get() + 1);
    for _ in 0..10 {
        yield_now().await;
    }
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}

fn post(n: usize) -> Request<Full<Bytes>> {
    let request = Request::post("http://test/").header("host", "test");
    request.body(Full::new(body(n))).unwrap()
}

/// Each is another, and some are more than a socket takes at once.
fn body(n: usize) -> Bytes {
    Bytes::from(format!("{n} ").repeat(n * 997 % 20_000))
}

/// Whether the response to request `n` was whole. If there is none, the connection has ended.
async fn is_whole(
    response: hyper::Result<Response<Incoming>>,
    n: usize,
    version: Version,
    counts: &Counts,
) -> bool {
    let Ok(response) = response else {
        return false;
    };
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.version(), version);
    let got = response.into_body().collect().await;
    let got = got.expect("a response that has begun is whole").to_bytes();
    assert!(got == body(n), "{} bytes of request {n}", got.len());
    counts.whole.set(counts.whole.get() + 1);
    true
}

/// Asks until the server closes the connection.
async fn ask_by_http_1(at: SocketAddr, counts: Rc<Counts>) {
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) = client::http1::handshake(stream).await.unwrap();
    let connection = spawn(connection);
    for n in 0.. {
        let response = sender.send_request(post(n)).await;
        if !is_whole(response, n, Version::HTTP_11, &counts).await {
            break;
        }
    }
    drop(sender);
    let _closed_amid_a_request = connection.await.unwrap();
}

/// As many streams of one connection at once, each of which asks until the server closes it.
async fn ask_by_http_2(at: SocketAddr, streams: usize, counts: Rc<Counts>) {
    let stream = TcpStream::connect(at).await.unwrap();
    let handshake = client::http2::Builder::new(Executor).handshake(stream);
    let (sender, connection) = handshake.await.unwrap();
    let connection = spawn(connection);
    let mut asking = JoinSet::new();
    for _ in 0..streams {
        let mut sender = sender.clone();
        let counts = Rc::clone(&counts);
        asking.spawn(async move {
            for n in 0.. {
                let response = sender.send_request(post(n)).await;
                if !is_whole(response, n, Version::HTTP_2, &counts).await {
                    break;
                }
            }
        });
    }
    drop(sender);
    asking.join_all().await;
    let _closed_amid_a_request = connection.await.unwrap();
}

/// Shuts a server down amid the requests of ten connections, after so many responses.
async fn shut_down_after(responses: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let counts = Rc::new(Counts::default());
    let graceful = Rc::new(GracefulShutdown::new());

    let watched = Rc::clone(&graceful);
    let counter = Rc::clone(&counts);
    let accepting = spawn(async move {
        let mut builder = auto::Builder::new(Executor);
        builder.http1().timer(Timer);
        builder.http2().timer(Timer);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counter = Rc::clone(&counter);
            let service = service_fn(move |request| echo(request, Rc::clone(&counter)));
            let connection = builder.serve_connection(stream, service).into_owned();
            spawn(watched.watch(connection)).detach();
        }
    });
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        clients.spawn(ask_by_http_1(at, Rc::clone(&counts)));
        clients.spawn(ask_by_http_2(at, 8, Rc::clone(&counts)));
    }
    // It has said nothing, so that the server does not know which HTTP it speaks.
    let silent = TcpStream::connect(at).await.unwrap();
    while counts.whole.get() < responses || graceful.count() < 11 {
        yield_now().await;
    }

    accepting.abort();
    assert!(accepting.await.unwrap_err().is_cancelled());
    let graceful = Rc::into_inner(graceful).unwrap();
    graceful.shutdown().await;
    clients.join_all().await;
    assert_eq!(counts.begun.get(), counts.whole.get());
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    TcpStream::connect(at).await.unwrap_err();
}

/// Catches: a response that is cut, or thrown away, as its connection is asked to end; a connection that does not end.
#[test]
fn a_shutdown_under_load_breaks_no_response_of_http_1_or_2() {
    let _limit = limit(120);
    block_on(shut_down_after(2000));
}

/// Catches: a response that is whole only in the usual order of tasks and events.
#[test]
fn under_shuffled_choices_a_shutdown_breaks_no_response() {
    under_seeds("REVEILLE_CHAOS", 2, |seed| {
        let _limit = limit(60);
        // The moment of the shutdown is another for each seed, too.
        let responses = 100 + seed as usize % 50;
        Builder::new()
            .chaos(seed)
            .block_on(shut_down_after(responses));
    });
}
