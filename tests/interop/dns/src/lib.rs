//! hickory's resolver on reveille: its `RuntimeProvider`, over our `UdpSocket` and `TcpStream`.
//!
//! The page `runtime/what_runs_on_it.md` shows all of this file, from here on.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};
use reveille::net::{TcpStream, UdpSocket};
use reveille::{task, time};

/// For `hickory_resolver::Resolver::builder`. A lookup is polled inside the runtime, in which it spawns a task for each
/// server; when the resolver is dropped, these end.
#[derive(Clone, Copy, Debug)]
pub struct Reveille;

type Opening<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl RuntimeProvider for Reveille {
    type Handle = Reveille;
    type Timer = Reveille;
    type Udp = Udp;
    type Tcp = Tcp;

    fn create_handle(&self) -> Reveille {
        Reveille
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        bind: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Opening<Tcp> {
        Box::pin(async move {
            if bind.is_some() {
                return Err(ErrorKind::Unsupported.into());
            }
            let limit = limit.unwrap_or(Duration::from_secs(5));
            let stream = time::timeout(limit, TcpStream::connect(server)).await??;
            stream.set_nodelay(true)?;
            Ok(Tcp(stream))
        })
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Opening<Udp> {
        Box::pin(async move { UdpSocket::bind(local).await.map(Udp) })
    }
}

impl Spawn for Reveille {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        task::Builder::new().name("hickory").spawn(future).detach();
    }
}

#[async_trait]
impl Time for Reveille {
    async fn delay_for(duration: Duration) {
        time::sleep(duration).await;
    }

    async fn timeout<F: Future + Send + 'static>(
        duration: Duration,
        future: F,
    ) -> io::Result<F::Output> {
        Ok(time::timeout(duration, future).await?)
    }
}

pub struct Udp(UdpSocket);

impl DnsUdpSocket for Udp {
    type Time = Reveille;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.0.poll_recv_from(cx, buf)
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send_to(cx, buf, to)
    }
}

pub struct Tcp(TcpStream);

impl DnsTcpStream for Tcp {
    type Time = Reveille;
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut self.0), cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
