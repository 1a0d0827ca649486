//! A task's id, and why a task gave no output.
//!
//! Interface: [`Id`]; [`JoinError`], which a handle gives in place of the output.
//! Invariant: both are `Send + Sync`, whatever the payload of the panic is.
//! Read next: `cell`, which makes the error; `join`, which hands it out.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

/// A task's id: unique in the process and never used again; within a runtime, ids rise in the
/// order of spawning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(super) u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a task gave no output: it panicked, or it was cancelled.
///
/// A task of [`spawn_blocking`](super::blocking::spawn_blocking) for which no thread could be made was cancelled, too; the
/// [`source`](std::error::Error::source) is then the system's error.
///
/// # Examples
/// ```
/// reveille::block_on(async {
///     let task = reveille::spawn(async { panic!("no such file") });
///     let error = task.await.unwrap_err();
///     assert!(error.is_panic());
///     let payload = error.into_panic(); // To go on with it: `std::panic::resume_unwind(payload)`.
///     assert_eq!(payload.downcast_ref(), Some(&"no such file"));
/// });
/// ```
pub struct JoinError {
    /// The task that gave no output.
    id: Id,
    /// `None` if the task was cancelled, as most are that give no output. Boxed, because each task has room for an error,
    /// and errors are rare and big.
    why: Option<Box<Why>>,
}

/// The reasons of which there is more to say than "cancelled".
enum Why {
    /// A payload is `Send` but not `Sync`; the mutex makes the error both, in safe code.
    Panicked(Mutex<Box<dyn Any + Send>>),
    /// What the system said when no thread could be made.
    Refused(io::Error),
}

/// What a task unwinds with if its work can never begin: that is no panic, but a cancellation with a reason.
pub(super) struct Refused(pub(super) io::Error);

impl JoinError {
    /// The error of a task that was aborted, or dropped with its runtime.
    pub(super) fn cancelled(id: Id) -> JoinError {
        JoinError { id, why: None }
    }

    /// The error of a task that unwound with `payload`, which may stand for a cancellation: see [`Refused`].
    pub(super) fn panicked(id: Id, payload: Box<dyn Any + Send>) -> JoinError {
        let why = match payload.downcast::<Refused>() {
            Ok(refused) => Why::Refused(refused.0),
            Err(payload) => Why::Panicked(Mutex::new(payload)),
        };
        let why = Some(Box::new(why));
        JoinError { id, why }
    }

    /// True if the task was aborted, if its runtime ended before the task did, or if there was no thread for its work.
    pub fn is_cancelled(&self) -> bool {
        !self.is_panic()
    }

    /// True if the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.why.as_deref(), Some(Why::Panicked(_)))
    }

    /// What the task panicked with, to be given to [`std::panic::resume_unwind`].
    ///
    /// # Panics
    /// If the task was cancelled; see [`try_into_panic`](JoinError::try_into_panic).
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        self.try_into_panic()
            .expect("`into_panic` called on the error of a cancelled task")
    }

    /// What the task panicked with, or this error again if the task was cancelled.
    ///
    /// # Errors
    /// The error itself, if the task was cancelled.
    ///
    /// # Examples
    /// ```
    /// reveille::block_on(async {
    ///     let task = reveille::spawn(std::future::pending::<()>());
    ///     task.abort();
    ///     let error = task.await.unwrap_err();
    ///     let error = error.try_into_panic().unwrap_err();
    ///     assert!(error.is_cancelled());
    /// });
    /// ```
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.why.map(|why| *why) {
            Some(Why::Panicked(payload)) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            why => Err(JoinError {
                id: self.id,
                why: why.map(Box::new),
            }),
        }
    }

    /// The id of the task.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Calls `f` with the text of the panic, if there is one: what `panic!` was given.
    fn with_text<R>(&self, f: impl FnOnce(Option<&str>) -> R) -> R {
        let Some(Why::Panicked(payload)) = self.why.as_deref() else {
            return f(None);
        };
        let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
        let text = payload.downcast_ref::<&str>().copied();
        f(text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match self.why.as_deref() {
            None => write!(f, "task `{id}` was cancelled"),
            Some(Why::Refused(error)) => {
                write!(
                    f,
                    "task `{id}` was cancelled: no thread could be made for it: {error}"
                )
            }
            Some(Why::Panicked(_)) => self.with_text(|text| match text {
                Some(text) => write!(f, "task `{id}` panicked: {text}"),
                None => write!(f, "task `{id}` panicked"),
            }),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match self.why.as_deref() {
            // As tokio's, for users who search logs for it.
            None => write!(f, "JoinError::Cancelled({id:?})"),
            Some(Why::Refused(error)) => write!(f, "JoinError::Cancelled({id:?}, {error:?})"),
            Some(Why::Panicked(_)) => self.with_text(|text| match text {
                Some(text) => write!(f, "JoinError::Panic({id:?}, {text:?}, ...)"),
                None => write!(f, "JoinError::Panic({id:?}, ...)"),
            }),
        }
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.why.as_deref() {
            Some(Why::Refused(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}
