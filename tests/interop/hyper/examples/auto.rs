//! The server for `../../h2.sh`: HTTP/1 and HTTP/2 on one port, and bodies that are sent back. Ctrl-C lets the connections
//! finish.

use std::io;
use std::pin::pin;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use reveille::hyper::{Executor, Timer};
use reveille::net::TcpListener;
use reveille::signal::ctrl_c;

fn main() -> io::Result<()> {
    reveille::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        let mut builder = auto::Builder::new(Executor);
        builder.http1().timer(Timer);
        builder.http2().timer(Timer);
        let graceful = GracefulShutdown::new();
        let mut stop = pin!(ctrl_c());
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted?.0,
                stopped = &mut stop => {
                    stopped?;
                    break;
                }
            };
            stream.set_nodelay(true)?;
            let connection = builder.serve_connection(stream, service_fn(echo));
            reveille::spawn(graceful.watch(connection.into_owned())).detach();
        }
        drop(listener);
        graceful.shutdown().await;
        println!("finished");
        Ok(())
    })
}

async fn echo(request: Request<Incoming>) -> hyper::Result<Response<Incoming>> {
    Ok(Response::new(request.into_body()))
}
