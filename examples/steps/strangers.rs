//! What steps 3 and 4 are put to: a connection is closed while a duplicate of its descriptor lives on, and the next
//! connection is given the same number.

use std::cell::Cell;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use super::{Registration, run, spawn};

/// Says how many clients, of a hundred that did nothing wrong, are closed because another one has hung up.
pub(super) fn strangers() {
    let closed = Rc::new(Cell::new(0));
    for _ in 0..100 {
        let closed = Rc::clone(&closed);
        spawn(async move {
            let (old, old_client) = UnixStream::pair().expect("two sockets");
            // A child that was forked has such duplicates, and so has a thread that writes by a `try_clone`.
            let _duplicate = old.try_clone().expect("one more descriptor");
            let number = old.as_raw_fd();
            let old = Registration::new(old);
            (&old_client).write_all(b"bye").expect("room for 3 bytes");
            old.read(&mut [0; 3]).await.expect("3 bytes");
            drop(old);

            // The lowest number that is free is the one just closed: open(2).
            let (stranger, client) = UnixStream::pair().expect("two sockets");
            assert_eq!(stranger.as_raw_fd(), number);
            let stranger = Registration::new(stranger);
            spawn(async move {
                drop(old_client); // The old connection ends,
                let _closed = (&client).write_all(b"hello"); // and the new one has something to say.
                let answer = Registration::new(client).read(&mut [0; 5]).await;
                if !matches!(answer, Ok(5)) {
                    closed.set(closed.get() + 1);
                }
            });
            let mut hello = [0; 5];
            // 0 bytes: the client has hung up, or so the runtime says. Then `stranger` is closed.
            while let Ok(n @ 1..) = stranger.read(&mut hello).await {
                let mut stream = &stranger.stream;
                stream.write_all(&hello[..n]).expect("room for 5 bytes");
            }
        });
        // One after another, so that the numbers are not mixed up.
        run(Duration::from_secs(10));
    }
    println!("strangers closed: {} of 100", closed.get());
}
