//! What std does not offer: CPU clocks, pinning, limits, an epoll for clients and the raw loop, and an
//! allocator that counts. In `datagrams`: many datagrams a call.
//!
//! Interface: safe functions that return `io::Result`.
//! Invariant: the only module with `unsafe`; each block is one call, and its note says why it holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::io;
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub mod datagrams;

/// Turns the -1 of a system call into the error it stands for.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// What a process has spent on all its threads; `None` is this one. In nanoseconds, where
/// /proc/PID/stat has hundredths of a second.
pub fn cpu_time(pid: Option<u32>) -> io::Result<Duration> {
    let mut clock = libc::CLOCK_PROCESS_CPUTIME_ID;
    if let Some(pid) = pid {
        // SAFETY: clock_getcpuclockid(3) writes one `clockid_t` into `clock`, which outlives it.
        let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) writes one `timespec` into `time`, which outlives it.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// What the children that have been waited for, and theirs, have spent: getrusage(2).
pub fn children_cpu_time() -> io::Result<Duration> {
    let mut usage = mem::MaybeUninit::zeroed();
    // SAFETY: getrusage(2) writes one `rusage` into `usage`, which outlives it.
    check(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) })?;
    // SAFETY: it is a struct of numbers, and all its bytes were set to zero at first.
    let usage: libc::rusage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

/// Binds the calling thread, and the children it starts later, to one CPU: sched_setaffinity(2).
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = [0u64; 16];
    set[cpu / 64] = 1 << (cpu % 64);
    let set: *const libc::cpu_set_t = ptr::from_ref(&set).cast();
    // SAFETY: the kernel reads the 128 bytes of `cpu_set_t`, and the array has as many.
    check(unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), set) })?;
    Ok(())
}

/// Has the calling thread run only while no other thread wants its CPU: sched(7), SCHED_IDLE. Above all, it does not run
/// as soon as it is woken.
pub fn run_last() -> io::Result<()> {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: sched_setscheduler(2) reads one `sched_param`, which outlives the call.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) })?;
    Ok(())
}

/// The kernel ends this process when the thread that started it ends: no server outlives the benchmark.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and no pointer: PR_SET_PDEATHSIG(2const).
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    Ok(())
}

/// Asks a process to end, which valgrind, perf and strace answer with their report.
pub fn terminate(pid: u32) -> io::Result<()> {
    // SAFETY: kill(2) takes numbers only; the caller started `pid` and has not waited for it.
    check(unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) })?;
    Ok(())
}

/// Sends this thread SIGUSR1, whose handler has run when this returns: raise(3).
pub fn raise_user_defined1() -> io::Result<()> {
    // SAFETY: raise(3) takes a number only.
    check(unsafe { libc::raise(libc::SIGUSR1) })?;
    Ok(())
}

/// Raises the number of descriptors to `wanted`, or as near as it goes, and returns what it is then.
/// The hard limit goes up too, if the process may: getrlimit(2).
pub fn raise_descriptors(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit(2) writes one `rlimit` into `limit`, which outlives it.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let hard = limit.rlim_max;
    for (soft, hard) in [(wanted, wanted.max(hard)), (wanted.min(hard), hard)] {
        if soft <= limit.rlim_cur {
            break;
        }
        let raised = libc::rlimit {
            rlim_cur: soft,
            rlim_max: hard,
        };
        // SAFETY: setrlimit(2) reads one `rlimit` from `raised`, which outlives it.
        if check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) }).is_ok() {
            return Ok(soft);
        }
    }
    Ok(limit.rlim_cur)
}

