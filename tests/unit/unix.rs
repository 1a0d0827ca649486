//! The addresses of Unix sockets, between std, the kernel and what a program writes; and Unix sockets where the kernel
//! says what a test cannot make it say.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use super::limit::limit;
use crate::net::sys::{self, LONGEST_PATH, UnixAddr, faults};
use crate::net::unix::addr::address;
use crate::net::{UnixListener, UnixStream};
use crate::time::timeout;

/// What an address says: of std's type this is all that can be compared.
#[derive(Debug, PartialEq)]
enum Said {
    Unnamed,
    Path(Vec<u8>),
    Abstract(Vec<u8>),
}

fn said(address: &SocketAddr) -> Said {
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => Said::Path(path.as_os_str().as_bytes().to_vec()),
        (None, Some(name)) => Said::Abstract(name.to_vec()),
        (None, None) => {
            assert!(address.is_unnamed());
            Said::Unnamed
        }
    }
}

fn of(bytes: &[u8]) -> std::io::Result<SocketAddr> {
    address(Path::new(OsStr::from_bytes(bytes)))
}

/// The bytes of a sockaddr_un with this in `sun_path`.
fn sockaddr(path: &[u8]) -> Vec<u8> {
    let family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap();
    [&family.to_ne_bytes(), path].concat()
}

/// Fault C17. Catches: a NUL too many or too few, at any length; an abstract name taken for a path.
#[test]
fn unix_addresses_are_encoded_and_decoded_at_every_length() {
    let _limit = limit(30);
    assert_eq!(LONGEST_PATH, 107);
    for len in 1..=LONGEST_PATH {
        let path = vec![b'p'; len];
        let encoded = UnixAddr::encode(&of(&path).unwrap());
        let with_nul = [&path[..], &[0]].concat();
        assert_eq!(encoded.written(), sockaddr(&with_nul), "{len}");
        // The kernel says the NUL, too; a peer need not have.
        for written in [&with_nul, &path] {
            let decoded = sys::decode_unix(&sockaddr(written)).unwrap();
            assert_eq!(said(&decoded), Said::Path(path.clone()), "{len}");
        }
    }
    for len in 0..=LONGEST_PATH {
        // An abstract name may have NULs: they are bytes like any other.
        for byte in [b'a', 0, 0xff] {
            let name = vec![byte; len];
            let with_nul = [&[0], &name[..]].concat();
            let encoded = UnixAddr::encode(&of(&with_nul).unwrap());
            assert_eq!(encoded.written(), sockaddr(&with_nul), "{len}");
            let decoded = sys::decode_unix(encoded.written()).unwrap();
            assert_eq!(said(&decoded), Said::Abstract(name), "{len}");
        }
    }
}

/// Fault C17. Catches: an unnamed peer taken for an error, or for one with a name.
#[test]
fn a_unix_socket_without_a_name_is_unnamed() {
    let _limit = limit(30);
    let encoded = UnixAddr::encode(&of(b"").unwrap());
    assert_eq!(encoded.written(), sockaddr(b""));
    // The family only, or nothing at all: what accept4(2) and recvfrom(2) write.
    for written in [&sockaddr(b"")[..], b""] {
        assert_eq!(said(&sys::decode_unix(written).unwrap()), Said::Unnamed);
    }
    // A path that std's type does not take is no shorter path.
    let whole = sockaddr(&[b'p'; 108]);
    assert_eq!(said(&sys::decode_unix(&whole).unwrap()), Said::Unnamed);
    let inet = sys::SockAddr::encode(&(std::net::Ipv4Addr::LOCALHOST, 80).into());
    let error = sys::decode_unix(inet.written()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

/// Fault C17. Catches: a path that is cut, so that another socket is bound; an error that does not say the limit.
#[test]
fn a_unix_path_that_is_too_long_is_an_error_that_says_the_limit() {
    let _limit = limit(30);
    for (bytes, text) in [
        (
            vec![b'p'; 108],
            "the path of a Unix socket has at most 107 bytes, not 108",
        ),
        (
            vec![b'p'; 4096],
            "the path of a Unix socket has at most 107 bytes, not 4096",
        ),
        (
            vec![0; 109],
            "the abstract name of a Unix socket has at most 107 bytes, not 108",
        ),
        (
            b"/run/a\0b".to_vec(),
            "the path of a Unix socket has no NUL; in front, one makes it an abstract name",
        ),
    ] {
        let error = of(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), text);
    }
}

/// Fault C17. Catches: bytes that the kernel takes for another name.
#[test]
fn the_kernel_agrees_with_the_encoding_of_unix_addresses() {
    let _limit = limit(30);
    let directory = std::env::temp_dir().join(format!("reveille-unix-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let short = directory.join("s").into_os_string().into_encoded_bytes();
    let long = [&short[..], &vec![b'l'; LONGEST_PATH - short.len()]].concat();
    let unique = format!("\0reveille-unix-{}", std::process::id()).into_bytes();
    let holes = [&unique[..], b"\0\0b\0"].concat();
    let longest = [&unique[..], &vec![b'n'; 108 - unique.len()]].concat();
    for bytes in [short, long, unique, holes, longest] {
        let socket = sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM).unwrap();
        sys::bind(socket.as_fd(), &UnixAddr::encode(&of(&bytes).unwrap())).unwrap();
        let socket = UnixDatagram::from(socket);
        let bound = socket.local_addr().unwrap();
        assert_eq!(said(&bound), said(&of(&bytes).unwrap()));
        let client = sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM).unwrap();
        let connected = sys::connect(client.as_fd(), &UnixAddr::encode(&of(&bytes).unwrap()));
        assert_eq!(connected.unwrap(), sys::Connecting::Connected);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// Fault A15. Catches: a connect that was interrupted and counts as made; one that is waited for, though a Unix socket
/// does not go on alone.
#[test]
fn a_connect_of_a_unix_socket_that_is_interrupted_is_made_again() {
    let _limit = limit(30);
    crate::block_on(async {
        let listener = UnixListener::bind("").unwrap();
        let at = listener.local_addr().unwrap();
        for _ in 0..2 {
            faults::inject("connect", libc::EINTR);
        }
        let client = UnixStream::connect_addr(&at).await.unwrap();
        client.write_all(b"x").await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

/// Faults A13, A14. Catches: a Unix listener that is not the engine's: its server ends at the first error, or at a limit.
#[test]
fn a_unix_listener_outlives_errors_and_limits() {
    let _limit = limit(30);
    crate::block_on(async {
        let listener = UnixListener::bind("").unwrap();
        let at = listener.local_addr().unwrap();
        for errno in [libc::ECONNABORTED, libc::EMFILE, libc::ENOMEM] {
            faults::inject("accept4", errno);
            let _client = UnixStream::connect_addr(&at).await.unwrap();
            let accepted = timeout(Duration::from_secs(20), listener.accept()).await;
            accepted.unwrap().unwrap();
        }
    });
}
