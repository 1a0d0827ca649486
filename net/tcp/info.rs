//! What the kernel knows of a connection.
//!
//! Idea: the kernel writes a struct that grew from release to release, and says how many bytes it wrote. They are taken
//! apart in safe code, by the places that linux/tcp.h gives the fields; a field that is not there is `None`.
//!
//! Interface: [`TcpInfo`], and [`TcpStream`]'s methods that count bytes.
//! Invariant: no byte is read that the kernel did not write.
//! Read before: `tcp::stream`.

use std::io;
use std::time::Duration;

use super::super::sys::{self, Bytes, Count};
use super::stream::TcpStream;

/// What the kernel knows of a connection, at one moment: TCP_INFO, tcp(7).
///
/// A segment is what one packet carries. What is `None` on an older kernel names the first release of Linux that has it.
///
/// # Examples
/// ```
/// use reveille::net::{TcpListener, TcpStream};
///
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let stream = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// # stream.write_all(b"ping").await?;
/// # server.read_exact(&mut [0; 4]).await?;
/// let info = stream.tcp_info()?;
/// println!("{:?} there and back, {} segments sent again", info.rtt(), info.total_retrans());
/// # assert!(!info.rtt().is_zero());
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// `tcpi_rtt`; 0 before it was measured.
    rtt: Duration,
    /// `tcpi_rttvar`.
    rtt_var: Duration,
    /// `tcpi_min_rtt`; `None` before it was measured, too.
    min_rtt: Option<Duration>,
    /// `tcpi_rto`.
    rto: Duration,
    /// `tcpi_retransmits`.
    retransmits: u32,
    /// `tcpi_total_retrans`.
    total_retrans: u32,
    /// `tcpi_unacked`, in segments.
    unacked: u32,
    /// `tcpi_lost`, in segments.
    lost: u32,
    /// `tcpi_snd_cwnd`, in segments.
    cwnd: u32,
    /// `tcpi_snd_ssthresh`, in segments; `None` while it is infinite.
    ssthresh: Option<u32>,
    /// `tcpi_snd_mss`, in bytes.
    send_mss: u32,
    /// `tcpi_rcv_mss`, in bytes.
    recv_mss: u32,
    /// `tcpi_pacing_rate`, in bytes a second; `None` without a limit, too.
    pacing_rate: Option<u64>,
    /// `tcpi_delivery_rate`, in bytes a second; `None` before it was measured, too.
    delivery_rate: Option<u64>,
    /// `tcpi_bytes_acked`.
    bytes_acked: Option<u64>,
    /// `tcpi_bytes_received`.
    bytes_received: Option<u64>,
}

impl TcpInfo {
    /// How long a segment and its acknowledgment take, there and back, smoothed; in whole microseconds, and 0 before one
    /// was measured.
    pub const fn rtt(&self) -> Duration {
        self.rtt
    }

    /// How much the [`rtt`](TcpInfo::rtt) varies: its smoothed mean deviation, in whole microseconds.
    pub const fn rtt_var(&self) -> Duration {
        self.rtt_var
    }

