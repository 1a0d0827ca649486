//! A UDP socket: how it is made, and one datagram a call.
//!
//! Interface: [`UdpSocket`]; all its methods take `&self`.
//! Invariants:
//! - A datagram is sent whole or not at all, and received by one call: nothing here offers the kernel less than the
//!   caller did.
//! - No short receive proves anything (R10): only the kernel's EAGAIN ends a run of receives.
//! - While the kernel glues datagrams together, nothing here receives, because it could not say where one ends.
//!
//! Over 400 lines because each operation is there as a future, `try_` and `poll_`, with its docs and an example.
//! Read before: `methods`, `net::sys::message`, `segmentation`. Read next: `meta`.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::super::addr::{Target, ToSocketAddrs};
use super::super::lookup;
use super::super::methods::{operations, readable, refuse_in_child, writable};
use super::super::sys::{self, Int, SockAddr, decode};
use super::super::tried::in_turn;
use super::segmentation::Segmentation;
use crate::io::{AsyncFd, Interest, Ready};
use crate::task::coop::{consume_budget, has_budget_remaining};

/// A UDP socket: to talk with any number of peers, or, [connected](UdpSocket::connect), with one.
///
/// Sending and receiving take `&self`, so any number of tasks can do both at once. See the page of the
/// [module](super) for what holds for datagrams: what is cut, and what the network reports.
///
/// In the child of a process that had a runtime before it forked, the socket is the parent's, too, and each call that would
/// change it is an error.
///
/// # Examples
/// ```
/// use reveille::net::UdpSocket;
///
/// # reveille::block_on(async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to(b"hello", server.local_addr()?).await?;
/// let mut buf = [0; 1500];
/// let (n, from) = server.recv_from(&mut buf).await?;
/// assert_eq!((&buf[..n], from), (&b"hello"[..], client.local_addr()?));
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub struct UdpSocket {
    /// The socket, and its registration.
    io: AsyncFd<std::net::UdpSocket>,
    /// Whether the kernel cuts what is sent, and glues what is received.
    segmentation: Segmentation,
}

/// The room that a `Vec` without any is given before a datagram is received into it, in bytes: no datagram has more.
const ROOM: usize = 65_535;

impl UdpSocket {
    /// Makes a socket at the first of the addresses that works, tried in order; port 0 takes a free one.
    ///
    /// `[::]` serves IPv4 as well, unless net.ipv6.bindv6only says otherwise. What has to be set before (SO_REUSEPORT, say)
    /// is set on a socket of another crate, for [`from_std`](UdpSocket::from_std).
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL, EACCES (ports below 1024): bind(2); EMFILE, ENFILE: socket(2); those of
    /// [`lookup_host`](crate::net::lookup_host). For several addresses or a name, the text lists all that were tried, and
    /// `raw_os_error` is `None`: see [`AddressesError`](crate::net::AddressesError).
    ///
    /// # Cancel safety
    /// Safe: it waits for the lookup of a name only.
    pub async fn bind(addresses: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        in_turn(addresses.target()?, |address| {
            let socket = sys::datagram_socket(&address)?;
            // Before a datagram can come, which would be lost.
            refuse_in_child(socket.as_fd())?;
            sys::bind(socket.as_fd(), &SockAddr::encode(&address))?;
            UdpSocket::new(std::net::UdpSocket::from(socket), false)
        })
        .await
    }

    /// Makes one of a non-blocking socket; `glues` says whether UDP_GRO is on.
    fn new(socket: std::net::UdpSocket, glues: bool) -> io::Result<UdpSocket> {
        let io = AsyncFd::new(socket)?;
        // Each datagram that leaves makes room, which would be an event each.
        io.registration().set_reports_room_late();
        Ok(UdpSocket {
            io,
            segmentation: Segmentation::new(glues),
        })
    }

