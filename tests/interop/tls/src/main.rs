//! The HTTPS server for `../tls.sh`: it sends bodies back, by HTTP/1 or 2 as the client wants it.

use std::io;
use std::path::PathBuf;

use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use interop_tls::identity;
use reveille::hyper::{Executor, Timer};
use reveille::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn main() -> io::Result<()> {
    let identity = identity(&["h2", "http/1.1"]);
    let file = std::env::args_os().nth(1).map(PathBuf::from);
    std::fs::write(file.expect("a file for the certificate"), identity.pem)?;
    let acceptor = TlsAcceptor::from(identity.config);
    reveille::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let handshake = acceptor.accept(stream);
            let _connection = reveille::spawn(async move {
                let stream = TokioIo::new(handshake.await?);
                let mut builder = auto::Builder::new(Executor);
                builder.http1().timer(Timer);
                builder.http2().timer(Timer);
                let served = builder.serve_connection(stream, service_fn(echo));
                served.await.map_err(io::Error::other)
            });
        }
    })
}

async fn echo(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, hyper::Error> {
    Ok(Response::new(request.into_body().boxed()))
}
