//! Paths and names, as a program writes them.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::process;

use reveille::net::{UnixListener, UnixSocket, UnixStream};

use super::{Folder, running};
use crate::limit::limit;

/// Fault C17. Catches: an abstract name taken for a path, with its NUL or as a file; a name that is not free when its
/// listener is gone.
#[test]
fn a_path_that_begins_with_a_nul_is_an_abstract_name() {
    let _limit = limit(30);
    running(async || {
        let name = format!("\0reveille-{}-addresses", process::id());
        for _ in 0..2 {
            let listener = UnixListener::bind(&name).unwrap();
            let address = listener.local_addr().unwrap();
            assert_eq!(address.as_abstract_name(), Some(&name.as_bytes()[1..]));
            let in_use = UnixListener::bind_addr(&address).unwrap_err();
            assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
            let client = UnixStream::connect(&name).await.unwrap();
            let again = UnixStream::connect_addr(&address).await.unwrap();
            for client in [client, again] {
                let peer = client.peer_addr().unwrap();
                assert_eq!(peer.as_abstract_name(), Some(&name.as_bytes()[1..]));
                listener.accept().await.unwrap();
            }
        }
        let refused = UnixStream::connect(&name).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

/// Fault C17. Catches: a name that the kernel was to choose, and that is empty.
#[test]
fn the_kernel_chooses_a_name_for_the_empty_path() {
    let _limit = limit(30);
    running(async || {
        let listener = UnixListener::bind("").unwrap();
        let address = listener.local_addr().unwrap();
        // unix(7), "Autobind feature": five hexadecimal digits.
        assert_eq!(address.as_abstract_name().unwrap().len(), 5);
        UnixStream::connect_addr(&address).await.unwrap();
        listener.accept().await.unwrap();
    });
}

/// Fault C17. Catches: the longest path refused; a longer one cut, which binds another file, or an error that does not
/// say the limit.
#[test]
fn a_path_has_room_up_to_the_limit_and_no_further() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let mut path = folder.path("").into_os_string().into_encoded_bytes();
        path.resize(107, b'x');
        let longest = OsStr::from_bytes(&path).to_owned();
        let listener = UnixListener::bind(&longest).unwrap();
        UnixStream::connect(&longest).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(server.local_addr().unwrap().as_pathname().unwrap(), longest);
        path.push(b'x');
        let socket = || UnixSocket::new_stream().unwrap();
        for (bytes, text) in [
            (&path[..], "at most 107 bytes, not 108"),
            (b"a\0b", "no NUL"),
        ] {
            let path = OsStr::from_bytes(bytes);
            let errors = [
                UnixListener::bind(path).unwrap_err(),
                UnixStream::connect(path).await.unwrap_err(),
                socket().bind(path).unwrap_err(),
                socket().connect(path).await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(text), "{error}");
            }
        }
    });
}