    /// The shortest round trip of late: by default of the last five minutes; in whole microseconds. `None` before one
    /// was measured, and before Linux 4.6.
    pub const fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt
    }

    /// How long the kernel waits for an acknowledgment before it sends again, in whole microseconds.
    pub const fn rto(&self) -> Duration {
        self.rto
    }

    /// How often the oldest unacknowledged segment was sent again after such a wait; 0 as soon as something is
    /// acknowledged.
    pub const fn retransmits(&self) -> u32 {
        self.retransmits
    }

    /// How many segments were sent again since the connection was made.
    pub const fn total_retrans(&self) -> u32 {
        self.total_retrans
    }

    /// How many segments were sent and are not acknowledged. In bytes, and with what was not sent yet, that is
    /// [`unacked_bytes`](TcpStream::unacked_bytes).
    pub const fn unacked(&self) -> u32 {
        self.unacked
    }

    /// How many of the unacknowledged segments the kernel takes for lost.
    pub const fn lost(&self) -> u32 {
        self.lost
    }

    /// The congestion window: how many segments may be unacknowledged at once.
    pub const fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// The window from which on the congestion window grows slowly, in segments; `None` as long as nothing was lost.
    pub const fn ssthresh(&self) -> Option<u32> {
        self.ssthresh
    }

    /// The most bytes that a segment to the peer carries.
    pub const fn send_mss(&self) -> u32 {
        self.send_mss
    }

    /// The most bytes that a segment of the peer seems to carry: an estimate.
    pub const fn recv_mss(&self) -> u32 {
        self.recv_mss
    }

    /// How fast the kernel would send, in bytes a second; `None` if it has no limit, and before Linux 3.15.
    pub const fn pacing_rate(&self) -> Option<u64> {
        self.pacing_rate
    }

    /// How fast the peer got what was sent, in bytes a second, measured lately. If there was not always something to send,
    /// more may be possible. `None` before it was measured, and before Linux 4.9.
    pub const fn delivery_rate(&self) -> Option<u64> {
        self.delivery_rate
    }

    /// How many bytes the peer has acknowledged. The packets that begin and end a connection may count as one each.
    /// `None` before Linux 4.1.
    pub const fn bytes_acked(&self) -> Option<u64> {
        self.bytes_acked
    }

    /// How many bytes were received, without gaps. The packet that ends the connection counts as one. `None` before Linux
    /// 4.1.
    pub const fn bytes_received(&self) -> Option<u64> {
        self.bytes_received
    }

    /// Takes the kernel's struct apart; `None` if not even what Linux 2.6 knew is there.
    pub(crate) fn parse(told: &[u8]) -> Option<TcpInfo> {
        // The fields of struct tcp_info, include/uapi/linux/tcp.h, by their places in bytes.
        let u8_at = |at| field(told, at).map(u8::from_ne_bytes).map(u32::from);
        let u32_at = |at| field(told, at).map(u32::from_ne_bytes);
        let u64_at = |at| field(told, at).map(u64::from_ne_bytes);
        let micros_at = |at| u32_at(at).map(|micros| Duration::from_micros(micros.into()));
        Some(TcpInfo {
            retransmits: u8_at(2)?,  // tcpi_retransmits
            rto: micros_at(8)?,      // tcpi_rto
            send_mss: u32_at(16)?,   // tcpi_snd_mss
            recv_mss: u32_at(20)?,   // tcpi_rcv_mss
            unacked: u32_at(24)?,    // tcpi_unacked
            lost: u32_at(32)?,       // tcpi_lost
            rtt: micros_at(68)?,     // tcpi_rtt
            rtt_var: micros_at(72)?, // tcpi_rttvar
            // TCP_INFINITE_SSTHRESH, net/tcp.h.
            ssthresh: Some(u32_at(76)?).filter(|&it| it < 0x7fff_ffff), // tcpi_snd_ssthresh
            cwnd: u32_at(80)?,                                          // tcpi_snd_cwnd
            total_retrans: u32_at(100)?,                                // tcpi_total_retrans
            pacing_rate: u64_at(104).filter(|&rate| rate < u64::MAX),   // tcpi_pacing_rate
            bytes_acked: u64_at(120),                                   // tcpi_bytes_acked
            bytes_received: u64_at(128),                                // tcpi_bytes_received
            // All ones before the first measurement: tcp_min_rtt, net/tcp.h.
            min_rtt: micros_at(148).filter(|it| it.as_micros() < u32::MAX.into()), // tcpi_min_rtt
            delivery_rate: u64_at(160).filter(|&rate| rate > 0), // tcpi_delivery_rate
        })
    }
}

/// Where the last field ends that is asked for.
const ROOM: usize = 168;

/// `None` if the kernel wrote less.
fn field<const N: usize>(told: &[u8], at: usize) -> Option<[u8; N]> {
    told.get(at..)?.first_chunk().copied()
}

/// What the kernel knows of the connection.
impl TcpStream {
    /// What the kernel knows of the connection: times, losses, rates (TCP_INFO, tcp(7)).
    ///
    /// # Errors
    /// `InvalidData` if the kernel tells less than Linux does; else as getsockopt(2).
    ///
    /// # Examples
    /// What has reached the other side, and what has come from there:
    /// ```
    /// # use reveille::net::{TcpListener, TcpStream};
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.write_all(b"ping").await?;
    /// server.read_exact(&mut [0; 4]).await?;
    /// server.write_all(b"pong").await?;
    /// client.read_exact(&mut [0; 1]).await?;
    /// // The answer came with the acknowledgment of all that was sent.
    /// assert_eq!((client.unacked_bytes()?, client.unread_bytes()?), (0, 3));
    /// let info = client.tcp_info()?;
    /// assert_eq!(info.unacked(), 0);
    /// assert!(info.bytes_received().is_none_or(|bytes| bytes >= 4)); // `None` before Linux 4.1.
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn tcp_info(&self) -> io::Result<TcpInfo> {
        let mut told = [0; ROOM];
        let len = sys::get_bytes(self.socket(), Bytes::TCP_INFO, &mut told)?;
        TcpInfo::parse(&told[..len]).ok_or_else(|| {
            let text =
                format!("the kernel tells {len} bytes of a connection, and Linux at least 104");
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    /// How many bytes have arrived, in order, and were not read (SIOCINQ, tcp(7)). In front of an urgent byte it is the
    /// number of those up to it.
    ///
    /// # Errors
    /// As ioctl(2).
    pub fn unread_bytes(&self) -> io::Result<usize> {
        sys::count(self.socket(), Count::UNREAD)
    }

    /// How many bytes were written that the peer's kernel has not acknowledged, sent or not (SIOCOUTQ, tcp(7)). Whether
    /// the peer's program has read them does not count. The end of writing counts as a byte.
    ///
    /// # Errors
    /// As ioctl(2).
    pub fn unacked_bytes(&self) -> io::Result<usize> {
        sys::count(self.socket(), Count::UNACKED)
    }

    /// How many of the bytes that were written are not sent yet, because the network or the peer has no room for them
    /// (SIOCOUTQNSD, linux/sockios.h). The end of writing counts as a byte.
    ///
    /// # Errors
    /// As ioctl(2).
    pub fn unsent_bytes(&self) -> io::Result<usize> {
        sys::count(self.socket(), Count::UNSENT)
    }
}
