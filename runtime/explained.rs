//! An error of the system, with a text that says more than its number.
//!
//! Interface: [`explained`] makes the `io::Error`; [`ExplainedError`] is what a program finds in it.
//! Invariant: the kind is that of the system's error, and that error is the source.
//! Read next: `sys`, which names refused calls by it.

use std::error::Error;
use std::fmt;
use std::io;

/// An error of the system to which the library has added what was tried, or what helps.
///
/// An [`io::Error`] with such a text has no `raw_os_error`. It has the kind of the system's error, which is its
/// [`source`](Error::source); [`io::Error::get_ref`] gives this.
///
/// # Examples
/// ```
/// use std::error::Error;
/// use std::io;
///
/// fn errno(error: &io::Error) -> Option<i32> {
///     let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
///     error.raw_os_error().or_else(|| source?.raw_os_error())
/// }
///
/// # reveille::block_on(async {
/// // epoll cannot watch a regular file: EPERM, and the text says what to do instead.
/// let file = std::fs::File::open("Cargo.toml").unwrap();
/// let file = reveille::io::AsyncFd::new(file).unwrap();
/// let error = file.readable().await.unwrap_err();
/// assert_eq!(error.raw_os_error(), None);
/// assert_eq!(errno(&error), Some(1));
/// # });
/// ```
#[derive(Debug)]
pub struct ExplainedError {
    /// The whole of what `Display` prints, with the system's words in it.
    text: String,
    /// What the system said, with its errno: the source.
    error: io::Error,
}

impl fmt::Display for ExplainedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ExplainedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// Puts `text` in place of the text of `error`.
#[cold]
pub(crate) fn explained(error: io::Error, text: String) -> io::Error {
    io::Error::new(error.kind(), ExplainedError { text, error })
}
