//! Many datagrams sent by one call.
//!
//! Interface: [`Outgoing`], [`Sent`], with [`UdpSocket::send_many`].
//! Invariants:
//! - What [`Sent`] says was sent, was sent once, and nothing behind it was.
//! - An error is about the first datagram of the call, or reported about an earlier one, and nothing was sent. One of a later
//!   datagram ends the call before it; sendmmsg(2) loses that error, and the next call, which begins with that datagram, hears it.
//!
//! A segmented [`Outgoing`] is one message that the kernel cuts, or, where that is refused, as many messages as it has
//! datagrams. So the call can stop in the middle of one:
//! ```text
//!   outgoing      [ a ][ b b b ][ c ]       the kernel cuts: messages a, bbb, c
//!                                           it does not:     messages a, b, b, b, c
//!   three messages were sent, and it does not cut: whole = 1, bytes_of_next = those of two datagrams of b
//! ```
//! Over 400 lines because each method has its contract and an example.
//! Read before: `segmentation`, `meta`. Read next: `udp::options`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use super::super::sys::{self, MOST_MESSAGES, Outbound, SockAddr};
use super::meta::Ecn;
use super::segmentation::{LONGEST_SENT, MOST_SEGMENTS, Segmentation};
use super::socket::{UdpSocket, spend};
use crate::io::Interest;

/// A datagram to be sent, or several of the same size to one address, for [`UdpSocket::send_many`].
///
/// # Examples
/// ```
/// use reveille::net::UdpSocket;
/// use reveille::net::udp::Outgoing;
///
/// # reveille::block_on(async {
/// # let (socket, other) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
/// # let peer = other.local_addr()?;
/// // Three datagrams, of 1200, 1200 and 100 bytes.
/// let bytes = [7; 2500];
/// let mut outgoing = Outgoing::new(&bytes, peer).with_segment(1200);
/// loop {
///     let sent = socket.send_many(&[outgoing]).await?;
///     if sent.whole() == 1 {
///         break;
///     }
///     outgoing = outgoing.skip(sent.bytes_of_next());
/// }
/// # for len in [1200, 1200, 100] {
/// #     assert_eq!(other.recv(&mut [0; 2000]).await?, len);
/// # }
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Those of all its datagrams, one after the other.
    bytes: &'a [u8],
    /// `None` is the peer of the socket.
    to: Option<SocketAddr>,
    /// In bytes, as the caller asked: see [`cut`](Outgoing::cut) and [`check`](Outgoing::check).
    segment: Option<usize>,
    /// `None` is what the socket's options say.
    ecn: Option<Ecn>,
    /// `None` is the address of the socket, or the system's choice.
    source: Option<IpAddr>,
}

impl<'a> Outgoing<'a> {
    /// One datagram of these bytes, to this address.
    pub const fn new(bytes: &'a [u8], to: SocketAddr) -> Outgoing<'a> {
        Outgoing {
            to: Some(to),
            ..Outgoing::to_peer(bytes)
        }
    }

    /// One datagram of these bytes, to the peer that the socket is [connected](UdpSocket::connect) to.
    pub const fn to_peer(bytes: &'a [u8]) -> Outgoing<'a> {
        Outgoing {
            bytes,
            to: None,
            segment: None,
            ecn: None,
            source: None,
        }
    }

    /// Cuts the bytes into datagrams of so many; the last one may have fewer. At most 64 datagrams and, if it is more than
    /// one, 65,507 bytes are sent so. They should fit the network, or they travel in fragments, and are cut by the CPU here.
    pub const fn with_segment(mut self, bytes: usize) -> Outgoing<'a> {
        self.segment = Some(bytes);
        self
    }

    /// Sends it with this mark, as the whole of its TOS byte, or traffic class: what was set by
    /// [`set_tos_v4`](UdpSocket::set_tos_v4) does not hold for it.
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::{Batch, Ecn, Outgoing};
    ///
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// ours.connect(theirs.local_addr()?).await?;
    /// theirs.set_recv_ecn(true)?;
    /// // Says that marks are heeded: a router that is congested need not drop it then (RFC 3168).
    /// let marked = Outgoing::to_peer(b"hello").with_ecn(Ecn::Ect0);
    /// assert_eq!(ours.send_many(&[marked]).await?.whole(), 1);
    ///
    /// let mut batch = Batch::new(1, 1500);
    /// theirs.recv_many(&mut batch).await?;
    /// // That router would have made `Ecn::Ce` of it.
    /// assert_eq!(batch.iter().next().unwrap().ecn(), Some(Ecn::Ect0));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub const fn with_ecn(mut self, ecn: Ecn) -> Outgoing<'a> {
        self.ecn = Some(ecn);
        self
    }

