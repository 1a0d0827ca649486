//! The echo server of datagrams: sends each back to its sender.
//!
//! ```text
//! cargo run --release --example udp_echo          # or: -- '[::]:7005', or port 0 for a free one
//! listening on 127.0.0.1:7005
//!
//! printf hi | socat -t 1 - UDP:127.0.0.1:7005     # in another terminal
//! hi
//! ```
//!
//! It ends on Ctrl-C or SIGTERM. What to look for: up to 32 datagrams are received by one system call, and sent back by one
//! more, so the busier the server is, the less each costs. Nothing is allocated meanwhile. A datagram that cannot be
//! answered ends nothing: a datagram can say that it is from port 0. An answer comes from the address that the question
//! went to, which matters on a machine with several; what was sent to many, by multicast or broadcast, is answered from an
//! address of the interface it came by. (On the Internet a forged sender makes an echo server send to the address that was
//! forged: keep this one at home.)

use std::io;

use futures_lite::future::or;
use reveille::net::UdpSocket;
use reveille::net::udp::{Batch, Outgoing, Received};
use reveille::signal::unix::{SignalKind, signal};

/// The longest datagram, in bytes.
const LONGEST: usize = 65_535;

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or("127.0.0.1:7005".to_owned());
    reveille::block_on(async {
        let socket = UdpSocket::bind(address.as_str()).await?;
        socket.set_recv_pktinfo(true)?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        println!("listening on {}", socket.local_addr()?);
        let signalled = async { io::Result::Ok(or(interrupt.recv(), terminate.recv()).await) };
        or(signalled, async { echo(&socket).await.map(|()| None) }).await?;
        Ok(())
    })
}

/// Answers until receiving fails.
async fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut batch = Batch::new(Batch::MOST, LONGEST);
    loop {
        socket.recv_many(&mut batch).await?;
        // On the stack, because these borrow from the batch.
        let mut answers = [Outgoing::to_peer(&[]); Batch::MOST];
        for (place, datagram) in answers.iter_mut().zip(batch.iter()) {
            *place = answer(datagram);
        }
        let mut left = &answers[..batch.iter().len()];
        while !left.is_empty() {
            // An error is about the first of them: this socket has no peer, about which it could be.
            let sent = socket.send_many(left).await.map_or(1, |sent| sent.whole());
            left = &left[sent..];
        }
    }
}

fn answer(datagram: Received<'_>) -> Outgoing<'_> {
    let answer = Outgoing::new(datagram.bytes(), datagram.from());
    match datagram.local() {
        Some(ours) => answer.with_source(ours),
        None => answer, // It went to many, and the system chooses.
    }
}
