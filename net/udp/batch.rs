//! Many datagrams received by one call.
//!
//! Interface: [`Batch`] and [`Received`], with [`UdpSocket::recv_many`]; into buffers of the caller's,
//! [`UdpSocket::try_recv_many`] and [`UdpSocket::poll_recv_many`].
//! Invariants:
//! - One system call a try. A second one could take an error from the socket for which the first has left no place.
//! - Where datagrams are glued together, each room takes the longest that can come.
//!
//! Read before: `meta`, `net::sys::many`. Read next: `outgoing`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use super::super::sys::{self, Inbound, MOST_MESSAGES};
use super::meta::{Ecn, RecvMeta};
use super::segmentation::LONGEST_GLUED;
use super::socket::{UdpSocket, spend};
use crate::io::Interest;

/// Room for several datagrams, which [`UdpSocket::recv_many`] fills, again and again: it allocates when it is made, and
/// never later.
///
/// # Examples
/// ```
/// use reveille::net::UdpSocket;
/// use reveille::net::udp::Batch;
///
/// # reveille::block_on(async {
/// let socket = UdpSocket::bind("127.0.0.1:0").await?;
/// let there = socket.local_addr()?;
/// for text in ["short", "", "too long"] {
///     socket.send_to(text.as_bytes(), there).await?;
/// }
///
/// let mut batch = Batch::new(8, 5); // Eight datagrams, of 5 bytes.
/// let mut texts = Vec::new();
/// while texts.len() < 3 {
///     socket.recv_many(&mut batch).await?; // What is there, which may be all.
///     texts.extend(batch.iter().map(|datagram| (datagram.bytes().to_vec(), datagram.is_truncated())));
/// }
/// assert_eq!(texts, [(b"short".to_vec(), false), (b"".to_vec(), false), (b"too l".to_vec(), true)]);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub struct Batch {
    /// The rooms, one after the other.
    bytes: Box<[u8]>,
    /// The length of each.
    room: usize,
    /// What is told of the datagram in each room.
    metas: Box<[RecvMeta]>,
    /// What the kernel says of each, until it is in `metas`.
    inbounds: Box<[Inbound]>,
    /// So many rooms have a datagram.
    filled: usize,
}

impl Batch {
    /// As many datagrams a batch can have. More would hardly be faster: the price of a system call is a small part of theirs.
    pub const MOST: usize = MOST_MESSAGES;

    /// Makes room for `count` datagrams, of `room` bytes each. What a datagram has beyond that is lost; none has more than
    /// 65,507 bytes over IPv4, and few have more than 1,472, which is what an Ethernet carries.
    ///
    /// # Panics
    /// If `count` is 0 or more than [`MOST`](Batch::MOST), and if both together are more bytes than can be allocated.
    #[track_caller]
    pub fn new(count: usize, room: usize) -> Batch {
        assert!(
            (1..=Batch::MOST).contains(&count),
            "a `Batch` has room for 1 to {} datagrams, not {count}",
            Batch::MOST
        );
        let bytes = count.checked_mul(room);
        let bytes = bytes.expect("a `Batch` has no more bytes than a `usize` can count");
        Batch {
            bytes: vec![0; bytes].into(),
            room,
            metas: vec![RecvMeta::default(); count].into(),
            inbounds: vec![Inbound::EMPTY; count].into(),
            filled: 0,
        }
    }

