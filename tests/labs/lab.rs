//! The scenes of the labs: `cargo run --example lab -- SCENE` plays one and says what can be seen.
//!
//! Each scene is a small program on reveille, and prints the same at each run. The labs, on the page `labs` of the
//! documentation, each edit one place of the library and play one scene: what it prints then is the lesson. A scene
//! that has come to no end after three seconds is given up, and says whether the processor was busy meanwhile.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::{self, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use std::{env, fs, panic, process, thread};

use reveille::io::{AsyncFd, Interest};
use reveille::net::{TcpListener, TcpStream, UnixStream};
use reveille::runtime::Handle;
use reveille::task::yield_now;
use reveille::time::{sleep, timeout};
use reveille::{block_on, spawn};

/// Tried so often by the scene `wait`: told where that is given up, too.
static TRIES: AtomicU32 = AtomicU32::new(0);

const LIMIT: Duration = Duration::from_secs(3);
const MOMENT: Duration = Duration::from_millis(50);

fn main() -> io::Result<()> {
    panic::set_hook(Box::new(|panic| {
        let (text, file) = (panic.to_string(), panic.location().map(|at| at.file()));
        let what = if text.contains("already") && text.contains("borrowed") {
            "already borrowed"
        } else {
            text.lines().last().unwrap_or("")
        };
        println!("panic in {}: {what}", file.unwrap_or("?"));
    }));
    thread::spawn(give_up);
    match env::args().nth(1).as_deref() {
        Some("echo") => block_on(echo()),
        Some("turns") => block_on(turns()),
        Some("wake") => block_on(wake()),
        Some("many") => block_on(many()),
        Some("starve") => block_on(starve()),
        Some("greedy") => block_on(greedy()),
        Some("thread") => block_on(other_thread()),
        Some("batch") => block_on(batch()),
        Some("stale") => block_on(stale()),
        Some("ghost") => block_on(ghost()),
        Some("foreign") => block_on(foreign()),
        Some("wait") => block_on(wait()),
        Some("parcel") => block_on(parcel()),
        Some("naps") => block_on(naps()),
        Some("limits") => block_on(limits()),
        Some("moved") => block_on(moved()),
        Some("unread") => block_on(unread()),
        Some("look") => block_on(look()),
        _ => Err(io::Error::other("which scene? echo, say")),
    }
}

/// Ends the program if its scene does not end: a processor that was used for a tenth of that time was busy.
fn give_up() {
    thread::sleep(LIMIT);
    if TRIES.load(Ordering::Relaxed) > 0 {
        println!("tries: {}", class(TRIES.load(Ordering::Relaxed).into()));
    }
    // Fields 14 and 15 of proc_pid_stat(5): ticks of 10 ms. The second field, in parentheses, may contain anything.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or("").split(' ');
    let ticks: u64 = fields.skip(12).take(2).flat_map(str::parse::<u64>).sum();
    let busy = if ticks > 30 { "busy" } else { "at rest" };
    println!("given up after 3 s, the processor {busy}");
    process::exit(1);
}

/// A count that is not the same at each run, as one that is.
fn class(count: u64) -> &'static str {
    match count {
        0..=1_000 => "at most 1,000",
        1_001..=5_000 => "more than 1,000",
        _ => "more than 5,000",
    }
}

/// A client says hello to a server.
async fn echo() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    spawn(async move {
        let (stream, _peer) = listener.accept().await?;
        let mut buf = [0; 100];
        while let n @ 1.. = stream.read(&mut buf).await? {
            let answer = &buf[..n];
            stream.write_all(answer).await?;
        }
        io::Result::Ok(())
    });
    let client = TcpStream::connect(address).await?;
    println!("the client says: hello");
    client.write_all(b"hello").await?;
    let mut buf = [0; 5];
    client.read_exact(&mut buf).await?;
    println!("the server answers: {}", String::from_utf8_lossy(&buf));
    Ok(())
}

/// Three tasks give way to one another.
async fn turns() -> io::Result<()> {
    let tasks = ["A", "B", "C"].map(|name| {
        spawn(async move {
            println!("{name} begins");
            yield_now().await;
            println!("{name} ends");
        })
    });
    for task in tasks {
        task.await?;
    }
    Ok(())
}

/// A task is woken in the middle of its poll, and by nothing else.
async fn wake() -> io::Result<()> {
    let mut polls = 0;
    let task = spawn(poll_fn(move |cx| {
        polls += 1;
        println!("poll {polls}");
        cx.waker().wake_by_ref();
        if polls < 3 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }));
    Ok(task.await?)
}

