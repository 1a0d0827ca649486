//! `net::tcp::info`: the kernel's struct taken apart, whatever its length.

use std::mem::offset_of;
use std::time::Duration;

use libc::tcp_info;

use super::limit::limit;
use crate::net::TcpInfo;

/// A struct with a number at each of these places, and all ones elsewhere.
fn told(len: usize, numbers: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0xff; 256];
    for (at, number) in numbers {
        bytes[*at..at + number.len()].copy_from_slice(number);
    }
    bytes.truncate(len);
    bytes
}

/// What Linux 6 tells, each number another one.
fn whole(len: usize) -> Option<TcpInfo> {
    let micros = |n: u32| n.to_ne_bytes();
    TcpInfo::parse(&told(
        len,
        &[
            (offset_of!(tcp_info, tcpi_retransmits), &[1]),
            (offset_of!(tcp_info, tcpi_rto), &micros(2)),
            (offset_of!(tcp_info, tcpi_snd_mss), &micros(3)),
            (offset_of!(tcp_info, tcpi_rcv_mss), &micros(4)),
            (offset_of!(tcp_info, tcpi_unacked), &micros(5)),
            (offset_of!(tcp_info, tcpi_lost), &micros(6)),
            (offset_of!(tcp_info, tcpi_rtt), &micros(7)),
            (offset_of!(tcp_info, tcpi_rttvar), &micros(8)),
            (offset_of!(tcp_info, tcpi_snd_ssthresh), &micros(9)),
            (offset_of!(tcp_info, tcpi_snd_cwnd), &micros(10)),
            (offset_of!(tcp_info, tcpi_total_retrans), &micros(11)),
            (104, &12_u64.to_ne_bytes()), // tcpi_pacing_rate
            (120, &13_u64.to_ne_bytes()), // tcpi_bytes_acked
            (128, &14_u64.to_ne_bytes()), // tcpi_bytes_received
            (148, &micros(15)),           // tcpi_min_rtt
            (160, &16_u64.to_ne_bytes()), // tcpi_delivery_rate
        ],
    ))
}

/// Catches: a field read from another place, or in another unit.
#[test]
fn each_field_is_read_from_its_place() {
    let _limit = limit(30);
    for len in [168, 256] {
        let info = whole(len).unwrap();
        assert_eq!(info.retransmits(), 1);
        assert_eq!(info.rto(), Duration::from_micros(2));
        assert_eq!((info.send_mss(), info.recv_mss()), (3, 4));
        assert_eq!((info.unacked(), info.lost()), (5, 6));
        assert_eq!(info.rtt(), Duration::from_micros(7));
        assert_eq!(info.rtt_var(), Duration::from_micros(8));
        assert_eq!((info.ssthresh(), info.cwnd()), (Some(9), 10));
        assert_eq!(info.total_retrans(), 11);
        assert_eq!(info.pacing_rate(), Some(12));
        assert_eq!(info.bytes_acked(), Some(13));
        assert_eq!(info.bytes_received(), Some(14));
        assert_eq!(info.min_rtt(), Some(Duration::from_micros(15)));
        assert_eq!(info.delivery_rate(), Some(16));
    }
}

/// Catches: a byte read that the kernel did not write, which would be one of no meaning; a field that is taken from half
/// its bytes.
#[test]
fn what_the_kernel_does_not_tell_is_none() {
    let _limit = limit(30);
    for len in 0..=168 {
        let Some(info) = whole(len) else {
            assert!(len < 104, "{len}");
            continue;
        };
        assert!(len >= 104, "{len}");
        assert_eq!(info.total_retrans(), 11);
        assert_eq!(info.pacing_rate().is_some(), len >= 112, "{len}");
        assert_eq!(info.bytes_acked().is_some(), len >= 128, "{len}");
        assert_eq!(info.bytes_received().is_some(), len >= 136, "{len}");
        assert_eq!(info.min_rtt().is_some(), len >= 152, "{len}");
        assert_eq!(info.delivery_rate().is_some(), len >= 168, "{len}");
    }
}

/// Catches: a number of the kernel's that means "none", or "not yet", taken for one.
#[test]
fn what_means_none_is_none() {
    let _limit = limit(30);
    let ssthresh = 0x7fff_ffff_u32.to_ne_bytes();
    let at = offset_of!(tcp_info, tcpi_snd_ssthresh);
    let info = TcpInfo::parse(&told(168, &[(at, &ssthresh), (160, &[0; 8])])).unwrap();
    assert_eq!(info.ssthresh(), None);
    assert_eq!(info.pacing_rate(), None);
    assert_eq!(info.min_rtt(), None);
    assert_eq!(info.delivery_rate(), None);
}