    /// What the last call received, in the order in which it came; nothing if that call failed, or had to wait.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Received<'_>> {
        let metas = self.metas[..self.filled].iter().enumerate();
        metas.map(|(nth, meta)| {
            let bytes = &self.bytes[nth * self.room..][..meta.len()];
            Received { bytes, meta }
        })
    }

    /// Receives into it; on an error it stays empty.
    fn fill(
        &mut self,
        receive: impl FnOnce(
            &mut [IoSliceMut<'_>],
            &mut [RecvMeta],
            &mut [Inbound],
        ) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let count = self.metas.len();
        let mut rooms = self.bytes.chunks_mut(self.room.max(1));
        let mut bufs: [_; MOST_MESSAGES] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        self.filled = receive(&mut bufs[..count], &mut self.metas, &mut self.inbounds)?;
        Ok(self.filled)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A datagram in a [`Batch`], or several of one sender that the kernel has [glued together](UdpSocket::set_gro).
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The bytes received, without the rest of the room.
    bytes: &'a [u8],
    /// Its length is that of `bytes`.
    meta: &'a RecvMeta,
}

impl<'a> Received<'a> {
    /// What was received of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// See [`RecvMeta::from`].
    pub fn from(&self) -> SocketAddr {
        self.meta.from()
    }

    /// See [`RecvMeta::is_truncated`].
    pub fn is_truncated(&self) -> bool {
        self.meta.is_truncated()
    }

    /// See [`RecvMeta::segment`].
    pub fn segment(&self) -> Option<usize> {
        self.meta.segment()
    }

    /// See [`RecvMeta::ecn`].
    pub fn ecn(&self) -> Option<Ecn> {
        self.meta.ecn()
    }

    /// See [`RecvMeta::to`].
    pub fn to(&self) -> Option<IpAddr> {
        self.meta.to()
    }

    /// See [`RecvMeta::local`].
    pub fn local(&self) -> Option<IpAddr> {
        self.meta.local()
    }
}

impl UdpSocket {
    /// Waits until a datagram is there, receives as many as are and the `batch` has room for, and returns how many. What
    /// the batch had before is gone, whatever comes of this. Each datagram is an operation of the
    /// [budget](crate::task::coop).
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv), with nothing received; and `InvalidInput` if [GRO](UdpSocket::set_gro) is on and the
    /// room for a datagram is less than 65,535 bytes. Where a sandbox refuses recvmmsg(2), this receives one datagram a call.
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns datagrams takes them from the socket.
    pub fn recv_many(&self, batch: &mut Batch) -> impl Future<Output = io::Result<usize>> {
        batch.filled = 0;
        self.io().async_io(Interest::READABLE, move |_| {
            let n = self.fill(batch)?;
            spend_on(&batch.metas[..n]);
            Ok(n)
        })
    }

    /// Receives what is there into a `batch`, without waiting; see [`recv_many`](UdpSocket::recv_many).
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; else as [`recv_many`](UdpSocket::recv_many).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::Batch;
    ///
    /// # reveille::block_on(async {
    /// # let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # for _ in 0..70 {
    /// #     client.send_to(b"hello", server.local_addr()?).await?;
    /// # }
    /// let (mut batch, mut datagrams) = (Batch::new(Batch::MOST, 1500), 0);
    /// while datagrams < 70 {
    ///     server.readable().await?;
    ///     // Takes all that is there, 32 by a system call.
    ///     loop {
    ///         match server.try_recv_batch(&mut batch) {
    ///             Ok(n) => datagrams += n,
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///             Err(error) => return Err(error),
    ///         }
    ///         assert!(batch.iter().all(|datagram| datagram.bytes() == b"hello"));
    ///     }
    /// }
    /// assert_eq!(datagrams, 70);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_recv_batch(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.filled = 0;
        self.io().try_io(Interest::READABLE, |_| self.fill(batch))
    }

    /// Polls [`recv_many`](UdpSocket::recv_many).
    ///
    /// # Errors
    /// As [`recv_many`](UdpSocket::recv_many).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::task::Poll;
    ///
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::Batch;
    ///
    /// # reveille::block_on(async {
    /// # let (one, other) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// # client.send_to(b"hello", other.local_addr()?).await?;
    /// // Whichever of two sockets has something fills the batch.
    /// let mut batch = Batch::new(8, 1500);
    /// let n = poll_fn(|cx| match one.poll_recv_batch(cx, &mut batch) {
    ///     Poll::Pending => other.poll_recv_batch(cx, &mut batch),
    ///     ready => ready,
    /// })
    /// .await?;
    /// assert_eq!(n, 1);
    /// assert_eq!(batch.iter().next().unwrap().bytes(), b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_recv_batch(
        &self,
        cx: &mut Context<'_>,
        batch: &mut Batch,
    ) -> Poll<io::Result<usize>> {
        batch.filled = 0;
        self.io().poll_io(cx, Interest::READABLE, |_| {
            let n = self.fill(batch)?;
            spend_on(&batch.metas[..n]);
            Ok(n)
        })
    }

    /// Tries once to receive into `batch`, which the caller has emptied.
    fn fill(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.fill(|bufs, metas, inbounds| self.recv_many_by(bufs, metas, inbounds))
    }

    /// Receives datagrams that are there into the caller's buffers, one into each, without waiting, and returns how many;
    /// what is told of the n-th is in the n-th of `metas`. At most [`Batch::MOST`] are received, and no more than there are
    /// buffers, and metas.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; `InvalidInput` if there is no buffer or no meta; else as
    /// [`recv_many`](UdpSocket::recv_many).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::RecvMeta;
    /// use std::io::IoSliceMut;
    ///
    /// # reveille::block_on(async {
    /// # let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// # socket.send_to(b"hello", socket.local_addr()?).await?;
    /// let (mut first, mut second) = ([0; 1500], [0; 1500]);
    /// let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    /// let mut metas = [RecvMeta::default(); 2];
    /// socket.readable().await?;
    /// let n = socket.try_recv_many(&mut bufs, &mut metas)?;
    /// assert_eq!(n, 1);
    /// assert_eq!(&bufs[0][..metas[0].len()], b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_recv_many(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.io()
            .try_io(Interest::READABLE, |_| self.recv_many_now(bufs, metas))
    }

    /// As [`try_recv_many`](UdpSocket::try_recv_many), and has the task woken when something comes.
    ///
    /// # Errors
    /// As [`try_recv_many`](UdpSocket::try_recv_many), but for `WouldBlock`; and those of waiting, see
    /// [`AsyncFd::readable`](crate::io::AsyncFd::readable).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::io::IoSliceMut;
    ///
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::RecvMeta;
    ///
    /// # reveille::block_on(async {
    /// # let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # client.send_to(b"hello", server.local_addr()?).await?;
    /// let mut free = vec![vec![0; 1500]; 8];
    /// let mut metas = [RecvMeta::default(); 8];
    /// let n = poll_fn(|cx| {
    ///     let mut bufs: Vec<_> = free.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
    ///     server.poll_recv_many(cx, &mut bufs, &mut metas)
    /// })
    /// .await?;
    /// // The buffers that were filled can be handed on: nothing has to be copied.
    /// let mut received: Vec<Vec<u8>> = free.drain(..n).collect();
    /// for (datagram, meta) in received.iter_mut().zip(&metas) {
    ///     datagram.truncate(meta.len());
    /// }
    /// assert_eq!(received, [b"hello"]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_recv_many(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_io(cx, Interest::READABLE, |_| {
            let n = self.recv_many_now(bufs, metas)?;
            spend_on(&metas[..n]);
            Ok(n)
        })
    }

    /// Tries once to receive into the caller's buffers.
    fn recv_many_now(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let mut inbounds = [const { Inbound::EMPTY }; MOST_MESSAGES];
        self.recv_many_by(bufs, metas, &mut inbounds)
    }

    /// Receives as many as there are buffers, metas and places for what the kernel says of each.
    fn recv_many_by(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
        inbounds: &mut [Inbound],
    ) -> io::Result<usize> {
        let count = bufs.len().min(metas.len()).min(inbounds.len());
        let bufs = &mut bufs[..count];
        if bufs.is_empty() {
            return Err(invalid("there is no buffer, or no `RecvMeta`"));
        }
        if self.glues() && bufs.iter().any(|buf| buf.len() < LONGEST_GLUED) {
            return Err(invalid("GRO is on: a datagram needs room for 65,535 bytes"));
        }
        // Chaos asks for fewer datagrams, but never for less of one.
        let count = self.io().registration().offer(count);
        let inbounds = &mut inbounds[..count];
        let received = sys::recv_many(self.socket(), &mut bufs[..count], inbounds)?;
        for (meta, inbound) in metas.iter_mut().zip(&inbounds[..received]) {
            *meta = RecvMeta::of(inbound);
        }
        Ok(received)
    }
}

/// Spends the budget for what was received beyond the first datagram.
fn spend_on(metas: &[RecvMeta]) {
    let datagrams: usize = metas.iter().map(RecvMeta::datagrams).sum();
    spend(datagrams.saturating_sub(1));
}

/// The error of room into which no datagram can be received.
fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
