//! A web server on reveille: an axum `Router`, served by hyper, with TLS if asked for.
//!
//! What a server on the open net needs stands here, a line or a few each: a limit for heads that do not come, peers that
//! vanish are noticed, uploads that are too large are refused early and politely (`upload`), and SIGTERM ends the server
//! without an answer lost. README.md has the commands.

mod app;
mod options;
mod upload;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
use std::iter;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_lite::future::or;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use reveille::hyper::{Executor, Timer};
use reveille::net::{TcpKeepalive, TcpListener, TcpStream};
use reveille::signal::unix::{SignalKind, restore_default, signal};
use reveille::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A peer that has vanished is noticed after 60 + 3 * 10 s while nothing is sent to it
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);
/// and after this time if it acknowledges nothing of what is. It is no less than the time above, because it ends a
/// keepalive, too: tcp(7).
const USER_TIMEOUT: Duration = Duration::from_secs(90);
/// After SIGTERM: how long connections stay open that have nothing to do, so that no request of theirs that is under way
/// is lost; and when all ends, whatever is left.
const IDLE: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(10);
/// How many connections can wait to be accepted.
const BACKLOG: usize = 1024;

/// What the connections share.
struct Server {
    router: Router,
    tls: Option<TlsAcceptor>,
    head_timeout: Duration,
    is_ending: Cell<bool>,
}

fn main() -> Result<(), Error> {
    let options = options::parse(std::env::args().skip(1))?;
    // Each connection is a descriptor: getrlimit(2).
    rlimit::increase_nofile_limit(u64::MAX)?;
    reveille::block_on(serve(options))
}

async fn serve(options: options::Options) -> Result<(), Error> {
    let listener = TcpListener::bind(options.address.as_str()).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("listening on {}", listener.local_addr()?);
    let server = Rc::new(Server {
        router: app::router(),
        tls: options.tls,
        head_timeout: options.head_timeout,
        is_ending: Cell::new(false),
    });
    let connections = GracefulShutdown::new();
    let serve = |stream| {
        let connection = connection(stream, Rc::clone(&server), connections.watcher());
        reveille::spawn(connection).detach();
    };
    let accept = async {
        loop {
            serve(listener.accept().await?.0);
        }
    };
    let signalled = async {
        terminate.recv().await;
        Ok::<(), Error>(())
    };
    or(accept, signalled).await?;

    // From now on each answer of HTTP/1 is the last of its connection, and says so: a client that is busy loses nothing.
    server.is_ending.set(true);
    restore_default(SignalKind::terminate())?;
    // For the clients, connections in the backlog are open. During the pause the runtime receives their event.
    sleep(Duration::from_millis(1)).await;
    iter::from_fn(|| listener.try_accept().ok())
        .take(BACKLOG)
        .for_each(|(stream, _peer)| serve(stream));
    drop(listener);
    let all = async {
        sleep(IDLE).await;
        connections.shutdown().await;
    };
    timeout(GRACE, all).await.or(Ok(()))
}

async fn connection(stream: TcpStream, server: Rc<Server>, watcher: Watcher) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    stream.set_tcp_keepalive(&KEEPALIVE)?;
    stream.set_user_timeout(Some(USER_TIMEOUT))?;
    let Some(tls) = &server.tls else {
        return serve_http1(stream, server, watcher).await;
    };
    let stream = timeout(server.head_timeout, tls.accept(stream)).await??;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    if is_http2 {
        serve_http2(stream, server, watcher).await
    } else {
        serve_http1(stream, server, watcher).await
    }
}

async fn serve_http1(
    stream: impl Read + Write + Unpin + 'static,
    server: Rc<Server>,
    watcher: Watcher,
) -> Result<(), Error> {
    let head_timeout = server.head_timeout;
    let service = service_fn(|request| answer(request, &server));
    let connection = http1::Builder::new()
        .timer(Timer)
        .header_read_timeout(head_timeout)
        .serve_connection(stream, service);
    Ok(watcher.watch(connection).await?)
}

async fn serve_http2(
    stream: impl Read + Write + Unpin + 'static,
    server: Rc<Server>,
    watcher: Watcher,
) -> Result<(), Error> {
    let head_timeout = server.head_timeout;
    let has_asked = Rc::new(Cell::new(false));
    let asks = Rc::clone(&has_asked);
    let service = service_fn(move |request| {
        asks.set(true);
        let server = Rc::clone(&server);
        async move { answer(request, &server).await }
    });
    let connection = http2::Builder::new(Executor)
        .timer(Timer)
        // A peer that does not answer a ping has vanished.
        .keep_alive_interval(Some(head_timeout))
        .keep_alive_timeout(head_timeout)
        .serve_connection(stream, service);
    // hyper has no limit for the head of HTTP/2. This one is for the first request.
    let first_request = async {
        sleep(head_timeout).await;
        if has_asked.get() {
            pending::<()>().await;
        }
        Err("no request came".into())
    };
    let served = async { Ok(watcher.watch(connection).await?) };
    or(served, first_request).await
}

/// hyper's service: the router's answer, or 413 as soon as the upload is known to be too large.
async fn answer(request: Request<Incoming>, server: &Server) -> Result<Response<Body>, Infallible> {
    let is_http1 = request.version() <= Version::HTTP_11;
    let (request, size) = upload::limit(request);
    let mut response = if size.is_exceeded() {
        drop(request);
        Response::default()
    } else {
        server.router.clone().call(request).await?
    };
    // Looked at again: the limit may have been passed while the router read.
    if size.is_exceeded() {
        response = Response::new(Body::from("too large\n"));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    }
    if is_http1 && (size.is_exceeded() || server.is_ending.get()) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}
