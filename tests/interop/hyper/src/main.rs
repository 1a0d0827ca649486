//! A server for the clients of `../upload.sh`: it answers a request with the SHA-256 of its body.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use reveille::hyper::Timer;
use reveille::net::TcpListener;
use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    reveille::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let _connection = reveille::spawn(
                http1::Builder::new()
                    .timer(Timer)
                    .serve_connection(stream, service_fn(digest)),
            );
        }
    })
}

async fn digest(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut digest = Sha256::new();
    while let Some(Ok(frame)) = request.body_mut().frame().await {
        if let Some(data) = frame.data_ref() {
            digest.update(data);
        }
    }
    let hex: String = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Response::new(Full::from(hex + "\n")))
}
