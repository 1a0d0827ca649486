//! What is told of a datagram that was received.
//!
//! Interface: [`RecvMeta`], [`Ecn`].
//! Invariant: what the kernel did not say is `None`, and never a guess.
//! Read before: `net::sys::message`. Read next: `udp::batch`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::sys::{ControlMessage, Inbound, decode};

/// What is told of a datagram, but for its bytes; see [`UdpSocket::try_recv_many`](super::UdpSocket::try_recv_many).
///
/// Before the first call it is that of an empty datagram from nowhere, as [`Default`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvMeta {
    /// The sender; 0.0.0.0:0 if the kernel told no address of the internet.
    from: SocketAddr,
    /// In bytes, without those that were cut.
    len: usize,
    /// As MSG_TRUNC says: recvmsg(2).
    truncated: bool,
    /// As UDP_GRO says, and never 0.
    segment: Option<usize>,
    /// As IP_TOS or IPV6_TCLASS says.
    ecn: Option<Ecn>,
    /// As IPV6_PKTINFO says, or else IP_PKTINFO: the address in the header of the packet.
    to: Option<IpAddr>,
    /// As the same options say: an address of ours, of the family of `to`.
    local: Option<IpAddr>,
}

impl RecvMeta {
    /// The sender.
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// How many bytes were received.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty datagram is one like any other"
    )]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there was not room for all; the rest is lost.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// If the bytes are those of several datagrams, how many each of these has, in bytes; the last one may have fewer.
    /// `None` if it is one datagram, as ever without [`set_gro`](super::UdpSocket::set_gro).
    pub fn segment(&self) -> Option<usize> {
        self.segment
    }

    /// Its mark of congestion; `None` without [`set_recv_ecn`](super::UdpSocket::set_recv_ecn).
    pub fn ecn(&self) -> Option<Ecn> {
        self.ecn
    }

    /// The address that it was sent to; `None` without [`set_recv_pktinfo`](super::UdpSocket::set_recv_pktinfo).
    pub fn to(&self) -> Option<IpAddr> {
        self.to
    }

    /// The address of ours to answer from, by [`Outgoing::with_source`](super::Outgoing::with_source). It is
    /// [`to`](RecvMeta::to), unless that is an address of many, of broadcast or multicast: then it is one of the machine on
    /// that network, or `None` over IPv6, where the choice is the system's. `None` without
    /// [`set_recv_pktinfo`](super::UdpSocket::set_recv_pktinfo).
    pub fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// How many datagrams it is.
    pub(super) fn datagrams(&self) -> usize {
        self.segment.map_or(1, |segment| self.len.div_ceil(segment))
    }

    /// As the kernel told it.
    pub(super) fn of(inbound: &Inbound) -> RecvMeta {
        let mut meta = RecvMeta {
            len: inbound.len,
            truncated: inbound.truncated,
            ..RecvMeta::default()
        };
        // Other sockets than those of the internet have none. An error would lose all that came with this call.
        if let Ok(from) = decode(inbound.from.written()) {
            meta.from = from;
        }
        for message in inbound.control.messages() {
            meta.hear(message);
        }
        // The addresses of a socket of both families are IPv6's.
        if let (Some(IpAddr::V6(_)), Some(IpAddr::V4(local))) = (meta.to, meta.local) {
            meta.local = Some(local.to_ipv6_mapped().into());
        }
        meta
    }

    /// udp(7), ip(7), ipv6(7): the kinds that this file's readers ask for; others may have been asked for by other code.
    fn hear(&mut self, message: ControlMessage<'_>) {
        let data = message.data;
        match (message.level, message.kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let segment = data.first_chunk().map(|chunk| i32::from_ne_bytes(*chunk));
                let segment = segment.and_then(|segment| usize::try_from(segment).ok());
                self.segment = segment.filter(|&segment| segment > 0);
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                self.ecn = data.first().map(|&tos| Ecn::of(tos));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                let class = data.first_chunk().map(|chunk| i32::from_ne_bytes(*chunk));
                self.ecn = class.map(|class| Ecn::of(class as u8));
            }
            // struct in_pktinfo: an index, an address of ours, and that in the header of the datagram.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let address = |at: usize| {
                    let octets = data.get(at..)?.first_chunk::<4>()?;
                    Some(IpAddr::from(Ipv4Addr::from(*octets)))
                };
                self.local = address(4);
                // As IPv6's option tells it, where both do.
                self.to = self.to.or(address(8));
            }
            // struct in6_pktinfo: an address and an index. One that is mapped may be of broadcast: of it IPv4's option tells.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let to = data
                    .first_chunk::<16>()
                    .map(|&octets| Ipv6Addr::from(octets));
                self.to = to.map(IpAddr::from);
                if let Some(to) =
                    to.filter(|to| !to.is_multicast() && to.to_ipv4_mapped().is_none())
                {
                    self.local = Some(to.into());
                }
            }
            _ => {}
        }
    }
}

impl Default for RecvMeta {
    fn default() -> RecvMeta {
        RecvMeta {
            from: (Ipv4Addr::UNSPECIFIED, 0).into(),
            len: 0,
            truncated: false,
            segment: None,
            ecn: None,
            to: None,
            local: None,
        }
    }
}

/// A datagram's mark of congestion: the last two bits of its TOS, or traffic class (RFC 3168).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// The sender does not look at marks.
    NotEct = 0b00,
    /// It does; the first of two ways to say so.
    Ect1 = 0b01,
    /// It does; the second of two ways to say so, and the usual one.
    Ect0 = 0b10,
    /// A router on the way was congested.
    Ce = 0b11,
}

impl Ecn {
    /// In a byte of which the other bits are for something else.
    fn of(tos: u8) -> Ecn {
        match tos & 0b11 {
            0b00 => Ecn::NotEct,
            0b01 => Ecn::Ect1,
            0b10 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }
}
