//! When TCP asks a silent peer if it is still there.
//!
//! Interface: [`TcpKeepalive`], which [`TcpStream::set_tcp_keepalive`](super::TcpStream::set_tcp_keepalive) takes.
//! Invariant: a value that the kernel would refuse is refused here, with the limits.
//! Read before: `tcp::stream`.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use libc::c_int;

use super::super::options::invalid;
use super::super::sys::{self, Int};

/// When the kernel asks a silent peer if it is still there, and after how many questions without an answer the connection
/// is broken (ETIMEDOUT). What is not given stays as the socket has it: by default as the system does, which asks after two hours, and then
/// nine times in eleven minutes (tcp(7)). The names are those of socket2.
///
/// # Examples
/// ```
/// use reveille::net::{TcpKeepalive, TcpListener, TcpStream};
/// use std::time::Duration;
///
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let stream = TcpStream::connect(listener.local_addr()?).await?;
/// // A peer that has vanished is noticed after 60 + 3 * 10 s.
/// let keepalive = TcpKeepalive::new()
///     .with_time(Duration::from_secs(60))
///     .with_interval(Duration::from_secs(10))
///     .with_retries(3);
/// stream.set_tcp_keepalive(&keepalive)?;
/// assert!(stream.keepalive()?);
/// assert_eq!(stream.tcp_keepalive()?, keepalive);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// As it was given: [`seconds`] rounds and judges it when it is set.
    time: Option<Duration>,
    /// As it was given, like the time.
    interval: Option<Duration>,
    /// As it was given: [`retries`] judges it when it is set.
    retries: Option<u32>,
}

impl TcpKeepalive {
    /// With everything as the socket has it.
    pub const fn new() -> TcpKeepalive {
        TcpKeepalive {
            time: None,
            interval: None,
            retries: None,
        }
    }

    /// The silence before the first question, from 1 to 32,767 s; parts of a second count as a second.
    pub const fn with_time(mut self, time: Duration) -> TcpKeepalive {
        self.time = Some(time);
        self
    }

    /// The time between two questions, from 1 to 32,767 s; parts of a second count as a second.
    pub const fn with_interval(mut self, interval: Duration) -> TcpKeepalive {
        self.interval = Some(interval);
        self
    }

    /// After how many questions without an answer the connection is broken, from 1 to 127.
    pub const fn with_retries(mut self, retries: u32) -> TcpKeepalive {
        self.retries = Some(retries);
        self
    }

    /// The silence before the first question.
    pub const fn time(&self) -> Option<Duration> {
        self.time
    }

    /// The time between two questions.
    pub const fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// After how many questions the connection is broken.
    pub const fn retries(&self) -> Option<u32> {
        self.retries
    }

    /// What the socket has, whether anything is asked or not.
    pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<TcpKeepalive> {
        let get = |option| sys::get(socket, option).map(i32::unsigned_abs);
        let seconds = |option| get(option).map(|seconds| Duration::from_secs(seconds.into()));
        Ok(TcpKeepalive {
            time: Some(seconds(Int::KEEPALIVE_TIME)?),
            interval: Some(seconds(Int::KEEPALIVE_INTERVAL)?),
            retries: Some(get(Int::KEEPALIVE_RETRIES)?),
        })
    }

    /// Sets what is given, and then turns the questions on.
    pub(super) fn give_to(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        // All are looked at before one is set.
        let values = [
            (Int::KEEPALIVE_TIME, seconds("time", self.time)?),
            (Int::KEEPALIVE_INTERVAL, seconds("interval", self.interval)?),
            (Int::KEEPALIVE_RETRIES, retries(self.retries)?),
        ];
        for (option, value) in values {
            if let Some(value) = value {
                sys::set(socket, option, value)?;
            }
        }
        sys::set(socket, Int::KEEPALIVE, 1)
    }
}

/// In whole seconds, rounded up.
fn seconds(what: &str, duration: Option<Duration>) -> io::Result<Option<c_int>> {
    let Some(duration) = duration else {
        return Ok(None);
    };
    let seconds = duration.as_nanos().div_ceil(1_000_000_000);
    match c_int::try_from(seconds) {
        Ok(seconds @ 1..=32_767) => Ok(Some(seconds)),
        _ => Err(invalid(format!(
            "the {what} of a keepalive is from 1 to 32,767 s, not {duration:?}"
        ))),
    }
}

/// The number of probes; an error if it is not one that the kernel takes.
fn retries(retries: Option<u32>) -> io::Result<Option<c_int>> {
    match retries.map(c_int::try_from) {
        None => Ok(None),
        Some(Ok(retries @ 1..=127)) => Ok(Some(retries)),
        Some(_) => Err(invalid("a keepalive has from 1 to 127 retries".to_owned())),
    }
}
