//! What hyper 1 asks of a runtime: an executor and a timer. Behind the feature `hyper`.
//!
//! Interface: [`Executor`] and [`Timer`]; [`Sleep`] is hyper's, too.
//! Read before: `spawn`, `sleep`.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use ::hyper::rt;

use super::task::spawn::TaskBuilder;
use super::time::sleep::{Sleep, now, sleep, sleep_until};

/// Spawns the tasks of hyper's HTTP/2 connections, and of clients, in the current runtime. They need not be `Send`, and
/// neither need services, bodies and their data. The tasks are named "hyper".
///
/// # Panics
/// Where hyper executes a future outside a runtime, as [`spawn`](crate::spawn) does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<F> rt::Executor<F> for Executor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        TaskBuilder::new().name("hyper").spawn(future).detach();
    }
}

/// hyper's timer: for the timeout of headers, keep-alive and the like. It follows a paused clock.
///
/// **Give it to each builder, by `.timer(reveille::hyper::Timer)`**: without a timer hyper's timeout for headers, of 30 s
/// by default, is silently off, and a timeout that is set panics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(sleep_until(deadline))
    }

    fn now(&self) -> Instant {
        now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(sleep) => sleep.get_mut().reset(deadline),
            // Of another timer.
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

impl rt::Sleep for Sleep {}
