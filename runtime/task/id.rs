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
pub struct JoinError {
    id: Id,
    /// What the task panicked with; `None` if it was cancelled. Boxed, because each task has room
    /// for an error, and errors are rare and big.
    panic: Option<Box<Panic>>,
}

/// A payload is `Send` but not `Sync`; the mutex makes the error both, in safe code.
type Panic = Mutex<Box<dyn Any + Send>>;

impl JoinError {
    pub(super) fn cancelled(id: Id) -> JoinError {
        JoinError { id, panic: None }
    }

    pub(super) fn panicked(id: Id, payload: Box<dyn Any + Send>) -> JoinError {
        let panic = Some(Box::new(Mutex::new(payload)));
        JoinError { id, panic }
    }

    /// True if the task was aborted, or its runtime ended before the task did.
    pub fn is_cancelled(&self) -> bool {
        self.panic.is_none()
    }

    /// True if the task panicked.
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
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
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.panic {
            Some(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            None => Err(self),
        }
    }

    /// The id of the task.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Calls `f` with the text of the panic, if there is one: what `panic!` was given.
    fn with_text<R>(&self, f: impl FnOnce(Option<&str>) -> R) -> R {
        let Some(payload) = &self.panic else {
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
        match &self.panic {
            None => write!(f, "task `{id}` was cancelled"),
            Some(_) => self.with_text(|text| match text {
                Some(text) => write!(f, "task `{id}` panicked: {text}"),
                None => write!(f, "task `{id}` panicked"),
            }),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.panic {
            None => write!(f, "JoinError::Cancelled({id:?})"),
            // As tokio's, for users who search logs for it.
            Some(_) => self.with_text(|text| match text {
                Some(text) => write!(f, "JoinError::Panic({id:?}, {text:?}, ...)"),
                None => write!(f, "JoinError::Panic({id:?}, ...)"),
            }),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}
