//! A handle: a runtime's name.
//!
//! Interface: [`Handle::current`], [`Handle::spawn`] from any thread, [`Handle::metrics`].
//! Invariant: it is plain data and keeps nothing alive; after its runtime's end it finds nothing.
//! Read before: `place`.

use std::fmt;
use std::future::Future;
use std::panic::Location;

use futures_task::{FutureObj, LocalFutureObj, LocalSpawn, Spawn, SpawnError};

use super::context;
use super::metrics::Metrics;
use super::name::place::{self, Command};
use super::name::slab::Name;

/// Spawns into a runtime from any thread, and reads its counters.
///
/// It may be copied and sent anywhere, and outlive its runtime.
///
/// # Examples
/// ```
/// use std::sync::mpsc;
/// use std::thread;
/// use reveille::runtime::Handle;
///
/// reveille::block_on(async {
///     let (sender, receiver) = mpsc::channel();
///     let handle = Handle::current();
///     let thread = thread::spawn(move || {
///         handle.spawn(async move { sender.send("in the runtime").unwrap() });
///     });
///     thread.join().unwrap();
///     while receiver.try_recv().is_err() {
///         reveille::task::yield_now().await;
///     }
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Handle {
    /// The runtime's entry in the table of places.
    place: u16,
    /// The runtime's first serial, which tells it from earlier and later runtimes of the place.
    born: u64,
}

impl Handle {
    /// The handle of the runtime that got the place when `born` was the next serial.
    pub(super) fn new(place: u16, born: u64) -> Handle {
        Handle { place, born }
    }

    /// The handle of the current runtime.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn current() -> Handle {
        let core = context::expect_current("`Handle::current` called");
        Handle::new(core.place, core.born)
    }

    /// The handle of the current runtime, if there is one.
    ///
    /// # Errors
    /// [`TryCurrentError`] outside a runtime.
    ///
    /// # Examples
    /// ```
    /// use reveille::runtime::Handle;
    ///
    /// assert!(Handle::try_current().is_err());
    /// assert!(reveille::block_on(async { Handle::try_current() }).is_ok());
    /// ```
    pub fn try_current() -> Result<Handle, TryCurrentError> {
        let handle = context::with_current(|core| Handle::new(core.place, core.born));
        handle.ok_or(TryCurrentError(()))
    }

    /// Spawns a task into the runtime, from any thread. Nothing limits how many tasks wait in the inbox.
    ///
    /// This returns nothing, because the task has no name until its runtime has adopted it: send a result
    /// through a channel, or use [`spawn`](crate::spawn) inside the runtime. If the runtime has ended, or
    /// is ending, the future is dropped here; or there, if it comes just as the end begins, or from the runtime's own
    /// destructors.
    #[track_caller]
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.post(Box::pin(future), Location::caller()));
    }

    /// Sends the future to the runtime; the command comes back if the runtime adopts no tasks any more.
    fn post(
        &self,
        future: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
        location: &'static Location<'static>,
    ) -> Result<(), Command> {
        let (name, command) = (self.name(), Command::Spawn(future, location));
        // From home it is always posted: a runtime that ends adopts what its own destructors spawn, in so many rounds
        // (`task::shutdown`). What other threads spawn would have no bound.
        if context::home_of(name).is_none() && !place::adopts(name) {
            return Err(command);
        }
        place::post(name, command)
    }

    /// What the runtime has done so far, and what there was at its last turn, from any thread; zeros if the
    /// runtime has ended.
    pub fn metrics(&self) -> Metrics {
        place::metrics(self.name())
    }

    /// A name with the runtime's first serial: it is stale exactly when the runtime has ended.
    fn name(&self) -> Name {
        Name::new(self.place, 0, self.born)
    }
}

impl Spawn for Handle {
    /// # Errors
    /// If the runtime has ended.
    #[track_caller]
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.post(Box::pin(future), Location::caller())
            .map_err(|_| SpawnError::shutdown())
    }

    fn status(&self) -> Result<(), SpawnError> {
        if place::adopts(self.name()) {
            Ok(())
        } else {
            Err(SpawnError::shutdown())
        }
    }
}

impl LocalSpawn for Handle {
    /// # Errors
    /// If the runtime has ended, or is not the current one: this future cannot be sent to it.
    #[track_caller]
    fn spawn_local_obj(&self, future: LocalFutureObj<'static, ()>) -> Result<(), SpawnError> {
        let core = context::home_of(self.name()).ok_or_else(SpawnError::shutdown)?;
        let task = core.spawn(future, None, Location::caller());
        core.executor.detach(task);
        Ok(())
    }

    fn status_local(&self) -> Result<(), SpawnError> {
        context::home_of(self.name())
            .map(drop)
            .ok_or_else(SpawnError::shutdown)
    }
}

/// There is no current runtime.
#[derive(Debug)]
pub struct TryCurrentError(());

impl fmt::Display for TryCurrentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no runtime here: call this inside `block_on`")
    }
}

impl std::error::Error for TryCurrentError {}
