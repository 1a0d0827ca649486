//! Accepting: with the peer's name, in all three forms, and from a listener that is shared.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::task::{Context, Poll};
use std::{io, process};

use reveille::net::{UnixListener, UnixSocket, UnixStream};

use super::step::{Wakes, inside};
use super::{Folder, running, stepping};
use crate::limit::limit;

/// Fault C17. Catches: a name that is lost, cut or mixed up; a connection that is lost because of its name.
#[test]
fn a_connection_is_accepted_with_the_name_of_its_peer() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let at = folder.path("server");
        let listener = UnixListener::bind(&at).unwrap();
        let _unnamed = UnixStream::connect(&at).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert!(peer.is_unnamed());

        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(folder.path("client")).unwrap();
        let _named = socket.connect(&at).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.as_pathname(), Some(&*folder.path("client")));
        assert_eq!(
            server.peer_addr().unwrap().as_pathname(),
            Some(&*folder.path("client"))
        );
        assert_eq!(server.local_addr().unwrap().as_pathname(), Some(&*at));
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*at));

        let name = format!("reveille-{}-\0client", process::id());
        let socket = UnixSocket::new_stream().unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        socket.bind_addr(&address).unwrap();
        let address = SocketAddr::from_pathname(&at).unwrap();
        let _abstract = socket.connect_addr(&address).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.as_abstract_name(), Some(name.as_bytes()));
    });
}

/// Fault C17. Catches: a peer that ends a server by its name, for which std's type has no room.
#[test]
fn a_peer_whose_path_has_no_nul_behind_it_is_accepted() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let at = folder.path("server");
        let listener = UnixListener::bind(&at).unwrap();
        let (client, path) = bound_without_a_nul(&folder);
        // Connected by std, whose address has room for the path of the server.
        connect(&client, &at);
        let (server, peer) = listener.accept().await.unwrap();
        assert!(peer.is_unnamed(), "not a path that is cut");
        let peer = server.peer_addr().unwrap();
        assert_eq!(peer.as_pathname().unwrap().as_os_str().as_bytes(), path);
    });
}

/// A sockaddr_un, byte for byte: unix(7).
fn sockaddr(path: &[u8]) -> [u8; size_of::<libc::sockaddr_un>()] {
    let family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap();
    let mut bytes = [0; size_of::<libc::sockaddr_un>()];
    bytes[..2].copy_from_slice(&family.to_ne_bytes());
    bytes[2..2 + path.len()].copy_from_slice(path);
    bytes
}

/// A socket bound to a path of 108 bytes, which fills all of a sockaddr_un.
fn bound_without_a_nul(folder: &Folder) -> (OwnedFd, Vec<u8>) {
    let socket = UnixSocket::new_stream().unwrap();
    let socket = socket.as_fd().try_clone_to_owned().unwrap();
    let mut path = folder.path("client").as_os_str().as_bytes().to_vec();
    path.resize(108, b'x');
    let address = sockaddr(&path);
    let len = libc::socklen_t::try_from(address.len()).unwrap();
    // SAFETY: bind(2) reads `len` bytes through the pointer, which is that of a live array of this size.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), len) };
    assert_eq!(bound, 0, "{}", io::Error::last_os_error());
    (socket, path)
}

/// Connects a socket to a short path.
fn connect(socket: &OwnedFd, path: &Path) {
    let address = sockaddr(path.as_os_str().as_bytes());
    let len = libc::socklen_t::try_from(address.len()).unwrap();
    // SAFETY: connect(2) reads `len` bytes through the pointer, which is that of a live array of this size.
    let connected = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), len) };
    assert_eq!(connected, 0, "{}", io::Error::last_os_error());
}

/// R10. Catches: a form of accept that does not see a connection, is not woken by one, or waits where it should not.
#[test]
fn a_connection_is_accepted_in_all_three_forms() {
    let _limit = limit(30);
    stepping(|runtime| {
        let folder = Folder::new();
        let at = folder.path("server");
        let listener = UnixListener::bind(&at).unwrap();
        let (wakes, waker) = Wakes::new();
        let poll = || {
            inside(runtime, || {
                listener.poll_accept(&mut Context::from_waker(&waker))
            })
        };
        assert!(poll().is_pending());
        runtime.turn().unwrap();
        let none = inside(runtime, || listener.try_accept()).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::WouldBlock);
        let _clients = [(); 3].map(|()| StdStream::connect(&at).unwrap());
        assert_eq!(wakes.count(), 0);
        runtime.turn().unwrap();
        assert_eq!(wakes.count(), 1);
        assert!(matches!(poll(), Poll::Ready(Ok(_))));
        inside(runtime, || listener.try_accept()).unwrap();
        runtime.block_on(listener.accept()).unwrap();
        assert!(poll().is_pending());
        drop(listener);
    });
}

/// Catches: a mistake of the program's, for which a sandbox is blamed.
#[test]
fn a_unix_socket_without_an_address_cannot_listen_and_the_error_says_why() {
    let _limit = limit(30);
    let socket = UnixSocket::new_stream().unwrap();
    let error = socket.listen(8).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("not bound"), "{error}");
    assert!(!error.to_string().contains("sandbox"), "{error}");
}

/// Fault A30. Catches: a listener that is shared, blocks the thread, and with it every task.
#[test]
fn a_sharer_that_makes_a_unix_listener_block_does_not_stop_the_loop() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let std_listener = StdListener::bind(folder.path("std")).unwrap();
        let sharer = std_listener.try_clone().unwrap();
        let from_std = UnixListener::from_std(std_listener).unwrap();
        let lent = UnixListener::bind(folder.path("lent")).unwrap();
        let sharer_of_lent = StdListener::from(lent.as_fd().try_clone_to_owned().unwrap());
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(folder.path("socket")).unwrap();
        let sharer_of_socket = StdListener::from(socket.as_fd().try_clone_to_owned().unwrap());
        let of_socket = socket.listen(8).unwrap();
        for (listener, sharer) in [
            (from_std, sharer),
            (lent, sharer_of_lent),
            (of_socket, sharer_of_socket),
        ] {
            sharer.set_nonblocking(false).unwrap();
            poll_fn(|cx| {
                assert!(listener.poll_accept(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            let at = listener.local_addr().unwrap();
            let _client = StdStream::connect_addr(&at).unwrap();
            listener.accept().await.unwrap();
        }
    });
}

/// Fault C17. Catches: a listener of std's that still blocks; one given back that blocks, or is still registered.
#[test]
fn a_listener_goes_from_std_and_back() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let listener = StdListener::bind(folder.path("std")).unwrap();
        let listener = UnixListener::try_from(listener).unwrap();
        poll_fn(|cx| {
            assert!(listener.poll_accept(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(listener.take_error().unwrap().is_none());
        let listener = listener.into_std().unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let _client = StdStream::connect(folder.path("std")).unwrap();
        listener.accept().unwrap();
    });
}

/// Catches: a socket that does not listen and waits for connections.
#[test]
fn accepting_from_what_does_not_listen_is_an_error() {
    let _limit = limit(30);
    running(async || {
        let (stream, _other) = StdStream::pair().unwrap();
        let listener = UnixListener::from_std(OwnedFd::from(stream).into()).unwrap();
        let error = listener.accept().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        let internet = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = internet.local_addr().unwrap();
        let listener = UnixListener::from_std(OwnedFd::from(internet).into()).unwrap();
        let _client = std::net::TcpStream::connect(at).unwrap();
        let error = listener.accept().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    });
}
