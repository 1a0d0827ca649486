//! Connecting: to a queue that is full, to a listener that is gone, to what is no listener.

use std::cell::Cell;
use std::fs;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use reveille::Runtime;
use reveille::net::{UnixListener, UnixSocket, UnixStream};
use reveille::task::yield_now;
use reveille::time::{sleep, timeout};

use super::step::poll;
use super::{Folder, running};
use crate::limit::limit;

/// A listener whose queue is full, and the connections in it.
async fn full(folder: &Folder) -> (UnixListener, Vec<UnixStream>) {
    let socket = UnixSocket::new_stream().unwrap();
    socket.bind(folder.path("full")).unwrap();
    let listener = socket.listen(0).unwrap();
    let mut queue = Vec::new();
    // Then it waits, or is an error outside a runtime.
    while let Some(Ok(connected)) = at_once(UnixStream::connect(folder.path("full"))) {
        queue.push(connected);
    }
    assert_eq!(queue.len(), 1, "a backlog of 0 has room for one");
    (listener, queue)
}

/// What a future comes to in one poll.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match poll(&mut pin!(future), Waker::noop()) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Counts how often it is polled.
async fn counted<F: Future>(polls: Rc<Cell<usize>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
    .await
}

/// Fault C2. Catches: EAGAIN returned, or taken for a listener that is gone; a wait for an event, which never comes;
/// a loop that tries without a pause, or with pauses that grow beyond 50 ms.
#[test]
fn connects_to_a_full_queue_wait_without_spinning_and_are_all_served() {
    let _limit = limit(60);
    running(async || {
        let folder = Folder::new();
        let (listener, _first) = full(&folder).await;
        let (connected, polls) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (connected, polls) = (Rc::clone(&connected), Rc::clone(&polls));
                let connect = UnixStream::connect(folder.path("full"));
                reveille::spawn(async move {
                    let stream = counted(polls, connect).await;
                    connected.set(connected.get() + 1);
                    stream
                })
            })
            .collect();
        let began = Instant::now();
        sleep(Duration::from_millis(300)).await;
        assert_eq!(connected.get(), 0);
        // After 1, 2, 4, 8, 16 and 32 ms, and then every 50.
        let most = 8 + began.elapsed().as_millis() / 50;
        let polled = polls.get() as u128;
        assert!((4 * 4..=4 * most).contains(&polled), "{polled} polls");
        let mut served = Vec::new();
        for n in 1..=4 {
            // Room for one, and one takes it, within the longest pause: or else this ends at its limit.
            served.push(listener.accept().await.unwrap());
            let waited = timeout(Duration::from_secs(5), async {
                while connected.get() < n {
                    sleep(Duration::from_millis(1)).await;
                }
            });
            waited
                .await
                .expect("none of those that wait takes the room");
            assert_eq!(connected.get(), n);
        }
        served.push(listener.accept().await.unwrap());
        assert_eq!(
            listener.try_accept().unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        for client in clients {
            client.await.unwrap().unwrap();
        }
    });
}

/// Fault C2. Catches: a pause that grows for ever: the listener has room, and nobody comes.
#[test]
fn a_connect_that_waited_long_is_quick_when_there_is_room() {
    let _limit = limit(60);
    running(async || {
        let folder = Folder::new();
        let (listener, _first) = full(&folder).await;
        let mut connect = pin!(UnixStream::connect(folder.path("full")));
        let early = timeout(Duration::from_millis(600), &mut connect).await;
        assert!(early.is_err());
        listener.accept().await.unwrap();
        // A pause of 50 ms; doubled on, it would be 1 s by now.
        let late = timeout(Duration::from_millis(400), connect).await;
        late.expect("the pauses grow on").unwrap();
    });
}

