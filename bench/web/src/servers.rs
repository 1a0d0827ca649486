//! The servers: hyper's HTTP/1 on reveille, on tokio, and on reveille through an adapter that zeroes.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::load::Work;
use crate::resp::client;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Reveille,
    Tokio,
    /// reveille, read by the methods of a trait that takes initialised memory.
    Zeroing,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Reveille, Kind::Tokio, Kind::Zeroing];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Reveille => "reveille",
            Kind::Tokio => "tokio",
            Kind::Zeroing => "zeroing",
        }
    }

    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Says where it is, and serves one connection.
pub fn serve(kind: Kind, work: Work) -> io::Result<()> {
    match kind {
        Kind::Tokio => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build()?.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                println!("{}", listener.local_addr()?);
                let (stream, _) = listener.accept().await?;
                // As a server does it: each connection is a task.
                let task = match work {
                    Work::Resp => tokio::spawn(async { drop(client(stream).await) }),
                    _ => tokio::spawn(connection(TokioIo::new(stream))),
                };
                task.await.map_err(io::Error::other)
            })
        }
        Kind::Reveille | Kind::Zeroing => reveille::block_on(async {
            let listener = reveille::net::TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            let (stream, _) = listener.accept().await?;
            let task = match (kind, work) {
                (_, Work::Resp) => reveille::spawn(async { drop(client(stream).await) }),
                (Kind::Zeroing, _) => reveille::spawn(connection(Zeroing(stream))),
                _ => reveille::spawn(connection(stream)),
            };
            Ok(task.await?)
        }),
    }
}

fn connection(
    stream: impl Read + Write + Unpin + Send + 'static,
) -> impl Future<Output = ()> + Send {
    let connection = http1::Builder::new().serve_connection(stream, service_fn(answer));
    async { connection.await.expect("the client keeps to HTTP") }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_part)) = body.frame().await {}
    Ok(Response::new(Full::from("hello, world\n")))
}

/// What an adapter between two families of traits does that has no `unsafe`.
struct Zeroing(reveille::net::TcpStream);

impl Read for Zeroing {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let n = ready!(self.0.poll_read(cx, buf.initialize_unfilled()))?;
        // SAFETY: all of the room was initialised just before, and `n` is at most its length, as `poll_read` promises.
        unsafe { buf.advance(n) };
        Poll::Ready(Ok(()))
    }
}

impl Write for Zeroing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Write::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

/// A closure that does nothing, on another thread and back, in microseconds: of reveille, and of tokio.
pub fn round_trips() -> [f64; 2] {
    const ROUNDS: u32 = 20_000;
    let mut best = [f64::MAX; 2];
    for _ in 0..5 {
        let begin = Instant::now();
        reveille::block_on(async {
            for _ in 0..ROUNDS {
                reveille::task::spawn_blocking(|| ())
                    .await
                    .expect("it returns");
            }
        });
        best[0] = best[0].min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.build().expect("a runtime can be made");
        let begin = Instant::now();
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                tokio::task::spawn_blocking(|| ())
                    .await
                    .expect("it returns");
            }
        });
        best[1] = best[1].min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    }
    best
}
