//! A client with a pool of connections: hyper-util's, on reveille.
//!
//! ```text
//! cargo run --example ask                         # or: -- http://127.0.0.1:7080/; the server must run
//! 200 OK: hello
//! 200 OK: hello
//! 200 OK: hello
//! connections made: 1
//! ```
//!
//! What to look for: the connector, which hyper-util asks for connections, and the type around the stream, for a trait of
//! hyper-util's own.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use reveille::hyper::{Executor, Timer};
use reveille::net::TcpStream;
use tower_service::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let uri = std::env::args().nth(1);
    let uri: Uri = uri.as_deref().unwrap_or("http://127.0.0.1:7080/").parse()?;
    reveille::block_on(async {
        let connector = Connector::default();
        let client = Client::builder(Executor)
            // Without it connections that are idle for long stay in the pool.
            .pool_timer(Timer)
            .build::<_, Empty<Bytes>>(connector.clone());
        for _ in 0..3 {
            let request = Request::get(uri.clone()).body(Empty::new())?;
            let answer = client.request(request).await?;
            let status = answer.status();
            // A connection goes back to the pool once its answer was read to the end.
            let body = answer.into_body().collect().await?.to_bytes();
            print!("{status}: {}", String::from_utf8_lossy(&body));
        }
        println!(
            "connections made: {}",
            connector.made.load(Ordering::Relaxed)
        );
        Ok(())
    })
}

#[derive(Clone, Default)]
struct Connector {
    made: Arc<AtomicUsize>,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.made.fetch_add(1, Ordering::Relaxed);
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let host = (host.to_owned(), uri.port_u16().unwrap_or(80));
        Box::pin(async move {
            let stream = TcpStream::connect(host).await?;
            stream.set_nodelay(true)?;
            Ok(Stream(stream))
        })
    }
}

/// hyper-util asks a connection what it is: whether it speaks HTTP/2, say. All else is reveille's.
struct Stream(TcpStream);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Write::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    // Without these two, a head and its body would be copied together, or be two system calls.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Write::poll_write_vectored(Pin::new(&mut self.0), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