/// A task is woken fifty times before its turn comes.
async fn many() -> io::Result<()> {
    let polls = Rc::new(Cell::new(0));
    let waker = Rc::new(RefCell::new(Waker::noop().clone()));
    let (count, kept) = (Rc::clone(&polls), Rc::clone(&waker));
    spawn(poll_fn(move |cx| {
        count.set(count.get() + 1);
        *kept.borrow_mut() = cx.waker().clone();
        Poll::<()>::Pending
    }));
    yield_now().await;
    polls.set(0);
    for _ in 0..50 {
        waker.borrow().wake_by_ref();
    }
    sleep(MOMENT).await;
    println!("50 wakes, polls: {}", polls.get());
    Ok(())
}

/// A task wakes itself at each poll; another has one thing to do.
async fn starve() -> io::Result<()> {
    let other = spawn(async { println!("the other task has had its turn") });
    spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    Ok(other.await?)
}

/// A task writes to itself and reads that, without an end; another has one thing to do.
async fn greedy() -> io::Result<()> {
    let (a, b) = UnixStream::pair()?;
    spawn(async move {
        loop {
            a.write_all(b"x").await?;
            if b.read(&mut [0; 1]).await? == 0 {
                return io::Result::Ok(());
            }
        }
    });
    spawn(async { println!("the other task has had its turn") }).await?;
    Ok(())
}

/// A task waits for what another thread does.
async fn other_thread() -> io::Result<()> {
    let done = Arc::new(Mutex::new((false, Waker::noop().clone())));
    let theirs = Arc::clone(&done);
    thread::spawn(move || {
        thread::sleep(MOMENT);
        let mut done = theirs.lock().unwrap();
        done.0 = true;
        println!("the thread wakes the task");
        done.1.wake_by_ref();
    });
    poll_fn(|cx| {
        let mut done = done.lock().unwrap();
        done.1.clone_from(cx.waker());
        if done.0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    println!("the task was woken");
    Ok(())
}

/// A waker of another executor, which does something when it is woken.
struct Foreign<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Foreign<F> {
    fn wake(self: Arc<Self>) {
        self.0();
    }
}

fn foreign_waker(does: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Foreign(does)))
}

/// Three futures of another executor wait for one socket; the waker of the first panics.
async fn batch() -> io::Result<()> {
    let (socket, peer) = StdStream::pair()?;
    socket.set_nonblocking(true)?;
    let socket = AsyncFd::new(socket)?;
    let woken = Arc::new(AtomicU32::new(0));
    let count = |panics: bool| {
        let woken = Arc::clone(&woken);
        foreign_waker(move || {
            woken.fetch_add(1, Ordering::Relaxed);
            assert!(!panics, "this waker panics");
        })
    };
    let (mut first, mut second, mut third) = (
        pin!(socket.readable()),
        pin!(socket.readable()),
        pin!(socket.readable()),
    );
    assert!(
        first
            .as_mut()
            .poll(&mut Context::from_waker(&count(true)))
            .is_pending()
    );
    assert!(
        second
            .as_mut()
            .poll(&mut Context::from_waker(&count(false)))
            .is_pending()
    );
    assert!(
        third
            .as_mut()
            .poll(&mut Context::from_waker(&count(false)))
            .is_pending()
    );
    (&peer).write_all(b"x")?;
    sleep(MOMENT).await;
    println!("wakers woken: {} of 3", woken.load(Ordering::Relaxed));
    Ok(())
}

/// A descriptor is closed behind the runtime's back, while a duplicate keeps its socket open. Then a new socket
/// is waited for, and the old one receives a byte.
async fn stale() -> io::Result<()> {
    let (old, peer) = StdStream::pair()?;
    old.set_nonblocking(true)?;
    let _duplicate = old.try_clone()?;
    let fd = old.as_raw_fd();
    let old = AsyncFd::new(Closed(ManuallyDrop::new(old)))?;
    wait_a_moment(&old).await;
    // SAFETY: the owner of the descriptor never closes it itself, because `Closed` never drops it.
    unsafe { libc::close(fd) };
    drop(old);

    let (new, _new_peer) = StdStream::pair()?;
    new.set_nonblocking(true)?;
    let new = AsyncFd::new(new)?;
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    spawn(async move {
        let mut read = pin!(new.async_io(Interest::READABLE, |socket| io::Read::read(
            &mut &*socket,
            &mut [0]
        )));
        poll_fn(|cx| {
            count.set(count.get() + 1);
            read.as_mut().poll(cx)
        })
        .await
    });
    yield_now().await;
    sleep(MOMENT).await;
    let before = polls.get();
    (&peer).write_all(b"x")?;
    sleep(MOMENT).await;
    println!(
        "polls of the new socket for nothing: {}",
        polls.get() - before
    );
    Ok(())
}

/// A socket that something else closes.
struct Closed(ManuallyDrop<StdStream>);

impl AsFd for Closed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

async fn wait_a_moment<T: AsFd>(socket: &AsyncFd<T>) {
    let _elapsed = timeout(MOMENT, socket.readable()).await;
}