/// Waits until there is something to read, or the end of it: poll(2).
pub fn wait_readable(file: &impl AsRawFd, timeout: Duration) -> io::Result<()> {
    let mut wanted = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: poll(2) reads and writes one `pollfd`, `wanted`, which outlives the call.
    match check(unsafe { libc::poll(&raw mut wanted, 1, timeout.as_millis() as libc::c_int) })? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// The version of the C library: gnu_get_libc_version(3).
pub fn libc_version() -> String {
    // SAFETY: it takes nothing and reads nothing that changes.
    let version = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: what it returned is a C string that lives as long as the program.
    let version = unsafe { CStr::from_ptr(version) };
    version.to_string_lossy().into_owned()
}

/// An epoll instance, edge-triggered: each socket is added once.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// Reports taken from the kernel at once, and the usual number elsewhere too.
const BATCH: usize = 1024;

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: epoll_create1(2) takes a flag and no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the call above succeeded, so `fd` is open and nobody else knows its number.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; BATCH];
        Ok(Epoll { fd, events })
    }

    pub fn add(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        self.add_for(
            libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP,
            socket,
            token,
        )
    }

    /// For what is received only: a datagram that is sent would be a report of its own, of the room that it leaves.
    pub fn add_readable(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        self.add_for(libc::EPOLLIN, socket, token)
    }

    fn add_for(&self, interest: libc::c_int, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (interest | libc::EPOLLET) as u32,
            u64: token,
        };
        let (epoll, socket) = (self.fd.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: epoll_ctl(2) reads one `epoll_event` from `event`, which outlives the call.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket, &raw mut event) })?;
        Ok(())
    }

    /// How many reports there are; 0 if `timeout`, in milliseconds (-1: never), is over first.
    pub fn wait(&mut self, timeout: libc::c_int) -> io::Result<usize> {
        let (fd, room) = (self.fd.as_raw_fd(), self.events.len() as libc::c_int);
        // SAFETY: epoll_wait(2) writes at most `room` entries, and `events` has as many.
        let count = unsafe { libc::epoll_wait(fd, self.events.as_mut_ptr(), room, timeout) };
        Ok(check(count)? as usize)
    }

    /// The token of the `nth` report of the last [`wait`](Epoll::wait).
    pub fn token(&self, nth: usize) -> u64 {
        self.events[nth].u64
    }
}

/// As many connections may wait to be accepted as the system allows, which is net.core.somaxconn: listen(2). std lets
/// 128 wait.
pub fn lengthen_backlog(listener: &TcpListener) -> io::Result<()> {
    // SAFETY: listen(2) takes numbers only. What listens already gets another backlog.
    check(unsafe { libc::listen(listener.as_raw_fd(), libc::c_int::MAX) })?;
    Ok(())
}

/// Accepts a connection that does not block, in one call: accept4(2).
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (fd, none) = (listener.as_raw_fd(), ptr::null_mut());
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: accept4(2) "When addr is NULL, nothing is filled in".
    let fd: RawFd = check(unsafe { libc::accept4(fd, none, ptr::null_mut(), flags) })?;
    // SAFETY: the call above succeeded, so `fd` is open and nobody else knows its number.
    Ok(unsafe { TcpStream::from_raw_fd(fd) })
}

/// Passes everything on to the system's allocator; counts while [`count_allocations`] says so.
pub struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// Off, so that the timed runs of all contenders pay no more than one load and one branch.
static COUNTS: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0); // Living ones; wraps below zero, so take differences.

pub fn count_allocations() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// Allocations so far, and bytes that are allocated now, give or take a constant.
pub fn allocated() -> (u64, u64) {
    (CALLS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

fn count(calls: u64, bytes: u64) {
    if COUNTS.load(Ordering::Relaxed) {
        CALLS.fetch_add(calls, Ordering::Relaxed);
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to `System`, which upholds the contract; counting touches three
// atomics and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as u64);
        // SAFETY: the caller's promise about `layout` is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as u64);
        // SAFETY: the caller's promise about `layout` is the one `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, (layout.size() as u64).wrapping_neg());
        // SAFETY: `block` came from `System`, as all blocks do here, and `layout` is the caller's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, (size as u64).wrapping_sub(layout.size() as u64));
        // SAFETY: as in `dealloc`; `size` is the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}
