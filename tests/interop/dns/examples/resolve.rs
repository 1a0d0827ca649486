//! Resolves a name without a thread: by hickory's resolver on reveille's sockets, where `reveille::net::lookup_host` asks
//! the system's resolver on a thread of its pool.
//!
//!     cd tests/interop/dns
//!     cargo run --example resolve -- example.com              # asks the servers of /etc/resolv.conf
//!     cargo run --example resolve -- example.com 127.0.0.1:53 # asks this one
//!
//! It prints the addresses, a line each; names in /etc/hosts are answered from there. What was found can be connected to, by its address:
//! `TcpStream::connect(&addresses[..])` races them.

use std::env;
use std::error::Error;
use std::net::SocketAddr;

use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use interop_dns::Reveille;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().ok_or("usage: resolve NAME [SERVER]")?;
    let builder = match arguments.next() {
        None => Resolver::builder(Reveille)?,
        Some(server) => Resolver::builder_with_config(only(server.parse()?), Reveille),
    };
    let resolver = builder.build()?;
    reveille::block_on(async {
        for address in resolver.lookup_ip(name).await?.iter() {
            println!("{address}");
        }
        Ok(())
    })
}

/// One server; it is asked by TCP where an answer is too long for UDP.
fn only(server: SocketAddr) -> ResolverConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    ResolverConfig::from_parts(None, Vec::new(), vec![config])
}
