//! What the kernel tells of a connection, and the bytes it counts.

use std::io::{Read, Write};
use std::time::Duration;

use reveille::net::TcpStream;

use super::step::Wakes;
use super::{
    End, Reader, counted, delivered, eventually, fill, finish, pair, running, send_urgent, stepping,
};
use crate::limit::limit;

/// Catches: a field read from another place, or in another unit.
#[test]
fn the_kernel_tells_what_it_knows_of_a_connection() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        let mut bytes = vec![0; 10_000];
        ours.write_all(&counted(10_000)).await.unwrap();
        theirs.read_exact(&mut bytes).unwrap();
        theirs.write_all(&counted(2000)).unwrap();
        ours.read_exact(&mut bytes[..2000]).await.unwrap();
        eventually("not acknowledged", || ours.unacked_bytes().unwrap() == 0);
        let info = ours.tcp_info().unwrap();
        assert!(
            info.rtt() > Duration::ZERO && info.rtt() < Duration::from_secs(1),
            "{info:?}"
        );
        assert!(info.rtt_var() < Duration::from_secs(1), "{info:?}");
        assert!(
            info.min_rtt().is_none_or(|least| least <= info.rtt() * 10),
            "{info:?}"
        );
        // TCP_RTO_MIN, 200 ms, and what the round trip adds.
        assert!(info.rto() >= Duration::from_millis(5) && info.rto() < Duration::from_secs(10));
        assert_eq!(
            (info.retransmits(), info.lost(), info.unacked()),
            (0, 0, 0),
            "{info:?}"
        );
        assert_eq!(info.total_retrans(), 0, "{info:?}");
        assert!((1..10_000).contains(&info.cwnd()), "{info:?}");
        assert_eq!(info.ssthresh(), None, "nothing was lost");
        assert!((500..=65_535).contains(&info.send_mss()), "{info:?}");
        assert!((100..=65_535).contains(&info.recv_mss()), "{info:?}");
        assert!(info.bytes_received().is_none_or(|n| n == 2000), "{info:?}");
        assert!(
            info.bytes_acked()
                .is_none_or(|n| (10_000..10_002).contains(&n)),
            "{info:?}"
        );
        assert!(
            info.delivery_rate().is_none_or(|rate| rate > 1000),
            "{info:?}"
        );
        assert!(
            info.pacing_rate().is_none_or(|rate| rate > 1000),
            "{info:?}"
        );

        // A peer that need not answer at once does so 40 ms later.
        let peer = TcpStream::from_std(theirs).unwrap();
        ours.set_nodelay(true).unwrap();
        eventually("all is acknowledged at once", || {
            peer.set_quickack(false).unwrap();
            ours.try_write(b"x").unwrap();
            assert_eq!(ours.unsent_bytes().unwrap(), 0);
            let info = ours.tcp_info().unwrap();
            info.unacked() > 0 && ours.unacked_bytes().unwrap() > 0
        });
    });
}

/// Catches: bytes that were sent and not acknowledged taken for those not sent, or the other way round; bytes that are
/// counted in the wrong direction.
#[test]
fn bytes_are_counted_until_they_are_sent_acknowledged_and_read() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let counts = || {
            let counts = [
                ours.unread_bytes(),
                ours.unacked_bytes(),
                ours.unsent_bytes(),
            ];
            counts.map(Result::unwrap)
        };
        assert_eq!(counts(), [0, 0, 0]);
        theirs.write_all(b"abcde").unwrap();
        delivered(&theirs);
        assert_eq!(counts(), [5, 0, 0]);
        assert_eq!(ours.try_read(&mut [0; 2]).unwrap(), 2);
        assert_eq!(counts(), [3, 0, 0]);
        // Nobody reads, so most stays here.
        let (wakes, waker) = Wakes::new();
        let taken = fill(runtime, &ours, (&wakes, &waker));
        eventually("more is acknowledged", || {
            let [_, unacked, unsent] = counts();
            0 < unsent && unsent <= unacked && unacked < taken
        });
        let mut read = 0;
        while read < taken {
            read += theirs.read(&mut [0; 65_536]).unwrap();
        }
        eventually("not acknowledged", || counts() == [3, 0, 0]);
        // An urgent byte ends what is counted, and the end of the stream does not count.
        send_urgent(&theirs);
        theirs.write_all(b"fg").unwrap();
        finish(&theirs);
        assert_eq!(counts(), [3, 0, 0]);
        assert_eq!(ours.try_read(&mut [0; 9]).unwrap(), 3);
        let mut reader = Reader::new(runtime, &ours);
        assert_eq!(reader.rest(9), End::Eof);
        assert_eq!(&*reader.take(), "fg");
        assert_eq!(counts(), [0, 0, 0]);
    });
}
