//! What steps 5 and 6 are put to: a client waits for an echo, while a task wakes itself whenever it is polled.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::{Registration, run, spawn, timeout};

/// After so many polls the busy task gives up.
const ENOUGH: u32 = 100_000;
/// For so long a client may be silent.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends back what comes, until the client ends or is silent for too long.
pub(super) async fn serve(client: Registration) {
    let mut buf = [0; 64];
    while let Some(Ok(n @ 1..)) = timeout(PATIENCE, client.read(&mut buf)).await {
        if (&client.stream).write_all(&buf[..n]).is_err() {
            break;
        }
    }
}

/// Says how often the busy task is polled before the client has its echo.
pub(super) fn starve() {
    let (stream, client) = UnixStream::pair().expect("two sockets");
    spawn(serve(Registration::new(stream)));
    let polls = Rc::new(Cell::new(0));
    let echoed = Rc::new(Cell::new(false));

    spawn({
        let echoed = Rc::clone(&echoed);
        async move {
            let client = Registration::new(client);
            let mut stream = &client.stream;
            stream.write_all(b"hello").expect("room for 5 bytes");
            assert!(matches!(client.read(&mut [0; 5]).await, Ok(5)));
            echoed.set(true);
        }
    });
    spawn({
        let polls = Rc::clone(&polls);
        poll_fn(move |cx| {
            if echoed.get() || polls.get() == ENOUGH {
                return Poll::Ready(());
            }
            polls.set(polls.get() + 1);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    });
    run(Duration::from_secs(10));
    eprintln!("{} polls before the echo", polls.get());
    match polls.get() {
        ..200 => println!("polls before the echo: < 200"),
        polls => println!("polls before the echo: {polls}"),
    }
}
