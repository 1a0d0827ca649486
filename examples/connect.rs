//! A client of a host that has two addresses, of which the first answers nothing: the second one wins the race.
//!
//! ```sh
//! cargo run --example connect
//! connected to the second address
//! a quarter of a second was lost: true
//! two addresses without a listener: ConnectionRefused
//! ```
//!
//! With a host and a port it connects to them, and says where it is: `cargo run --example connect -- localhost:7000`.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use std::{env, io};

use reveille::net::{AddressesError, TcpListener, TcpStream, lookup_host};
use reveille::time::timeout;

fn main() -> io::Result<()> {
    reveille::block_on(async {
        match env::args().nth(1) {
            Some(host) => connect_to(&host).await,
            None => race().await,
        }
    })
}

async fn connect_to(host: &str) -> io::Result<()> {
    for address in lookup_host(host).await? {
        println!("{host} is {address}");
    }
    // There is no limit but the kernel's otherwise, of two minutes.
    let stream = timeout(Duration::from_secs(5), TcpStream::connect(host)).await??;
    println!("connected to {}", stream.peer_addr()?);
    Ok(())
}

async fn race() -> io::Result<()> {
    let silent = Silent::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addresses = [silent.address, listener.local_addr()?];
    let start = Instant::now();
    let stream = TcpStream::connect(&addresses[..]).await?;
    assert_eq!(stream.peer_addr()?, addresses[1]);
    println!("connected to the second address");
    let lost = start.elapsed() >= Duration::from_millis(250);
    println!("a quarter of a second was lost: {lost}");

    // Without their listeners both refuse.
    drop((stream, listener, silent));
    let error = TcpStream::connect(&addresses[..]).await.unwrap_err();
    println!("two addresses without a listener: {:?}", error.kind());
    let tried = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<AddressesError>());
    for (address, error) in tried.into_iter().flat_map(AddressesError::failures) {
        eprintln!("{address}: {error}");
    }
    Ok(())
}

/// An address that answers nothing: a listener that accepts no connection, and whose queue is full.
struct Silent {
    address: SocketAddr,
    _listener: std::net::TcpListener,
    _queue: std::net::TcpStream,
}

impl Silent {
    fn new() -> io::Result<Silent> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        // SAFETY: listen(2) takes two integers. A backlog of 0 has room for one.
        let outcome = unsafe { libc::listen(listener.as_raw_fd(), 0) };
        if outcome == -1 {
            return Err(io::Error::last_os_error());
        }
        let address = listener.local_addr()?;
        Ok(Silent {
            address,
            _listener: listener,
            _queue: std::net::TcpStream::connect(address)?,
        })
    }
}