    /// Sends it from this address of ours, so that an answer comes from where the question went:
    /// [`Received::local`](super::Received::local). It is of the family of the address that it is sent to; as IPv4's both count,
    /// an address of IPv4 and one that is mapped (`::ffff:127.0.0.1`).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::{Batch, Outgoing};
    ///
    /// # reveille::block_on(async {
    /// // All of 127.0.0.0/8 is this machine, and the server is at each of these addresses.
    /// let server = UdpSocket::bind("0.0.0.0:0").await?;
    /// server.set_recv_pktinfo(true)?;
    /// let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// client.connect(("127.0.0.7", server.local_addr()?.port())).await?;
    /// client.send(b"question").await?;
    ///
    /// let mut batch = Batch::new(1, 1500);
    /// server.recv_many(&mut batch).await?;
    /// let question = batch.iter().next().unwrap();
    /// let mut answer = Outgoing::new(b"answer", question.from());
    /// if let Some(local) = question.local() {
    ///     answer = answer.with_source(local); // 127.0.0.7
    /// }
    /// assert_eq!(server.send_many(&[answer]).await?.whole(), 1);
    /// // What came from another address would not get through to a client that is connected.
    /// assert_eq!(client.recv(&mut [0; 1500]).await?, 6);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub const fn with_source(mut self, source: IpAddr) -> Outgoing<'a> {
        self.source = Some(source);
        self
    }

    /// What is left of it after its first `n` bytes; see [`Sent::bytes_of_next`].
    ///
    /// # Panics
    /// If it has fewer bytes.
    #[must_use]
    #[track_caller]
    pub fn skip(self, n: usize) -> Outgoing<'a> {
        let bytes = &self.bytes[n..];
        Outgoing { bytes, ..self }
    }

    /// How many bytes of it go into a datagram, if it is more than one.
    fn cut(&self) -> Option<usize> {
        self.segment.filter(|&segment| segment < self.bytes.len())
    }

    /// `peer` is the socket's.
    fn check(&self, peer: Option<SocketAddr>) -> io::Result<()> {
        let invalid = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let is_v4 = |address: IpAddr| address.to_canonical().is_ipv4();
        match self.cut() {
            // The kernel would overlook it.
            _ if self
                .source
                .zip(self.to.or(peer))
                .is_some_and(|(source, to)| is_v4(source) != is_v4(to.ip())) =>
            {
                invalid("the source is of another family than the address that it is sent to")
            }
            _ if self.segment == Some(0) => invalid("a segment has at least one byte"),
            Some(_) if self.bytes.len() > LONGEST_SENT => {
                invalid("what is segmented has at most 65,507 bytes")
            }
            Some(segment) if self.bytes.len().div_ceil(segment) > MOST_SEGMENTS => {
                invalid("what is segmented has at most 64 segments")
            }
            _ => Ok(()),
        }
    }

    /// How many bytes go into a message.
    fn part(&self, kernel_cuts: bool) -> usize {
        match self.cut() {
            Some(segment) if !kernel_cuts => segment,
            _ => self.bytes.len(),
        }
    }

    /// How many messages it takes.
    fn messages(&self, kernel_cuts: bool) -> usize {
        // An empty datagram is one, too.
        let part = self.part(kernel_cuts).max(1);
        self.bytes.len().div_ceil(part).max(1)
    }

    /// The message that begins with byte `at`.
    fn message(&self, at: usize, kernel_cuts: bool) -> Outbound<'a> {
        let rest = &self.bytes[at..];
        let mut message = Outbound {
            bytes: &rest[..rest.len().min(self.part(kernel_cuts))],
            to: self.to.as_ref().map(SockAddr::encode),
            ..Outbound::EMPTY
        };
        let mut push = |level, kind, data: &[u8]| {
            let has_room = message.control.push(level, kind, data);
            debug_assert!(has_room, "`Outbound` has room for all of them");
        };
        if let Some(segment) = self.cut().filter(|_| kernel_cuts) {
            // Less than 65,507, which was checked.
            let segment = segment as u16;
            push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        if let Some(ecn) = self.ecn {
            // Each family heeds its own, and what an IPv6 socket sends to an address of IPv4 heeds IPv4's.
            let tos = i32::from(ecn as u8).to_ne_bytes();
            push(libc::IPPROTO_IP, libc::IP_TOS, &tos);
            push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &tos);
        }
        // Any interface: 0. See `RecvMeta` for the structs.
        match self.source.map(|source| source.to_canonical()) {
            Some(IpAddr::V4(source)) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&source.octets());
                push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(IpAddr::V6(source)) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&source.octets());
                push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        message
    }
}

