//! The glue by itself: what a `Transmit` of quinn's becomes, what quinn is told of a datagram, and its timer.

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use interop_quic::Reveille;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime};
use reveille::task::yield_now;
use reveille::{block_on, spawn, time};

use super::endpoints::socket;
use super::limit::limit;
use super::pattern;

/// quinn's socket, and its address.
pub fn wrap(socket: UdpSocket) -> (Arc<dyn AsyncUdpSocket>, SocketAddr) {
    let socket = Reveille.wrap_udp_socket(socket).unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

/// The bytes of so many datagrams, and what is told of each.
pub async fn receive(socket: &dyn AsyncUdpSocket, datagrams: usize) -> (Vec<u8>, Vec<RecvMeta>) {
    let room = 1500 * socket.max_receive_segments();
    let mut memory = vec![0; 4 * room];
    let (mut bytes, mut told) = (Vec::new(), Vec::new());
    while told.len() < datagrams {
        let mut bufs: Vec<_> = memory.chunks_mut(room).map(IoSliceMut::new).collect();
        let mut metas = [RecvMeta::default(); 4];
        let came = poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut metas)).await;
        for (buf, meta) in bufs.iter().zip(metas).take(came.unwrap()) {
            bytes.extend_from_slice(&buf[..meta.len]);
            // One entry for each datagram, however they came.
            let each = meta.len.div_ceil(meta.stride.max(1)).max(1);
            told.extend(std::iter::repeat_n(meta, each));
        }
    }
    (bytes, told)
}

/// Catches: a mark, a source or a length that is lost on the way from quinn to the wire and back.
#[test]
fn one_transmit_is_many_datagrams_with_its_marks() {
    let _limit = limit(60);
    block_on(async {
        for (sender, receiver) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:0", "[::1]:0"),
            ("[::]:0", "[::1]:0"),
        ] {
            let (sender, from) = wrap(socket(sender));
            let (receiver, to) = wrap(socket(receiver));
            assert!(sender.max_transmit_segments() >= 5);
            for ecn in [EcnCodepoint::Ect0, EcnCodepoint::Ect1, EcnCodepoint::Ce] {
                let sent = pattern(4500, 1);
                let transmit = Transmit {
                    destination: to,
                    ecn: Some(ecn),
                    contents: &sent,
                    segment_size: Some(1000),
                    src_ip: Some(to.ip()),
                };
                sender.try_send(&transmit).unwrap();
                let (bytes, told) = receive(&*receiver, 5).await;
                assert!(bytes == sent);
                if receiver.max_receive_segments() > 1 {
                    assert_eq!(told[0].len, 4500, "it came in parts");
                }
                for meta in told {
                    assert_eq!(meta.ecn, Some(ecn));
                    assert_eq!(meta.dst_ip, Some(to.ip()));
                    assert_eq!(meta.addr, SocketAddr::new(to.ip(), from.port()));
                }
            }
        }
    });
}

/// Catches: a timer that stays at the time for which it was made. quinn would be polled without end from then on.
#[test]
fn a_timer_that_is_set_anew_fires_then_and_not_before() {
    let _limit = limit(60);
    block_on(async {
        time::pause();
        let begun = Reveille.now();
        let mut timer = Reveille.new_timer(begun + Duration::from_secs(1));
        timer.as_mut().reset(begun + Duration::from_secs(10));
        let firing = spawn(poll_fn(move |cx| timer.as_mut().poll(cx)));
        time::advance(Duration::from_secs(9)).await;
        yield_now().await;
        assert!(!firing.is_finished());
        time::advance(Duration::from_secs(1)).await;
        firing.await.unwrap();
    });
}
