//! `net::addr`: what each type of the trait yields, and what is refused in which words.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::limit::limit;
use crate::net::addr::{Target, ToSocketAddrs};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

/// With the public bound only, as `bind` and `connect` have it.
fn yielded(addresses: impl ToSocketAddrs) -> Vec<SocketAddr> {
    match addresses.target().unwrap() {
        Target::One(address) => vec![address],
        Target::Several(addresses) => addresses,
        Target::Name(name) => panic!("{name:?}"),
    }
}

/// The host that is to be resolved, and the port.
fn name(addresses: impl ToSocketAddrs) -> (String, u16) {
    match addresses.target().unwrap() {
        Target::Name(name) => (name.host, name.port),
        target => panic!("{target:?}"),
    }
}

fn refusal(addresses: impl ToSocketAddrs) -> io::Error {
    addresses.target().unwrap_err()
}

/// Catches: a type that leaves the list; port or address taken from the wrong field of a pair;
/// text parsed as IPv4 only.
#[test]
fn each_type_yields_its_one_address() {
    let _limit = limit(30);
    let v4 = SocketAddr::from((V4, 80));
    let v6 = SocketAddr::from((V6, 80));

    assert_eq!(yielded(v4), [v4]);
    assert_eq!(yielded(SocketAddrV4::new(V4, 80)), [v4]);
    assert_eq!(yielded(SocketAddrV6::new(V6, 80, 0, 0)), [v6]);
    assert_eq!(yielded((IpAddr::V6(V6), 80)), [v6]);
    assert_eq!(yielded((V4, 80)), [v4]);
    assert_eq!(yielded((V6, 80)), [v6]);
    assert_eq!(yielded("192.0.2.7:80"), [v4]);
    assert_eq!(yielded("[2001:db8::7]:80"), [v6]);
    assert_eq!(yielded(String::from("192.0.2.7:80")), [v4]);
    assert_eq!(yielded(("192.0.2.7", 80)), [v4]);
    assert_eq!(yielded(("2001:db8::7", 80)), [v6]);
    assert_eq!(yielded((String::from("192.0.2.7"), 80)), [v4]);
}

/// Catches: an implementation for `&T` that is lost, or is for sized types only.
#[test]
fn a_reference_yields_what_it_refers_to() {
    let _limit = limit(30);
    let v4 = SocketAddr::from((V4, 80));
    let to_address: &SocketAddr = &v4;
    let to_reference: &&(Ipv4Addr, u16) = &&(V4, 80);
    let to_text: &String = &v4.to_string();
    let to_pair: &(&str, u16) = &("192.0.2.7", 80);

    assert_eq!(yielded(to_address), [v4]);
    assert_eq!(yielded(to_reference), [v4]);
    assert_eq!(yielded(to_text), [v4]);
    assert_eq!(yielded(to_pair), [v4]);
}

/// Catches: a slice of which only the first is tried, or which is tried backwards.
#[test]
fn a_slice_yields_all_its_addresses_in_order() {
    let _limit = limit(30);
    let addresses = [80, 81, 79].map(|port| SocketAddr::from((V4, port)));

    assert_eq!(yielded(&addresses[..]), addresses);
}

/// Catches: `Addresses` without an element, after which a caller has neither socket nor error.
#[test]
fn an_empty_slice_is_refused() {
    let _limit = limit(30);
    assert_eq!(refusal(&[][..]).kind(), io::ErrorKind::InvalidInput);
}

/// Fault C17. Catches: a pair that drops the scope, without which a link-local address means
/// nothing, or that takes it for a name.
#[test]
fn an_ipv6_scope_is_kept() {
    let _limit = limit(30);
    let address = "fe80::1".parse().unwrap();
    let scoped = SocketAddr::from(SocketAddrV6::new(address, 80, 0, 2));

    assert_eq!(yielded("[fe80::1%2]:80"), [scoped]);
    assert_eq!(yielded(("fe80::1%2", 80)), [scoped]);
}

/// Catches: a name that is refused; a port or a host cut from the wrong end; an address with an interface's name that
/// does not reach the resolver.
#[test]
fn what_is_no_address_is_a_name() {
    let _limit = limit(30);
    assert_eq!(name("localhost:80"), ("localhost".into(), 80));
    assert_eq!(name(String::from("a.test:0")), ("a.test".into(), 0));
    assert_eq!(name(("localhost", 80)), ("localhost".into(), 80));
    assert_eq!(
        name((String::from("a.test."), 65535)),
        ("a.test.".into(), 65535)
    );
    assert_eq!(name(("fe80::1%eth0", 80)), ("fe80::1%eth0".into(), 80));
    assert_eq!(name("[fe80::1%eth0]:80"), ("fe80::1%eth0".into(), 80));
    // inet_aton(3) knows it, but std does not.
    assert_eq!(name("127.1:80"), ("127.1".into(), 80));
    assert_eq!(
        name(("b\u{fc}cher.test", 1)),
        ("b\u{fc}cher.test".into(), 1)
    );
}

/// Catches: a text whose host or port is not there, and which the resolver is asked for; in a pair, brackets or a port
/// that end up in the address when it is put between brackets.
#[test]
fn text_that_is_neither_address_nor_name_is_refused() {
    let _limit = limit(30);
    let texts = [
        "",
        ":80",
        "192.0.2.7",
        "192.0.2.7:",
        "192.0.2.7:65536",
        " 192.0.2.7:80",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:+80",
        "127.0.0.1:+80",
        "[fe80::1%eth0]",
        "[localhost%eth0:80",
        "local host:80",
        "local\0host:80",
        "[localhost]:80",
        "::1",
        "::1:80",
    ];
    for text in texts {
        assert_eq!(
            refusal(text).kind(),
            io::ErrorKind::InvalidInput,
            "{text:?}"
        );
    }
    for host in [
        "",
        "[::1]",
        "::1]:9",
        "::1]:9\n[",
        "192.0.2.7:80",
        "local\0host",
        "fe80::1 %eth0",
    ] {
        assert_eq!(
            refusal((host, 80)).kind(),
            io::ErrorKind::InvalidInput,
            "{host:?}"
        );
    }
}
