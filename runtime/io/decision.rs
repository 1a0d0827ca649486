//! Whether an operation may be tried: a decision from plain facts, which changes nothing.
//!
//! Interface: [`decide`], which asks the [`Facts`]; the registration acts on the [`Decision`].
//! Invariant: the first obstacle decides, in the order of [`decide`], and no fact behind it is asked for. So
//! a child of a fork touches nothing of its parent's, whatever else is true, and an operation that might wait
//! for an event which never comes fails before it is tried.
//! Read next: `registration`, which acts.

/// What can be known of an operation before it is tried.
pub(crate) trait Facts {
    /// True if this process is the child of one that had a runtime before it forked.
    fn forked(&self) -> bool;
    /// True if no runtime runs on this thread.
    fn outside(&self) -> bool;
    /// True if chaos has the operation interrupted. The next answer may be another.
    fn interrupted(&self) -> bool;
    /// True if the task may make another operation in this poll.
    fn budget_left(&self) -> bool;
    /// True if some event could end a wait of the operation.
    fn awaitable(&self) -> bool;
    /// Where the descriptor is registered. Asked last, because it looks the source up.
    fn standing(&self) -> Standing;
}

/// Where a descriptor is registered, seen from a thread on which a runtime runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// With another runtime than the current one.
    Elsewhere,
    /// Nowhere yet: the current runtime would be its home.
    Unregistered,
    /// With the current runtime, and it counts as ready.
    Ready,
    /// With the current runtime, and it would block.
    NotReady,
    /// With the current runtime, which has freed its source.
    Gone,
}

/// What the operation may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Be tried.
    Try,
    /// Be tried, because nothing is known yet. If it would block, register first.
    TryUnregistered,
    /// Be tried, but it cannot wait here.
    TryElsewhere,
    /// Ask again, as after EINTR.
    AskAgain,
    /// Let the other tasks run first: the budget is spent.
    GiveWay,
    /// Wait: nothing is ready.
    Wait,
    /// Fail, before it is tried: in the child of a fork.
    Forked,
    /// Fail, before it is tried: no event could end a wait.
    NeverReported,
    /// Fail, before it is tried: the source was freed.
    NotAtHome,
}

/// What an operation may do: the first obstacle in this order decides.
#[inline(always)]
pub(crate) fn decide(facts: &impl Facts) -> Decision {
    if facts.forked() {
        return Decision::Forked;
    }
    if facts.outside() {
        return Decision::TryElsewhere;
    }
    if facts.interrupted() {
        return Decision::AskAgain;
    }
    if !facts.budget_left() {
        return Decision::GiveWay;
    }
    if !facts.awaitable() {
        return Decision::NeverReported;
    }
    match facts.standing() {
        Standing::Elsewhere => Decision::TryElsewhere,
        Standing::Unregistered => Decision::TryUnregistered,
        Standing::Ready => Decision::Try,
        Standing::NotReady => Decision::Wait,
        Standing::Gone => Decision::NotAtHome,
    }
}