    /// Makes a `UdpSocket` of std's socket, which is put into non-blocking mode.
    ///
    /// # Errors
    /// As ioctl(2) of FIONBIO; and always in the child of a process that had a runtime before it forked.
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    /// use reveille::task::spawn_blocking;
    ///
    /// # reveille::block_on(async {
    /// # let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// // A socket from elsewhere: made by another crate, say, or by the process that started this one.
    /// let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// client.send_to(b"one", socket.local_addr()?).await?;
    /// client.send_to(b"two", socket.local_addr()?).await?;
    /// let mut buf = [0; 1500];
    /// assert_eq!(socket.recv(&mut buf).await?, 3);
    ///
    /// // It is given to a thread that may block, with the datagram that waits in it.
    /// let socket = socket.into_std()?;
    /// socket.set_nonblocking(false)?;
    /// let n = spawn_blocking(move || socket.recv(&mut buf).map(|n| buf[..n].to_vec()));
    /// assert_eq!(n.await.unwrap()?, b"two");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        refuse_in_child(socket.as_fd())?;
        socket.set_nonblocking(true)?;
        // A kernel without the option does not glue.
        let glues = sys::get(socket.as_fd(), Int::UDP_GRO).is_ok_and(|on| on != 0);
        UdpSocket::new(socket, glues)
    }

    /// Gives back std's socket, in non-blocking mode and deregistered.
    ///
    /// # Errors
    /// None today.
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        Ok(self.io.into_inner())
    }

    /// Connects the socket: from here on it sends to this peer, by [`send`](UdpSocket::send), receives from no other, and
    /// hears of what the network [reports](super#errors-of-the-network) about it. Nothing is sent. Of several addresses it
    /// is the first that works, which says little about what is there. To connect again is to change the peer; what the
    /// former one sent, and what was reported about it, is still in the socket.
    ///
    /// # Errors
    /// ENETUNREACH, EACCES (a broadcast address; the text names the call, and `raw_os_error` is `None`): connect(2); those of [`lookup_host`](crate::net::lookup_host), and of
    /// several addresses, as with [`bind`](UdpSocket::bind).
    ///
    /// # Cancel safety
    /// Safe: it waits for the lookup of a name only.
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// # let server = UdpSocket::bind("127.0.0.1:0").await?;
    /// # let stranger = UdpSocket::bind("127.0.0.1:0").await?;
    /// let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// client.connect(server.local_addr()?).await?;
    /// client.send(b"question").await?;
    ///
    /// let mut buf = [0; 1500];
    /// let (n, from) = server.recv_from(&mut buf).await?;
    /// assert_eq!(&buf[..n], b"question");
    /// stranger.send_to(b"not the answer", from).await?;
    /// server.send_to(b"answer", from).await?;
    ///
    /// // What the stranger has sent does not come through.
    /// let n = client.recv(&mut buf).await?;
    /// assert_eq!(&buf[..n], b"answer");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn connect(&self, addresses: impl ToSocketAddrs) -> io::Result<()> {
        in_turn(addresses.target()?, |address| {
            refuse_in_child(self.socket())?;
            sys::connect(self.socket(), &SockAddr::encode(&address)).map(|_connected_at_once| ())
        })
        .await
    }

    /// Sends `buf` to the peer, as one datagram, and returns its length. It waits while there is no room in the socket; that
    /// there was says nothing of whether the datagram arrives.
    ///
    /// # Errors
    /// What send(2) reports, but for EAGAIN (waits) and EINTR (tries again): EDESTADDRREQ without a peer; EMSGSIZE beyond
    /// 65,507 bytes (65,527 over IPv6), and beyond what the device carries if [nothing may be
    /// cut](UdpSocket::set_dont_fragment); ENOBUFS for what travels in fragments and is more than the
    /// [buffer](UdpSocket::send_buffer_size) can have; ECONNREFUSED, and others, EMSGSIZE among them, which were
    /// [reported](super#errors-of-the-network) about an earlier datagram, and this one was not sent: send it again; and those
    /// of waiting, see [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    pub fn send(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
        self.sending(|socket| sys::send(socket, buf))
    }

    /// Sends `buf` to the peer if there is room, without waiting; see [`send`](UdpSocket::send).
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else as [`send`](UdpSocket::send).
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.try_sending(|socket| sys::send(socket, buf))
    }

    /// Polls [`send`](UdpSocket::send). This and the other `poll_` methods keep wakers as [`AsyncFd::poll_read_ready`] does.
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send).
    ///
    /// # Examples
    /// For a trait of another crate, which polls:
    /// ```
    /// use std::future::poll_fn;
    /// use std::io;
    /// use std::task::{Context, Poll};
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// /// What a protocol asks of what carries it.
    /// trait Transport {
    ///     fn poll_transmit(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>>;
    ///
    ///     fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    ///
    ///     /// The first byte of what is received next.
    ///     fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u8>>;
    /// }
    ///
    /// /// A socket that is connected.
    /// struct Udp(UdpSocket);
    ///
    /// impl Transport for Udp {
    ///     fn poll_transmit(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>> {
    ///         self.0.poll_send(cx, bytes).map_ok(drop) // All of it, or nothing.
    ///     }
    ///
    ///     fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    ///         self.0.poll_recv(cx, buf)
    ///     }
    ///
    ///     fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u8>> {
    ///         let mut kind = [0];
    ///         self.0.poll_peek(cx, &mut kind).map_ok(|_| kind[0])
    ///     }
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # ours.connect(theirs.local_addr()?).await?;
    /// # theirs.connect(ours.local_addr()?).await?;
    /// let (mut ours, mut theirs) = (Udp(ours), Udp(theirs));
    /// poll_fn(|cx| ours.poll_transmit(cx, b"hello")).await?;
    /// assert_eq!(poll_fn(|cx| theirs.poll_kind(cx)).await?, b'h');
    /// let mut buf = [0; 1500];
    /// assert_eq!(poll_fn(|cx| theirs.poll_receive(cx, &mut buf)).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_sending(cx, |socket| sys::send(socket, buf))
    }

    /// As [`send`](UdpSocket::send), to this address; of several, to the first.
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send); EACCES for a broadcast address without [`set_broadcast`](UdpSocket::set_broadcast),
    /// EINVAL for port 0 (of both the text names the call, and `raw_os_error` is `None`); EAFNOSUPPORT for an IPv6 address on
    /// an IPv4 socket; those of [`lookup_host`](crate::net::lookup_host).
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    pub async fn send_to(&self, buf: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let to = match to.target()? {
            Target::One(address) => address,
            several => {
                let first = lookup::addresses(several).await?.into_iter().next();
                first.ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")
                })?
            }
        };
        let to = SockAddr::encode(&to);
        self.sending(|socket| sys::send_to(socket, buf, &to)).await
    }

    /// Sends `buf` to this address if there is room, without waiting; see [`send_to`](UdpSocket::send_to).
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else as [`send_to`](UdpSocket::send_to).
    pub fn try_send_to(&self, buf: &[u8], to: SocketAddr) -> io::Result<usize> {
        let to = SockAddr::encode(&to);
        self.try_sending(|socket| sys::send_to(socket, buf, &to))
    }

    /// Polls [`send_to`](UdpSocket::send_to).
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to).
    ///
    /// # Examples
    /// A future that is made by hand keeps what it waits to send:
    /// ```
    /// use std::future::Future;
    /// use std::io;
    /// use std::net::SocketAddr;
    /// use std::pin::Pin;
    /// use std::task::{Context, Poll, ready};
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// /// Sends each datagram back to where it came from.
    /// struct Echo {
    ///     socket: UdpSocket,
    ///     datagram: Vec<u8>,
    ///     /// Where `datagram` is still to be sent.
    ///     to: Option<SocketAddr>,
    /// }
    ///
    /// impl Future for Echo {
    ///     type Output = io::Result<()>;
    ///
    ///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    ///         let Echo { socket, datagram, to } = &mut *self;
    ///         loop {
    ///             if let Some(peer) = *to {
    ///                 ready!(socket.poll_send_to(cx, datagram, peer))?;
    ///                 *to = None;
    ///             }
    ///             datagram.clear();
    ///             let (_, from) = ready!(socket.poll_recv_vec_from(cx, datagram))?;
    ///             *to = Some(from);
    ///         }
    ///     }
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// let there = socket.local_addr()?;
    /// let echo = Echo { socket, datagram: Vec::with_capacity(1500), to: None };
    /// reveille::spawn(echo);
    /// for text in ["hello", "world"] {
    ///     client.send_to(text.as_bytes(), there).await?;
    ///     let mut buf = [0; 1500];
    ///     let (n, from) = client.recv_from(&mut buf).await?;
    ///     assert_eq!((&buf[..n], from), (text.as_bytes(), there));
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let to = SockAddr::encode(&to);
        self.poll_sending(cx, |socket| sys::send_to(socket, buf, &to))
    }

    /// Receives a datagram, and returns its length, or that of `buf` if that is less: the rest of the datagram is lost then,
    /// and only [`recv_many`](UdpSocket::recv_many) would say so. Without a peer, it may be from anybody.
    ///
    /// # Errors
    /// What recv(2) reports, but for EAGAIN (waits) and EINTR (tries again): ECONNREFUSED, and others, which were
    /// [reported](super#errors-of-the-network) about a datagram sent earlier; `InvalidInput` while
    /// [GRO](UdpSocket::set_gro) is on; and those of waiting, see [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns a datagram takes it from the socket.
    pub fn recv(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.receiving(|socket| sys::recv(socket, buf, 0))
    }

    /// Receives a datagram if one is there, without waiting; see [`recv`](UdpSocket::recv). What "is there" is as of the
    /// runtime's last turn.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv`](UdpSocket::recv).
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_receiving(|socket| sys::recv(socket, buf, 0))
    }

    /// Polls [`recv`](UdpSocket::recv).
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_receiving(cx, |socket| sys::recv(socket, buf, 0))
    }

    /// Appends a datagram to `buf`, into its spare room, and returns its length. What is longer than that room is cut, as
    /// with [`recv`](UdpSocket::recv), so [`clear`](Vec::clear) the `Vec`, or [`reserve`](Vec::reserve), before each call. A
    /// `buf` without spare room is given some for any datagram, 65,535 bytes.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv); the bytes of `buf` are then as they were, though it may have got room.
    ///
    /// # Cancel safety
    /// Safe, as [`recv`](UdpSocket::recv).
    ///
    /// # Examples
    /// ```
    /// # reveille::block_on(async {
    /// # let socket = reveille::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// # socket.send_to(b"hello", socket.local_addr()?).await?;
    /// let mut datagram = Vec::with_capacity(1500); // Its bytes need not be zeroed.
    /// let n = socket.recv_vec(&mut datagram).await?;
    /// assert_eq!((n, &datagram[..]), (5, &b"hello"[..]));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn recv_vec(&self, buf: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> {
        self.receiving(|socket| sys::recv_vec(socket, with_room(buf), usize::MAX))
    }

    /// As [`recv_vec`](UdpSocket::recv_vec) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv_vec`](UdpSocket::recv_vec).
    ///
    /// # Examples
    /// ```
    /// use std::io::{self, ErrorKind};
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// /// Appends the datagrams that are there to `bytes`, and where each of them ends to `ends`.
    /// fn take_all(socket: &UdpSocket, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> io::Result<()> {
    ///     // Up to 100: a peer that sends fast must not keep the task here, nor fill the memory.
    ///     while ends.len() < 100 {
    ///         bytes.reserve(1500); // Or what room is left would cut the datagram.
    ///         match socket.try_recv_vec(bytes) {
    ///             Ok(_) => ends.push(bytes.len()),
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # for text in ["one", "", "three"] {
    /// #     client.send_to(text.as_bytes(), server.local_addr()?).await?;
    /// # }
    /// let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    /// while ends.len() < 3 {
    ///     server.readable().await?;
    ///     take_all(&server, &mut bytes, &mut ends)?;
    /// }
    /// assert_eq!((&bytes[..], &ends[..]), (&b"onethree"[..], &[3, 3, 8][..]));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_recv_vec(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.try_receiving(|socket| sys::recv_vec(socket, with_room(buf), usize::MAX))
    }

    /// Polls [`recv_vec`](UdpSocket::recv_vec).
    ///
    /// # Errors
    /// As [`recv_vec`](UdpSocket::recv_vec).
    pub fn poll_recv_vec(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.poll_receiving(cx, |socket| {
            sys::recv_vec(socket, with_room(buf), usize::MAX)
        })
    }

    /// As [`recv`](UdpSocket::recv), and returns the sender, too.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancel safety
    /// Safe, as [`recv`](UdpSocket::recv).
    pub fn recv_from(
        &self,
        buf: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> {
        self.receiving(|socket| recv_from(socket, buf, 0))
    }

    /// As [`recv_from`](UdpSocket::recv_from) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv`](UdpSocket::recv).
    ///
    /// # Examples
    /// ```
    /// use std::collections::HashMap;
    /// use std::io::ErrorKind;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// # let (server, player) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # for position in ["1,1", "1,2", "2,2"] {
    /// #     player.send_to(position.as_bytes(), server.local_addr()?).await?;
    /// # }
    /// // Where each player is: of all that a player has sent, only the newest counts. A server limits how many senders
    /// // it keeps, as their addresses can be forged.
    /// let mut positions = HashMap::new();
    /// let mut buf = [0; 1500];
    /// # while positions.get(&player.local_addr()?).is_none_or(|newest| newest != b"2,2") {
    /// server.readable().await?;
    /// loop {
    ///     match server.try_recv_from(&mut buf) {
    ///         Ok((n, from)) => positions.insert(from, buf[..n].to_vec()),
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///         Err(error) => return Err(error),
    ///     };
    /// }
    /// # }
    /// for (player, position) in &positions {
    ///     match server.try_send_to(position, *player) {
    ///         // There is no room: the player hears of the next move.
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => {}
    ///         sent => assert_eq!(sent?, position.len()),
    ///     }
    /// }
    /// # assert_eq!(player.recv(&mut buf).await?, 3);
    /// # assert_eq!(&buf[..3], b"2,2");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.try_receiving(|socket| recv_from(socket, buf, 0))
    }

    /// Polls [`recv_from`](UdpSocket::recv_from).
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::io;
    /// use std::net::SocketAddr;
    /// use std::task::Poll;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// /// Receives from the first of two sockets that has a datagram.
    /// async fn recv_of_either(
    ///     [one, other]: [&UdpSocket; 2],
    ///     buf: &mut [u8],
    /// ) -> io::Result<(usize, SocketAddr)> {
    ///     poll_fn(|cx| match one.poll_recv_from(cx, buf) {
    ///         Poll::Pending => other.poll_recv_from(cx, buf),
    ///         ready => ready,
    ///     })
    ///     .await
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let (one, other) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// for at in [one.local_addr()?, other.local_addr()?] {
    ///     client.send_to(b"hello", at).await?;
    ///     let mut buf = [0; 1500];
    ///     let (n, from) = recv_of_either([&one, &other], &mut buf).await?;
    ///     assert_eq!((&buf[..n], from), (&b"hello"[..], client.local_addr()?));
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_receiving(cx, |socket| recv_from(socket, buf, 0))
    }

    /// As [`recv_vec`](UdpSocket::recv_vec), and returns the sender, too.
    ///
    /// # Errors
    /// As [`recv_vec`](UdpSocket::recv_vec).
    ///
    /// # Cancel safety
    /// Safe, as [`recv`](UdpSocket::recv).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// # let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # for text in ["one", "two"] {
    /// #     client.send_to(text.as_bytes(), server.local_addr()?).await?;
    /// # }
    /// # let mut queue = Vec::new();
    /// # while queue.len() < 2 {
    /// // Waits for a datagram, which gets a `Vec` of its own ...
    /// let mut datagram = Vec::with_capacity(1500);
    /// let (_, from) = server.recv_vec_from(&mut datagram).await?;
    /// queue.push((from, datagram));
    /// // ... and takes what else is there.
    /// loop {
    ///     let mut datagram = Vec::with_capacity(1500);
    ///     match server.try_recv_vec_from(&mut datagram) {
    ///         Ok((_, from)) => queue.push((from, datagram)),
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # }
    /// # let from = client.local_addr()?;
    /// assert_eq!(queue, [(from, b"one".to_vec()), (from, b"two".to_vec())]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn recv_vec_from(
        &self,
        buf: &mut Vec<u8>,
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> {
        self.receiving(|socket| recv_vec_from(socket, with_room(buf)))
    }

    /// As [`recv_vec_from`](UdpSocket::recv_vec_from) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv_vec`](UdpSocket::recv_vec).
    pub fn try_recv_vec_from(&self, buf: &mut Vec<u8>) -> io::Result<(usize, SocketAddr)> {
        self.try_receiving(|socket| recv_vec_from(socket, with_room(buf)))
    }

    /// Polls [`recv_vec_from`](UdpSocket::recv_vec_from).
    ///
    /// # Errors
    /// As [`recv_vec`](UdpSocket::recv_vec).
    pub fn poll_recv_vec_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_receiving(cx, |socket| recv_vec_from(socket, with_room(buf)))
    }

    /// As [`recv`](UdpSocket::recv), but leaves the datagram in the socket.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv); and `Unsupported` if other code has set SO_PEEK_OFF, and there is nothing to see behind
    /// it.
    ///
    /// # Cancel safety
    /// Safe: a peek takes nothing.
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// # let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # client.send_to(&[b'F'; 10_000], server.local_addr()?).await?;
    /// // The first byte says whether it is a command, which is short, or a frame.
    /// let mut kind = [0];
    /// server.peek(&mut kind).await?;
    /// let room = if kind == *b"F" { 65_507 } else { 64 };
    /// let mut datagram = vec![0; room];
    /// let n = server.recv(&mut datagram).await?;
    /// assert_eq!((n, datagram[0]), (10_000, b'F'));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.receiving(|socket| peek(socket, || sys::recv(socket, buf, libc::MSG_PEEK)))
    }

    /// As [`peek`](UdpSocket::peek) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`peek`](UdpSocket::peek).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// # let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # let from = client.local_addr()?;
    /// let mut kind = [0];
    /// assert_eq!(server.try_peek(&mut kind).unwrap_err().kind(), ErrorKind::WouldBlock);
    ///
    /// client.send_to(b"hello", server.local_addr()?).await?;
    /// server.readable().await?;
    /// // However often it is looked at, the datagram is still there.
    /// assert_eq!((server.try_peek(&mut kind)?, kind), (1, *b"h"));
    /// assert_eq!(server.try_peek_from(&mut kind)?, (1, from));
    /// assert_eq!(server.try_peek_sender()?, from);
    /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_receiving(|socket| peek(socket, || sys::recv(socket, buf, libc::MSG_PEEK)))
    }

    /// Polls [`peek`](UdpSocket::peek).
    ///
    /// # Errors
    /// As [`peek`](UdpSocket::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_receiving(cx, |socket| {
            peek(socket, || sys::recv(socket, buf, libc::MSG_PEEK))
        })
    }

    /// As [`peek`](UdpSocket::peek), and returns the sender, too.
    ///
    /// # Errors
    /// As [`peek`](UdpSocket::peek).
    ///
    /// # Cancel safety
    /// Safe: a peek takes nothing.
    ///
    /// # Examples
    /// ```
    /// use std::io;
    /// use std::net::SocketAddr;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// /// Receives a datagram of version 2, and refuses others. No other task receives.
    /// async fn recv_v2(socket: &UdpSocket, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    ///     loop {
    ///         let mut version = [0];
    ///         let (_, from) = socket.peek_from(&mut version).await?;
    ///         if version == [2] {
    ///             return socket.recv_from(buf).await;
    ///         }
    ///         socket.recv(&mut []).await?; // Takes it, and all its bytes are lost.
    ///         socket.send_to(b"version 2, please", from).await?;
    ///     }
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # client.connect(server.local_addr()?).await?;
    /// client.send(b"\x01hello").await?;
    /// client.send(b"\x02world").await?;
    /// let mut buf = [0; 1500];
    /// let (n, _) = recv_v2(&server, &mut buf).await?;
    /// assert_eq!(&buf[..n], b"\x02world");
    /// let n = client.recv(&mut buf).await?;
    /// assert_eq!(&buf[..n], b"version 2, please");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn peek_from(
        &self,
        buf: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> {
        self.receiving(|socket| peek(socket, || recv_from(socket, buf, libc::MSG_PEEK)))
    }

    /// As [`peek_from`](UdpSocket::peek_from) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`peek`](UdpSocket::peek).
    pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.try_receiving(|socket| peek(socket, || recv_from(socket, buf, libc::MSG_PEEK)))
    }

    /// Polls [`peek_from`](UdpSocket::peek_from).
    ///
    /// # Errors
    /// As [`peek`](UdpSocket::peek).
    ///
    /// # Examples
    /// ```
    /// use std::collections::HashMap;
    /// use std::future::poll_fn;
    /// use std::io;
    /// use std::net::SocketAddr;
    /// use std::task::{Context, Poll, ready};
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// /// What has come, by its sender and its first byte. A server limits how much it keeps.
    /// type Sorted = HashMap<(SocketAddr, u8), Vec<u8>>;
    ///
    /// /// Polls for a datagram, which is received to where it belongs. No other task receives.
    /// fn poll_sort(
    ///     socket: &UdpSocket,
    ///     cx: &mut Context<'_>,
    ///     sorted: &mut Sorted,
    /// ) -> Poll<io::Result<usize>> {
    ///     let mut kind = [0];
    ///     let (_, from) = ready!(socket.poll_peek_from(cx, &mut kind))?;
    ///     let place = sorted.entry((from, kind[0])).or_default();
    ///     place.reserve(1500);
    ///     socket.poll_recv_vec(cx, place)
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # for text in ["a1", "b1", "a2"] {
    /// #     client.send_to(text.as_bytes(), server.local_addr()?).await?;
    /// # }
    /// let mut sorted = Sorted::new();
    /// for _ in 0..3 {
    ///     poll_fn(|cx| poll_sort(&server, cx, &mut sorted)).await?;
    /// }
    /// assert_eq!(sorted[&(client.local_addr()?, b'a')], b"a1a2");
    /// assert_eq!(sorted[&(client.local_addr()?, b'b')], b"b1");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_receiving(cx, |socket| {
            peek(socket, || recv_from(socket, buf, libc::MSG_PEEK))
        })
    }

    /// The sender of the datagram that would be received next. It may be another's once this has returned, if other tasks
    /// receive.
    ///
    /// # Errors
    /// As [`peek`](UdpSocket::peek).
    ///
    /// # Cancel safety
    /// Safe: a peek takes nothing.
    ///
    /// # Examples
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// # let server = UdpSocket::bind("127.0.0.1:0").await?;
    /// # let (one, other) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # for (client, text) in [(&one, "hello, "), (&other, "goodbye"), (&one, "world")] {
    /// #     client.send_to(text.as_bytes(), server.local_addr()?).await?;
    /// # }
    /// // Each peer's bytes are received into a `Vec` of its own. A server limits how many peers and bytes it keeps.
    /// let mut peers: HashMap<_, Vec<u8>> = HashMap::new();
    /// for _ in 0..3 {
    ///     let from = server.peek_sender().await?;
    ///     let bytes = peers.entry(from).or_default();
    ///     bytes.reserve(1500);
    ///     server.recv_vec(bytes).await?;
    /// }
    /// assert_eq!(peers[&one.local_addr()?], b"hello, world");
    /// assert_eq!(peers[&other.local_addr()?], b"goodbye");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn peek_sender(&self) -> io::Result<SocketAddr> {
        self.peek_from(&mut []).await.map(|(_, from)| from)
    }

    /// As [`peek_sender`](UdpSocket::peek_sender) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`peek`](UdpSocket::peek).
    pub fn try_peek_sender(&self) -> io::Result<SocketAddr> {
        self.try_peek_from(&mut []).map(|(_, from)| from)
    }

    /// Polls [`peek_sender`](UdpSocket::peek_sender).
    ///
    /// # Errors
    /// As [`peek`](UdpSocket::peek).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::io;
    /// use std::net::SocketAddr;
    /// use std::task::Poll;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// /// Waits until one of the sockets has a datagram, and returns which, and the sender.
    /// async fn first_of(sockets: &[UdpSocket]) -> io::Result<(usize, SocketAddr)> {
    ///     poll_fn(|cx| {
    ///         for (nth, socket) in sockets.iter().enumerate() {
    ///             if let Poll::Ready(from) = socket.poll_peek_sender(cx) {
    ///                 return Poll::Ready(from.map(|from| (nth, from)));
    ///             }
    ///         }
    ///         Poll::Pending
    ///     })
    ///     .await
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// let sockets = [UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?];
    /// client.send_to(b"hello", sockets[1].local_addr()?).await?;
    /// assert_eq!(first_of(&sockets).await?, (1, client.local_addr()?));
    /// assert_eq!(sockets[1].recv(&mut [0; 1500]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_peek_sender(&self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        self.poll_peek_from(cx, &mut []).map_ok(|(_, from)| from)
    }

    readable!();
    writable!();
    operations!();

    /// Polls [`readable`](UdpSocket::readable), by tokio's name.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Examples
    /// For a protocol that waits by one call and tries by another:
    /// ```
    /// use std::future::poll_fn;
    /// use std::io::{self, ErrorKind};
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// /// Sends a question to the peer, and receives the answer.
    /// async fn ask(socket: &UdpSocket, question: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    ///     loop {
    ///         poll_fn(|cx| socket.poll_send_ready(cx)).await?;
    ///         match socket.try_send(question) {
    ///             // That there is room was a hint.
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
    ///             sent => break sent?,
    ///         }
    ///     };
    ///     loop {
    ///         poll_fn(|cx| socket.poll_recv_ready(cx)).await?;
    ///         match socket.try_recv(answer) {
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
    ///             received => return received,
    ///         }
    ///     }
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// # client.connect(server.local_addr()?).await?;
    /// # server.connect(client.local_addr()?).await?;
    /// # reveille::spawn(async move {
    /// #     server.recv(&mut [0; 1500]).await?;
    /// #     server.send(b"42").await
    /// # });
    /// let mut answer = [0; 1500];
    /// let n = ask(&client, b"six by seven?", &mut answer).await?;
    /// assert_eq!(&answer[..n], b"42");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    /// Polls [`writable`](UdpSocket::writable), by tokio's name.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    /// ENOTCONN if it is not: getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// What receives one datagram, as a future.
    fn receiving<R>(
        &self,
        mut receive: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        self.io.async_io(Interest::READABLE, move |socket| {
            self.refuse_glued()?;
            receive(socket.as_fd())
        })
    }

    /// As [`receiving`](UdpSocket::receiving), without waiting.
    fn try_receiving<R>(
        &self,
        receive: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.io.try_io(Interest::READABLE, |socket| {
            self.refuse_glued()?;
            receive(socket.as_fd())
        })
    }

    /// Polls what [`receiving`](UdpSocket::receiving) waits for.
    fn poll_receiving<R>(
        &self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.io.poll_io(cx, Interest::READABLE, |socket| {
            self.refuse_glued()?;
            receive(socket.as_fd())
        })
    }

    /// What sends one datagram, as a future.
    fn sending(
        &self,
        mut send: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> impl Future<Output = io::Result<usize>> {
        let send = move |socket: &std::net::UdpSocket| send(socket.as_fd());
        self.io.async_io(Interest::WRITABLE, send)
    }

    /// As [`sending`](UdpSocket::sending), without waiting.
    fn try_sending(
        &self,
        send: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let send = |socket: &std::net::UdpSocket| send(socket.as_fd());
        self.io.try_io(Interest::WRITABLE, send)
    }

    /// Polls what [`sending`](UdpSocket::sending) waits for.
    fn poll_sending(
        &self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let send = |socket: &std::net::UdpSocket| send(socket.as_fd());
        self.io.poll_io(cx, Interest::WRITABLE, send)
    }

    /// Asked before each receive of one datagram, which could not say where it ends if several were glued together.
    fn refuse_glued(&self) -> io::Result<()> {
        if self.segmentation.glues() {
            let text =
                "GRO is on, so datagrams may come glued together: receive them by `recv_many`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }

    /// What is known of cutting and gluing: `options` sets it, and `outgoing` learns it from the kernel's errors.
    pub(super) fn segmentation(&self) -> &Segmentation {
        &self.segmentation
    }

    /// What waits, for calls for many datagrams and the macros of `methods`.
    pub(super) fn io(&self) -> &AsyncFd<std::net::UdpSocket> {
        &self.io
    }

    /// What the system calls in `sys` take.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.std().as_fd()
    }

    /// std's socket, for the options that std can set and get.
    pub(super) fn std(&self) -> &std::net::UdpSocket {
        self.io.get_ref()
    }

    /// Other code may receive, too: nothing to do, because no receive proves anything here anyway.
    fn lend(&self) {}
}

/// Spends the budget for so many operations, which a call for many did beside its first, as far as there is any left. It
/// never waits, because what was done has to be returned: the next operation waits.
pub(super) fn spend(operations: usize) {
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..operations {
        // Once it is spent, `consume_budget` would refill it.
        if !has_budget_remaining() || pin!(consume_budget()).poll(cx).is_pending() {
            break;
        }
    }
}

/// Receives a datagram, and says who sent it.
fn recv_from(
    socket: BorrowedFd<'_>,
    buf: &mut [u8],
    flags: libc::c_int,
) -> io::Result<(usize, SocketAddr)> {
    let mut from = SockAddr::EMPTY;
    let n = sys::recv_from(socket, buf, flags, &mut from)?;
    Ok((n, decode(from.written())?))
}

/// As [`recv_from`], into the spare room of a `Vec`.
fn recv_vec_from(socket: BorrowedFd<'_>, buf: &mut Vec<u8>) -> io::Result<(usize, SocketAddr)> {
    let mut from = SockAddr::EMPTY;
    let before = buf.len();
    let n = sys::recv_vec_from(socket, buf, &mut from)?;
    let from = decode(from.written()).inspect_err(|_| buf.truncate(before))?;
    Ok((n, from))
}

/// Gives `buf` room for any datagram if it has none.
fn with_room(buf: &mut Vec<u8>) -> &mut Vec<u8> {
    if buf.capacity() == buf.len() {
        buf.reserve(ROOM);
    }
    buf
}

/// Peeks. Where other code has set SO_PEEK_OFF, a peek begins behind what was peeked before, and EAGAIN means that
/// nothing is there. It must not count as one of the socket, or a receive would wait for a datagram that is there (R10).
fn peek<R>(socket: BorrowedFd<'_>, mut peek: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    match peek() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && sys::holds_bytes(socket) => {}
        outcome => return outcome,
    }
    if sys::get(socket, Int::PEEK_OFFSET).map_or(true, |offset| offset >= 0) {
        let text = "SO_PEEK_OFF is set, and nothing is behind what was peeked before";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    // Without the option a datagram has just come. Or other code has shut down reading: then poll(2) says for ever that
    // something is there, and this waits, as a receive does.
    peek()
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl TryFrom<std::net::UdpSocket> for UdpSocket {
    type Error = io::Error;

    fn try_from(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        UdpSocket::from_std(socket)
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}
