//! The options of a UDP socket.
//!
//! Interface: getters and setters of [`UdpSocket`].
//! Invariant: what changes the socket is refused in the child of a fork, where the socket is the parent's, too.
//!
//! On a socket of both families a datagram of IPv4 has its TOS told by IPv4's option, and its address by both: by IPv6's it is
//! mapped, and only IPv4's says which address of ours it came to, if it went to many.
//!
//! Over 400 lines because each option is got and set, with its contract and an example.
//! Read before: `segmentation`, `udp::socket`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::methods::{buffer_sizes, refuse_in_child, set_buffer_size};
use super::super::options::{
    bind_to_device, device, device_of, get_of_v6, ip_options, number, set_option,
};
use super::super::sys::{self, Int};
use super::socket::UdpSocket;

impl UdpSocket {
    /// True if the kernel may glue datagrams together (UDP_GRO).
    pub fn gro(&self) -> bool {
        self.glues()
    }

    /// Sets whether the kernel may glue together datagrams of one sender that have the same length (UDP_GRO, udp(7)): up to
    /// 65,535 bytes of them are one [`Received`](super::Received), whose [`segment`](super::Received::segment) says where to
    /// cut. Less is done for each datagram then. While this is on, only the receives of many
    /// ([`recv_many`](UdpSocket::recv_many), and those named `try_` and `poll_` beside it) receive, with room for so
    /// many bytes each. Less room is `InvalidInput`, and so are other receives, as they could not say where a datagram ends.
    ///
    /// To turn it off is for a socket in which nothing waits: what is glued already stays so, and no longer says where. What
    /// other code sets by setsockopt(2), on what `as_fd` lends, is not noticed here: plain receives take glued datagrams for
    /// one then. [`from_std`](UdpSocket::from_std) looks.
    ///
    /// # Errors
    /// ENOPROTOOPT before Linux 5.0; else as setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::{Batch, Outgoing};
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// ours.set_gro(true)?;
    /// let three = Outgoing::new(b"onetwoend", ours.local_addr()?).with_segment(3);
    /// assert_eq!(theirs.send_many(&[three]).await?.whole(), 1);
    ///
    /// let mut batch = Batch::new(4, 65_535);
    /// let mut datagrams = Vec::new();
    /// while datagrams.len() < 3 {
    ///     ours.recv_many(&mut batch).await?;
    ///     for received in batch.iter() {
    ///         let segment = received.segment().unwrap_or(received.bytes().len());
    ///         datagrams.extend(received.bytes().chunks(segment.max(1)).map(<[u8]>::to_vec));
    ///     }
    /// }
    /// assert_eq!(datagrams, [b"one", b"two", b"end"]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_gro(&self, gro: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        // Not off while the kernel may glue: no plain receive may meet what is glued.
        let before = self.glues();
        self.segmentation().set_glues(true);
        let set = sys::set(self.socket(), Int::UDP_GRO, gro.into());
        let glues = if set.is_ok() { gro } else { before };
        self.segmentation().set_glues(glues);
        set
    }

    /// How many datagrams the kernel cuts a [segmented](super::Outgoing::with_segment) one into: 64, or 1 where it cannot,
    /// or has refused what then passed without. It is for those who choose how much to segment; `send_many` cuts itself then.
    pub fn max_segments(&self) -> usize {
        if self.segmentation().cuts(self.socket()) {
            super::segmentation::MOST_SEGMENTS
        } else {
            1
        }
    }

    /// Sets whether [`recv_many`](UdpSocket::recv_many) says each datagram's mark of congestion (IP_RECVTOS,
    /// IPV6_RECVTCLASS).
    ///
    /// # Errors
    /// As setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::{Batch, Ecn, Outgoing};
    ///
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// ours.set_recv_ecn(true)?;
    /// // The second one is sent as a congested router would have marked it.
    /// let there = ours.local_addr()?;
    /// let sent = [Ecn::Ect0, Ecn::Ce].map(|ecn| Outgoing::new(b"hello", there).with_ecn(ecn));
    /// assert_eq!(theirs.send_many(&sent).await?.whole(), 2);
    ///
    /// let (mut received, mut congested) = (0, 0);
    /// let mut batch = Batch::new(8, 1500);
    /// while received < 2 {
    ///     received += ours.recv_many(&mut batch).await?;
    ///     congested += batch.iter().filter(|datagram| datagram.ecn() == Some(Ecn::Ce)).count();
    /// }
    /// assert_eq!(congested, 1); // The sender should be told, so that it sends less.
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_recv_ecn(&self, on: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        if self.is_v6()? {
            sys::set(self.socket(), Int::RECV_TCLASS, on.into())?;
        }
        sys::set(self.socket(), Int::RECV_TOS, on.into())
    }

    /// Sets whether [`recv_many`](UdpSocket::recv_many) says which address each datagram was sent to, and which of ours
    /// is to answer it (IP_PKTINFO, IPV6_RECVPKTINFO). On a socket of both families an address of IPv4 is mapped
    /// (`::ffff:127.0.0.1`), as the sender's is.
    ///
    /// # Errors
    /// As setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    /// use reveille::net::udp::Batch;
    ///
    /// # reveille::block_on(async {
    /// # let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// # client.set_broadcast(true)?;
    /// let server = UdpSocket::bind("0.0.0.0:0").await?;
    /// server.set_recv_pktinfo(true)?;
    /// let mut batch = Batch::new(1, 1500);
    /// // To one of the server's addresses, and to all: what is sent to all is answered from one, too.
    /// for (to, local) in [("127.0.0.7", "127.0.0.7"), ("127.255.255.255", "127.0.0.1")] {
    ///     client.send_to(b"hello", (to, server.local_addr()?.port())).await?;
    ///     server.recv_many(&mut batch).await?;
    ///     let datagram = batch.iter().next().unwrap();
    ///     assert_eq!(datagram.to(), Some(to.parse().unwrap()));
    ///     assert_eq!(datagram.local(), Some(local.parse().unwrap()));
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_recv_pktinfo(&self, on: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        if self.is_v6()? {
            sys::set(self.socket(), Int::RECV_PKTINFO_V6, on.into())?;
        }
        // Of both families, too: only this one tells which address of ours is to answer what was sent to many over IPv4.
        sys::set(self.socket(), Int::RECV_PKTINFO, on.into())
    }

    /// True of a socket of IPv6, which may serve IPv4, too: it has the options of both.
    fn is_v6(&self) -> io::Result<bool> {
        Ok(self.local_addr()?.is_ipv6())
    }

    /// True if the socket may send to broadcast addresses (SO_BROADCAST).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn broadcast(&self) -> io::Result<bool> {
        self.std().broadcast()
    }

    /// Sets whether the socket may send to broadcast addresses.
    ///
    /// # Errors
    /// As setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// // What is sent to all is received by sockets that are bound to all addresses.
    /// let theirs = UdpSocket::bind("0.0.0.0:0").await?;
    /// let all = ("127.255.255.255", theirs.local_addr()?.port()); // Of the loopback.
    /// let ours = UdpSocket::bind("127.0.0.1:0").await?;
    /// let error = ours.send_to(b"hello", all).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    ///
    /// ours.set_broadcast(true)?;
    /// ours.send_to(b"hello", all).await?;
    /// assert_eq!(theirs.recv(&mut [0; 1500]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().set_broadcast(on)
    }

    /// Joins a multicast group, on the interface that has this address; an unspecified one leaves the choice to the system
    /// (IP_ADD_MEMBERSHIP, ip(7)).
    ///
    /// # Errors
    /// EINVAL if it is no multicast address, EADDRINUSE for a second time, ENODEV without such an interface: setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use std::net::Ipv4Addr;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// let (group, loopback) = (Ipv4Addr::new(239, 255, 77, 79), Ipv4Addr::LOCALHOST);
    /// let member = UdpSocket::bind("0.0.0.0:0").await?;
    /// member.join_multicast_v4(group, loopback)?;
    ///
    /// let sender = UdpSocket::bind("0.0.0.0:0").await?;
    /// sender.set_multicast_if_v4(loopback)?; // The interface by which it goes out.
    /// sender.set_multicast_ttl_v4(1)?; // No router passes it on, as is the default.
    /// sender.set_multicast_loop_v4(true)?; // This machine's members hear it, as is the default.
    /// assert_eq!(sender.multicast_if_v4()?, loopback);
    /// sender.send_to(b"hello", (group, member.local_addr()?.port())).await?;
    /// assert_eq!(member.recv(&mut [0; 1500]).await?, 5);
    ///
    /// member.leave_multicast_v4(group, loopback)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().join_multicast_v4(&group, &interface)
    }

    /// Joins a multicast group, on the interface with this index; 0 leaves the choice to the system (IPV6_ADD_MEMBERSHIP,
    /// ipv6(7)).
    ///
    /// # Errors
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use std::net::Ipv6Addr;
    ///
    /// use reveille::net::UdpSocket;
    ///
    /// # if std::net::UdpSocket::bind("[::1]:0").is_err() {
    /// #     return; // A machine without IPv6.
    /// # }
    /// # reveille::block_on(async {
    /// let group = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x77, 0x79);
    /// let loopback = 1; // Its index, always; that of another interface: if_nametoindex(3).
    /// let member = UdpSocket::bind("[::]:0").await?;
    /// member.join_multicast_v6(&group, loopback)?;
    /// let twice = member.join_multicast_v6(&group, loopback).unwrap_err();
    /// assert_eq!(twice.kind(), ErrorKind::AddrInUse);
    ///
    /// let sender = UdpSocket::bind("[::]:0").await?;
    /// sender.set_multicast_if_v6(loopback)?; // The interface by which it goes out.
    /// sender.set_multicast_hops_v6(1)?; // No router passes it on, as is the default.
    /// sender.set_multicast_loop_v6(true)?; // This machine's members hear it, as is the default.
    /// assert_eq!((sender.multicast_if_v6()?, sender.multicast_hops_v6()?), (loopback, 1));
    ///
    /// member.leave_multicast_v6(&group, loopback)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().join_multicast_v6(group, interface)
    }

    /// Leaves a multicast group that was [joined](UdpSocket::join_multicast_v4) on this interface.
    ///
    /// # Errors
    /// EADDRNOTAVAIL if it was not: setsockopt(2).
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().leave_multicast_v4(&group, &interface)
    }

    /// Leaves a multicast group that was [joined](UdpSocket::join_multicast_v6) on this interface.
    ///
    /// # Errors
    /// EADDRNOTAVAIL if it was not: setsockopt(2).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().leave_multicast_v6(group, interface)
    }

    /// True if multicast that the socket sends over IPv4 comes back to this machine's members (IP_MULTICAST_LOOP).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.std().multicast_loop_v4()
    }

    /// Sets whether multicast over IPv4 comes back.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().set_multicast_loop_v4(on)
    }

    /// True if multicast that the socket sends over IPv6 comes back to this machine's members (IPV6_MULTICAST_LOOP).
    ///
    /// # Errors
    /// ENOPROTOOPT on a socket of IPv4; else as getsockopt(2).
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        Ok(get_of_v6(self.socket(), Int::MULTICAST_LOOP_V6)? != 0)
    }

    /// Sets whether multicast over IPv6 comes back.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().set_multicast_loop_v6(on)
    }

    /// How many routers multicast over IPv4 may pass, plus one; 1 unless set (IP_MULTICAST_TTL).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.std().multicast_ttl_v4()
    }

    /// Sets how many routers multicast over IPv4 may pass, plus one.
    ///
    /// # Errors
    /// `InvalidInput` above 255; else as setsockopt(2).
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        // To the kernel -1 is the default.
        number("a time to live", ttl, 0)?;
        self.std().set_multicast_ttl_v4(ttl)
    }

    /// How many routers multicast over IPv6 may pass, plus one; 1 unless set (IPV6_MULTICAST_HOPS).
    ///
    /// # Errors
    /// ENOPROTOOPT on a socket of IPv4; else as getsockopt(2).
    pub fn multicast_hops_v6(&self) -> io::Result<u32> {
        get_of_v6(self.socket(), Int::MULTICAST_HOPS_V6).map(i32::unsigned_abs)
    }

    /// Sets how many routers multicast over IPv6 may pass, plus one.
    ///
    /// # Errors
    /// `InvalidInput` above 255; ENOPROTOOPT on a socket of IPv4; else as setsockopt(2).
    pub fn set_multicast_hops_v6(&self, hops: u32) -> io::Result<()> {
        // To the kernel -1 is the default.
        let hops = number("a hop limit", hops, 0)?;
        set_option(self.socket(), Int::MULTICAST_HOPS_V6, hops)
    }

    /// The interface from which multicast over IPv4 is sent, by its address; unspecified if that is the system's choice
    /// (IP_MULTICAST_IF).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn multicast_if_v4(&self) -> io::Result<Ipv4Addr> {
        let interface = sys::get(self.socket(), Int::MULTICAST_IF)?;
        Ok(interface.to_ne_bytes().into())
    }

    /// Sets from which interface multicast over IPv4 is sent, by its address.
    ///
    /// # Errors
    /// EADDRNOTAVAIL if none has it: setsockopt(2).
    pub fn set_multicast_if_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        // A struct in_addr, of four bytes.
        let interface = i32::from_ne_bytes(interface.octets());
        sys::set(self.socket(), Int::MULTICAST_IF, interface)
    }

    /// The interface from which multicast over IPv6 is sent, by its index; 0 if that is the system's choice
    /// (IPV6_MULTICAST_IF).
    ///
    /// # Errors
    /// ENOPROTOOPT on a socket of IPv4; else as getsockopt(2).
    pub fn multicast_if_v6(&self) -> io::Result<u32> {
        get_of_v6(self.socket(), Int::MULTICAST_IF_V6).map(i32::unsigned_abs)
    }

    /// Sets from which interface multicast over IPv6 is sent, by its index.
    ///
    /// # Errors
    /// ENODEV if none has it: setsockopt(2).
    pub fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        // As the kernel has it: what is no int is the index of no interface.
        sys::set(self.socket(), Int::MULTICAST_IF_V6, interface as i32)
    }

    /// True if what is sent must not be cut on its way (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER); of a socket of both families, if
    /// that holds for both.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn dont_fragment(&self) -> io::Result<bool> {
        let v6 = self.is_v6()?.then_some(Int::MTU_DISCOVER_V6);
        for option in [Int::MTU_DISCOVER].into_iter().chain(v6) {
            if sys::get(self.socket(), option)? != libc::IP_PMTUDISC_PROBE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets whether what is sent must not be cut on its way, whatever the system knows of that way: for protocols that find
    /// out themselves how much fits, as QUIC does. A datagram that is too long for the device is EMSGSIZE then; one that is
    /// too long for a router is lost, of which a connected socket may be [told](super#errors-of-the-network), by EMSGSIZE. If not, the system finds out, and cuts (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER).
    ///
    /// # Errors
    /// As setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UdpSocket;
    ///
    /// # if std::net::UdpSocket::bind("[::1]:0").is_err() {
    /// #     return; // A machine without IPv6.
    /// # }
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = (UdpSocket::bind("[::1]:0").await?, UdpSocket::bind("[::1]:0").await?);
    /// # ours.connect(theirs.local_addr()?).await?;
    /// // With its headers, the longest datagram of IPv6 is more than the 65,536 bytes of the loopback.
    /// let longest = vec![7; 65_527];
    /// assert!(!ours.dont_fragment()?);
    /// assert_eq!(ours.send(&longest).await?, longest.len()); // In two fragments.
    ///
    /// ours.set_dont_fragment(true)?;
    /// assert!(ours.dont_fragment()?);
    /// let error = ours.send(&longest).await.unwrap_err();
    /// assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        // ip(7): IP_PMTUDISC_PROBE and _WANT; IPv6's have the same numbers (linux/in6.h).
        let discover = if on {
            libc::IP_PMTUDISC_PROBE
        } else {
            libc::IP_PMTUDISC_WANT
        };
        if self.is_v6()? {
            sys::set(self.socket(), Int::MTU_DISCOVER_V6, discover)?;
        }
        sys::set(self.socket(), Int::MTU_DISCOVER, discover)
    }

    ip_options!();
    device!();
    buffer_sizes!();

    /// Takes the error that is pending on the socket, if there is one (SO_ERROR): one that the network has
    /// [reported](super#errors-of-the-network). The socket has it no longer.
    ///
    /// # Errors
    /// As getsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// use reveille::io::Interest;
    /// use reveille::net::UdpSocket;
    ///
    /// # reveille::block_on(async {
    /// // A connected socket hears only its peer, here itself: for others, nothing is at its address.
    /// let other = UdpSocket::bind("127.0.0.1:0").await?;
    /// other.connect(other.local_addr()?).await?;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.connect(other.local_addr()?).await?;
    /// socket.send(b"hello").await?; // It was sent.
    ///
    /// socket.ready(Interest::ERROR).await?;
    /// let error = socket.take_error()?.unwrap();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    /// assert!(socket.take_error()?.is_none());
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        // A child would take the error from its parent.
        refuse_in_child(self.socket())?;
        self.std().take_error()
    }

    /// True if the kernel may glue datagrams together, as far as [`set_gro`](UdpSocket::set_gro) and
    /// [`from_std`](UdpSocket::from_std) know.
    pub(super) fn glues(&self) -> bool {
        self.segmentation().glues()
    }
}