/// A socket is closed while a duplicate of it is open, and receives three bytes.
async fn ghost() -> io::Result<()> {
    let (socket, peer) = StdStream::pair()?;
    socket.set_nonblocking(true)?;
    let _duplicate = socket.try_clone()?;
    let socket = AsyncFd::new(socket)?;
    wait_a_moment(&socket).await;
    drop(socket);
    let before = Handle::current().metrics().stale_events;
    for _ in 0..3 {
        (&peer).write_all(b"x")?;
        sleep(MOMENT).await;
    }
    let after = Handle::current().metrics().stale_events;
    println!("events of a socket that was closed: {}", after - before);
    Ok(())
}

/// A future of another executor waits for a socket; its waker drops another socket.
async fn foreign() -> io::Result<()> {
    let ((one, peer), (other, _its_peer)) = (StdStream::pair()?, StdStream::pair()?);
    one.set_nonblocking(true)?;
    other.set_nonblocking(true)?;
    let (one, other) = (AsyncFd::new(one)?, AsyncFd::new(other)?);
    wait_a_moment(&other).await;
    let other = Mutex::new(Some(other));
    let waker = foreign_waker(move || {
        let other = other.lock().unwrap().take();
        drop(other);
        println!("the waker has dropped the other socket");
    });
    let mut read = pin!(one.readable());
    assert!(
        read.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    (&peer).write_all(b"x")?;
    sleep(MOMENT).await;
    Ok(())
}

/// A task reads two bytes, each of which comes a moment after the task began to wait for it.
async fn wait() -> io::Result<()> {
    let (socket, peer) = StdStream::pair()?;
    socket.set_nonblocking(true)?;
    let socket = AsyncFd::new(socket)?;
    spawn(async move {
        for _ in 0..2 {
            sleep(MOMENT).await;
            (&peer).write_all(b"x")?;
        }
        io::Result::Ok(())
    });
    for _ in 0..2 {
        let read = socket.async_io(Interest::READABLE, |socket| {
            TRIES.fetch_add(1, Ordering::Relaxed);
            io::Read::read(&mut &*socket, &mut [0])
        });
        read.await?;
    }
    println!("two bytes, tries: {}", TRIES.load(Ordering::Relaxed));
    Ok(())
}

/// A task waits for a Unix stream, which then gets a byte with a descriptor, and another byte behind it.
async fn parcel() -> io::Result<()> {
    let (reader, writer) = UnixStream::pair()?;
    spawn(async move {
        sleep(MOMENT).await;
        writer
            .send_fds(&[io::IoSlice::new(b"a")], &[io::stdin().as_fd()])
            .await?;
        writer.write_all(b"b").await?;
        pending::<io::Result<()>>().await
    });
    let (mut buf, mut bytes) = ([0; 100], 0);
    while bytes < 2 {
        let n = reader.read(&mut buf).await?;
        bytes += n;
        println!("read: {}", String::from_utf8_lossy(&buf[..n]));
    }
    Ok(())
}

/// A hundred sleeps of 0.9 ms.
async fn naps() -> io::Result<()> {
    let before = Handle::current().metrics().parks;
    for _ in 0..100 {
        sleep(Duration::from_micros(900)).await;
    }
    let parks = Handle::current().metrics().parks - before;
    println!("100 naps, waits in epoll: {}", class(parks));
    Ok(())
}

/// A thousand operations that might have taken an hour, and took no time.
async fn limits() -> io::Result<()> {
    for _ in 0..1000 {
        timeout(Duration::from_secs(3600), yield_now()).await?;
    }
    sleep(MOMENT).await;
    println!("timers left: {}", Handle::current().metrics().timers);
    Ok(())
}

/// A sleep is polled by one task, and then by another.
async fn moved() -> io::Result<()> {
    let mut nap = sleep(MOMENT);
    assert!(
        pin!(&mut nap)
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    let start = Instant::now();
    spawn(nap).await?;
    println!("the sleep has ended, in time: {}", start.elapsed() < LIMIT);
    Ok(())
}

/// A task wakes itself at each poll; another sleeps for a moment.
async fn look() -> io::Result<()> {
    spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    sleep(MOMENT).await;
    println!("the sleep has ended");
    Ok(())
}

/// A byte that came is left unread for a while, in which others are busy.
async fn unread() -> io::Result<()> {
    let (socket, peer) = StdStream::pair()?;
    socket.set_nonblocking(true)?;
    let socket = AsyncFd::new(socket)?;
    wait_a_moment(&socket).await;
    (&peer).write_all(b"x")?;
    let before = Handle::current().metrics().events;
    for _ in 0..100 {
        sleep(Duration::from_millis(1)).await;
    }
    let events = Handle::current().metrics().events - before;
    println!(
        "one byte, events: {}",
        if events > 10 {
            "more than 10"
        } else {
            "at most 10"
        }
    );
    Ok(())
}
