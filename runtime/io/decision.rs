//! May an operation be tried? A decision from plain facts, which does nothing.
//!
//! Interface: [`decide`]; the registration gathers the [`Facts`] and acts on the [`Decision`].
//! Invariant: the first obstacle decides, in the order in which they stand in [`decide`]. So a child of a fork
//! touches nothing of its parent's, whatever else is true, and an operation that no event could end is an
//! error before it is tried.
//! Read next: `registration`.

/// What is known of an operation before it is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// This process is the child of one that had a runtime.
    pub(crate) forked: bool,
    pub(crate) standing: Standing,
    /// Chaos has it interrupted.
    pub(crate) interrupted: bool,
    /// The task may make another operation in this poll.
    pub(crate) budget_left: bool,
    /// Some event could end a wait for this.
    pub(crate) awaitable: bool,
}

/// Where a descriptor is registered, seen from the thread that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Wherever it is, no runtime runs on this thread.
    Outside,
    /// With another runtime than the current one.
    Elsewhere,
    /// Nowhere yet: the current runtime would be its home.
    Unregistered,
    /// With the current runtime, where it counts as ready or not; `None` if its source has gone.
    Home { ready: Option<bool> },
}

/// What the operation may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Be tried.
    Try,
    /// Be tried, for nothing is known yet. If it would block, register first.
    TryUnregistered,
    /// Be tried, but it cannot wait here.
    TryElsewhere,
    /// Ask again, as after EINTR.
    AskAgain,
    /// Let the other tasks run first: the budget is spent.
    GiveWay,
    /// Wait: nothing is ready.
    Wait,
    /// Errors, before it is tried.
    Forked,
    NeverReported,
    NotAtHome,
}

#[inline]
pub(crate) fn decide(facts: Facts) -> Decision {
    if facts.forked {
        return Decision::Forked;
    }
    if facts.standing == Standing::Outside {
        return Decision::TryElsewhere;
    }
    if facts.interrupted {
        return Decision::AskAgain;
    }
    if !facts.budget_left {
        return Decision::GiveWay;
    }
    if !facts.awaitable {
        return Decision::NeverReported;
    }
    match facts.standing {
        Standing::Outside | Standing::Elsewhere => Decision::TryElsewhere,
        Standing::Unregistered => Decision::TryUnregistered,
        Standing::Home { ready: Some(true) } => Decision::Try,
        Standing::Home { ready: Some(false) } => Decision::Wait,
        Standing::Home { ready: None } => Decision::NotAtHome,
    }
}
