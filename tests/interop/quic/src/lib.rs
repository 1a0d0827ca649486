//! quinn on reveille: quinn's `Runtime`, over our `UdpSocket` and its batches.
//!
//! The page `runtime/what_runs_on_it.md` shows all of this file, from here on.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller};
use reveille::net::{UdpSocket, udp};
use reveille::task;
use reveille::time::{self, Sleep};

/// For `quinn::Endpoint::new`, inside the runtime that is to drive the endpoint and its connections.
#[derive(Debug)]
pub struct Reveille;

impl Runtime for Reveille {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(time::sleep_until(at)))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        task::Builder::new().name("quinn").spawn(future).detach();
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = UdpSocket::from_std(socket)?;
        socket.set_recv_ecn(true)?;
        socket.set_recv_pktinfo(true)?;
        // Without it datagrams come one by one.
        let _unsupported = socket.set_gro(true);
        Ok(Arc::new(Socket(socket)))
    }

    fn now(&self) -> Instant {
        time::now()
    }
}

#[derive(Debug)]
struct Timer(Sleep);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.0.reset(at);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

#[derive(Debug)]
struct Socket(UdpSocket);

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller::new(move || {
            let socket = Arc::clone(&self);
            async move { socket.0.writable().await }
        }))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut left = udp::Outgoing::new(transmit.contents, transmit.destination);
        if let Some(bytes) = transmit.segment_size {
            left = left.with_segment(bytes);
        }
        if let Some(ecn) = transmit.ecn {
            left = left.with_ecn(match ecn {
                EcnCodepoint::Ect0 => udp::Ecn::Ect0,
                EcnCodepoint::Ect1 => udp::Ecn::Ect1,
                EcnCodepoint::Ce => udp::Ecn::Ce,
            });
        }
        if let Some(source) = transmit.src_ip {
            left = left.with_source(source);
        }
        loop {
            match self.0.try_send_many(&[left]) {
                Ok(sent) if sent.whole() == 1 => return Ok(()),
                Ok(sent) => left = left.skip(sent.bytes_of_next()),
                // quinn waits, and sends all of it again. QUIC ignores what comes twice.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                // What the network refuses is lost. QUIC sends it again, or gives up.
                Err(_) => return Ok(()),
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        told: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut metas = [udp::RecvMeta::default(); BATCH_SIZE];
        let most = told.len().min(BATCH_SIZE);
        let received = ready!(self.0.poll_recv_many(cx, bufs, &mut metas[..most]))?;
        for (told, meta) in told.iter_mut().zip(&metas[..received]) {
            told.addr = meta.from();
            told.len = meta.len();
            told.stride = meta.segment().unwrap_or(meta.len());
            told.ecn = meta.ecn().and_then(|ecn| match ecn {
                udp::Ecn::NotEct => None,
                udp::Ecn::Ect0 => Some(EcnCodepoint::Ect0),
                udp::Ecn::Ect1 => Some(EcnCodepoint::Ect1),
                udp::Ecn::Ce => Some(EcnCodepoint::Ce),
            });
            told.dst_ip = meta.to();
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_segments()
    }

    // With the 1,472 bytes that an endpoint receives by default, room for whatever the kernel glues together.
    fn max_receive_segments(&self) -> usize {
        if self.0.gro() { 64 } else { 1 }
    }
}

/// Waits for room, again and again: each wait is a future of its own, in the place of the one before.
struct Poller<M, F> {
    make: M,
    wait: Pin<Box<F>>,
}

impl<M: Fn() -> F, F> Poller<M, F> {
    fn new(make: M) -> Poller<M, F> {
        let wait = Box::pin(make());
        Poller { make, wait }
    }
}

impl<M, F> UdpPoller for Poller<M, F>
where
    M: Fn() -> F + Send + Sync + Unpin + 'static,
    F: Future<Output = io::Result<()>> + Send + Sync + 'static,
{
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(self.wait.as_mut().poll(cx));
        let next = (self.make)();
        self.wait.set(next);
        Poll::Ready(outcome)
    }
}

impl<M, F> fmt::Debug for Poller<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}