/// How far [`UdpSocket::send_many`] came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "what was not sent is to be sent by the next call"]
pub struct Sent {
    /// So many are done, from the first on.
    whole: usize,
    /// A multiple of the segment of the one behind those, and less than all its bytes.
    bytes_of_next: usize,
}

impl Sent {
    /// So many of the [`Outgoing`] were sent, the first ones.
    pub fn whole(&self) -> usize {
        self.whole
    }

    /// And of the next one so many bytes: more than 0 only if it is segmented. [`Outgoing::skip`] makes the rest of it.
    pub fn bytes_of_next(&self) -> usize {
        self.bytes_of_next
    }

    /// After so many messages.
    fn after(mut messages: usize, outgoing: &[Outgoing<'_>], kernel_cuts: bool) -> Sent {
        let mut sent = Sent::default();
        for next in outgoing {
            let needed = next.messages(kernel_cuts);
            if messages < needed {
                sent.bytes_of_next = messages * next.part(kernel_cuts);
                break;
            }
            messages -= needed;
            sent.whole += 1;
        }
        sent
    }

    /// Spends the budget for what was sent beyond the first datagram, for which `poll_io` spends. These datagrams are
    /// sent by now: the budget never makes a call send less, and once it is spent the next operation waits.
    fn spend_on(self, outgoing: &[Outgoing<'_>]) {
        let whole = outgoing[..self.whole].iter().map(|one| one.messages(false));
        let next = outgoing.get(self.whole);
        let of_next = next.map_or(0, |next| self.bytes_of_next / next.part(false).max(1));
        spend((whole.sum::<usize>() + of_next).saturating_sub(1));
    }
}

impl UdpSocket {
    /// Sends datagrams, in order, waiting for room for the first, and returns how far it came: that may be less than all.
    /// One call sends at most 32 (each of which the kernel may cut, see [`with_segment`](Outgoing::with_segment)), and
    /// stops before one for which there is no room, or that fails. Call it again with what is left, until nothing is.
    /// No `outgoing` is nothing to send. Each datagram is an operation of the [budget](crate::task::coop).
    ///
    /// Where the kernel cannot cut a [segmented](Outgoing::with_segment) one, this cuts it.
    ///
    /// # Errors
    /// Those of the first datagram, or what the network has [reported](super#errors-of-the-network) about an earlier one, and
    /// nothing was sent: as [`send_to`](UdpSocket::send_to), and `InvalidInput` for a segment of 0 bytes, beyond the limits of
    /// [`with_segment`](Outgoing::with_segment), and for a [source](Outgoing::with_source) of another family; ENETUNREACH and
    /// EINVAL (of which the text names the call, and `raw_os_error` is `None`) for a source that is not ours. Where a sandbox
    /// refuses sendmmsg(2), the datagrams go one by one.
    ///
    /// A report of EMSGSIZE that meets a segmented one is lost: it looks like a refusal to cut.
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    pub fn send_many(&self, outgoing: &[Outgoing<'_>]) -> impl Future<Output = io::Result<Sent>> {
        self.io().async_io(Interest::WRITABLE, |_| {
            let sent = self.send_many_now(outgoing)?;
            sent.spend_on(outgoing);
            Ok(sent)
        })
    }

    /// Sends datagrams for which there is room, without waiting; see [`send_many`](UdpSocket::send_many).
    ///
    /// # Errors
    /// `WouldBlock` if there is no room for the first; else as [`send_many`](UdpSocket::send_many).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::Outgoing;
    ///
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// ours.connect(theirs.local_addr()?).await?;
    /// let outgoing = [Outgoing::to_peer(b"hello"); 40];
    /// let mut left = &outgoing[..];
    /// while !left.is_empty() {
    ///     match ours.try_send_many(left) {
    ///         Ok(sent) => left = &left[sent.whole()..], // At most 32 by a call.
    ///         // There is no room: what is left is for another time.
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # for _ in left.len()..40 {
    /// #     assert_eq!(theirs.recv(&mut [0; 1500]).await?, 5);
    /// # }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_send_many(&self, outgoing: &[Outgoing<'_>]) -> io::Result<Sent> {
        self.io()
            .try_io(Interest::WRITABLE, |_| self.send_many_now(outgoing))
    }

    /// Polls [`send_many`](UdpSocket::send_many).
    ///
    /// # Errors
    /// As [`send_many`](UdpSocket::send_many).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::io;
    /// use std::task::{Context, Poll, ready};
    ///
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::Outgoing;
    ///
    /// /// Sends all that is `left`, and leaves there what still is when it has to wait.
    /// fn poll_send_all(
    ///     socket: &UdpSocket,
    ///     cx: &mut Context<'_>,
    ///     left: &mut &[Outgoing<'_>],
    /// ) -> Poll<io::Result<()>> {
    ///     while !left.is_empty() {
    ///         let sent = ready!(socket.poll_send_many(cx, left))?;
    ///         *left = &left[sent.whole()..]; // These are not segmented, so none is sent in part.
    ///     }
    ///     Poll::Ready(Ok(()))
    /// }
    ///
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// let outgoing = [Outgoing::new(b"hello", theirs.local_addr()?); 40];
    /// let mut left = &outgoing[..];
    /// poll_fn(|cx| poll_send_all(&ours, cx, &mut left)).await?;
    /// for _ in 0..40 {
    ///     assert_eq!(theirs.recv(&mut [0; 1500]).await?, 5);
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_send_many(
        &self,
        cx: &mut Context<'_>,
        outgoing: &[Outgoing<'_>],
    ) -> Poll<io::Result<Sent>> {
        self.io().poll_io(cx, Interest::WRITABLE, |_| {
            let sent = self.send_many_now(outgoing)?;
            sent.spend_on(outgoing);
            Ok(sent)
        })
    }

    /// Tries once to send. If an error may mean that the kernel refuses to cut the first one, that one is tried again,
    /// alone and cut here.
    fn send_many_now(&self, outgoing: &[Outgoing<'_>]) -> io::Result<Sent> {
        let Some(first) = outgoing.first() else {
            return Ok(Sent::default());
        };
        let is_cut = outgoing.iter().any(|one| one.cut().is_some());
        let kernel_cuts = is_cut && self.segmentation().cuts(self.socket());
        match self.send_messages(outgoing, kernel_cuts) {
            Err(error)
                if kernel_cuts && first.cut().is_some() && Segmentation::may_be_why(&error) =>
            {
                let sent = self.send_messages(&outgoing[..1], false)?;
                if sent.whole == 1 {
                    self.segmentation().passed_without(&error);
                }
                Ok(sent)
            }
            sent => sent,
        }
    }

    /// Sends what one call takes.
    fn send_messages(&self, outgoing: &[Outgoing<'_>], kernel_cuts: bool) -> io::Result<Sent> {
        let asks = |one: &Outgoing<'_>| one.source.is_some() && one.to.is_none();
        let peer = outgoing.iter().any(asks).then(|| self.peer_addr().ok());
        let peer = peer.flatten();
        match outgoing {
            // One needs no array.
            [only] if only.messages(kernel_cuts) == 1 => {
                only.check(peer)?;
                sys::send_message(self.socket(), &only.message(0, kernel_cuts))?;
                return Ok(Sent::after(1, outgoing, kernel_cuts));
            }
            _ => {}
        }
        outgoing.first().map_or(Ok(()), |first| first.check(peer))?;
        // Chaos sends fewer datagrams, but never less of one.
        let most = self.io().registration().offer(MOST_MESSAGES);
        // What cannot be sent ends the call before it; the next call, which begins with it, says why.
        let good = outgoing.iter().take_while(|next| next.check(peer).is_ok());
        let messages = good.flat_map(|next| {
            let parts = 0..next.messages(kernel_cuts);
            parts.map(move |part| next.message(part * next.part(kernel_cuts), kernel_cuts))
        });
        let sent = sys::send_many(self.socket(), messages.take(most))?;
        Ok(Sent::after(sent, outgoing, kernel_cuts))
    }
}