/// Fault C2. Catches: a connect that was given up and connects all the same, or keeps its socket.
#[test]
fn a_connect_that_is_given_up_leaves_nothing() {
    let _limit = limit(60);
    running(async || {
        let folder = Folder::new();
        let (listener, _first) = full(&folder).await;
        for _ in 0..3 {
            let connect = UnixStream::connect(folder.path("full"));
            let given_up = timeout(Duration::from_millis(20), connect).await;
            assert!(given_up.is_err());
        }
        listener.accept().await.unwrap();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(
            listener.try_accept().unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// Fault C2. Catches: a pause where nothing can end it.
#[test]
fn outside_a_runtime_a_full_queue_is_an_error() {
    let _limit = limit(30);
    let folder = Folder::new();
    let (listener, _first) = at_once(full(&folder)).unwrap();
    let connect = at_once(UnixStream::connect(folder.path("full")));
    let error = connect.expect("it waits outside a runtime").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    // And with room it needs none.
    listener.try_accept().unwrap();
    let connect = at_once(UnixStream::connect(folder.path("full")));
    connect.expect("there is room").unwrap();
}

/// Fault C2. Catches: a file that is removed, or bound over, by the library; a listener that is gone and looks busy.
#[test]
fn the_file_of_a_listener_that_is_gone_refuses_and_stays() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let at = folder.path("stale");
        drop(UnixListener::bind(&at).unwrap());
        let refused = UnixStream::connect(&at).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
        let in_use = UnixListener::bind(&at).unwrap_err();
        assert_eq!(in_use.raw_os_error(), Some(libc::EADDRINUSE));
        // What the page says to do.
        fs::remove_file(&at).unwrap();
        let listener = UnixListener::bind(&at).unwrap();
        UnixStream::connect(&at).await.unwrap();
        listener.accept().await.unwrap();
    });
}

/// Catches: an errno that means something here and is taken for a refusal by a sandbox.
#[test]
fn what_cannot_be_connected_to_is_an_error_that_says_why() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let errno = async |path| {
            let error: io::Error = UnixStream::connect(path).await.unwrap_err();
            error.raw_os_error().unwrap_or_else(|| panic!("{error}"))
        };
        assert_eq!(errno(folder.path("none")).await, libc::ENOENT);
        fs::write(folder.path("file"), "").unwrap();
        assert_eq!(errno(folder.path("file")).await, libc::ECONNREFUSED);
        assert_eq!(errno(folder.path("file/below")).await, libc::ENOTDIR);
        let _datagrams = UnixDatagram::bind(folder.path("datagrams")).unwrap();
        assert_eq!(errno(folder.path("datagrams")).await, libc::EPROTOTYPE);
        assert_eq!(errno("".into()).await, libc::EINVAL);
    });
}

/// Fault B41. Catches: a connect that connects at once, again and again, and lets no other task run.
#[test]
fn a_loop_of_connects_lets_others_run() {
    let _limit = limit(60);
    running(async || {
        let folder = Folder::new();
        let others = Rc::new(Cell::new(0));
        let count = Rc::clone(&others);
        let other = reveille::spawn(async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
        });
        for _ in 0..1000 {
            UnixStream::connect(folder.path("none")).await.unwrap_err();
        }
        assert!(others.get() >= 5, "{} polls of another task", others.get());
        other.abort();
    });
}

/// Catches: a socket that is bound, and connects without its name; a listener with another queue than was asked for.
#[test]
fn a_socket_is_bound_before_it_connects() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(folder.path("server")).unwrap();
        assert_eq!(
            socket
                .bind(folder.path("other"))
                .unwrap_err()
                .raw_os_error(),
            Some(libc::EINVAL)
        );
        socket.set_send_buffer_size(10_000).unwrap();
        assert_eq!(socket.send_buffer_size().unwrap(), 20_000);
        let listener = socket.listen(3).unwrap();
        let mut queue = Vec::new();
        while let Some(connected) = at_once(UnixStream::connect(folder.path("server"))) {
            queue.push(connected.unwrap());
        }
        assert_eq!(queue.len(), 4);
        listener.accept().await.unwrap();
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(folder.path("client")).unwrap();
        let client = socket.connect(folder.path("server")).await.unwrap();
        assert_eq!(
            client.local_addr().unwrap().as_pathname(),
            Some(&*folder.path("client"))
        );
        for _ in 0..3 {
            listener.accept().await.unwrap();
        }
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.as_pathname(), Some(&*folder.path("client")));
    });
}

/// Catches: a socket for datagrams that becomes a stream or a listener.
#[test]
fn a_socket_for_datagrams_is_no_stream() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let _listener = UnixListener::bind(folder.path("listener")).unwrap();
        let socket = || UnixSocket::new_datagram().unwrap();
        let connect = socket().connect(folder.path("listener")).await;
        for (error, call) in [
            (socket().listen(1).unwrap_err(), "`listen`"),
            (connect.unwrap_err(), "`connect`"),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().starts_with(call), "{error}");
        }
    });
}

/// Fault C2. Catches: a pause that was begun inside a runtime, and panics when it is polled outside.
#[test]
fn a_connect_that_leaves_its_runtime_is_an_error() {
    let _limit = limit(30);
    let folder = Folder::new();
    let runtime = Runtime::new().unwrap();
    let (_listener, _first) = runtime.block_on(full(&folder));
    let mut connect = Box::pin(UnixStream::connect(folder.path("full")));
    let waits = runtime.block_on(async { poll(&mut connect, Waker::noop()).is_pending() });
    assert!(waits);
    let Poll::Ready(Err(error)) = poll(&mut connect, Waker::noop()) else {
        panic!("nothing could end its pause");
    };
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
}
