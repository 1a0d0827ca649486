//! What a tracing subscriber sees of tasks: the span and the events that tokio-console understands.

mod support;

#[path = "support/bomb.rs"]
mod bomb;
#[path = "support/limit.rs"]
mod limit;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::{Future as _, pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use limit::limit;
use reveille::runtime::Runtime;
use reveille::task::{self, JoinHandle, yield_now};
use reveille::{block_on, spawn};
use support::within;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// What was seen: a span that was made or closed, or an event.
#[derive(Clone, Debug, Default)]
struct Seen {
    what: &'static str,
    name: &'static str,
    target: String,
    level: Option<Level>,
    /// Of the span itself, or of the span the event is in.
    span: Option<u64>,
    fields: BTreeMap<&'static str, String>,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Writes down everything that one thread does.
#[derive(Clone, Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<Seen>>>,
    entered: Arc<Mutex<Vec<u64>>>,
    spans: Arc<AtomicU64>,
    /// Spans are not wanted.
    events_only: bool,
}

impl Recorder {
    fn note(&self, what: &'static str, metadata: &Metadata<'_>, span: Option<u64>) -> Seen {
        Seen {
            what,
            name: metadata.name(),
            target: metadata.target().to_owned(),
            level: Some(*metadata.level()),
            span: span.or_else(|| self.entered.lock().unwrap().last().copied()),
            fields: BTreeMap::new(),
        }
    }

    fn push(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
    }

    /// Records `f`, and returns what was seen.
    fn during(&self, f: impl FnOnce()) -> Vec<Seen> {
        tracing::subscriber::with_default(self.clone(), f);
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !(self.events_only && metadata.is_span())
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.spans.fetch_add(1, Ordering::Relaxed) + 1;
        let mut seen = self.note("span", attributes.metadata(), Some(id));
        attributes.record(&mut seen);
        self.push(seen);
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let parent = event.parent().map(Id::into_u64);
        let mut seen = self.note("event", event.metadata(), parent);
        event.record(&mut seen);
        self.push(seen);
    }

    fn enter(&self, span: &Id) {
        self.entered.lock().unwrap().push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.entered.lock().unwrap().pop();
    }

    fn try_close(&self, span: Id) -> bool {
        self.push(Seen {
            what: "close",
            span: Some(span.into_u64()),
            ..Seen::default()
        });
        true
    }
}

fn spans(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().filter(|seen| seen.what == "span").collect()
}

fn wakes(seen: &[Seen]) -> Vec<&Seen> {
    let waker = |seen: &&Seen| seen.field("op").starts_with("waker.wake");
    seen.iter().filter(waker).collect()
}

fn messages(seen: &[Seen], span: Option<u64>) -> Vec<&str> {
    seen.iter()
        .filter(|seen| seen.what == "event" && seen.span == span && seen.target != "runtime::waker")
        .map(|seen| seen.field("message"))
        .collect()
}

/// Catches: a field that tokio-console does not know, or that says something else.
#[test]
fn a_task_is_a_span_with_its_name_and_where_it_was_spawned() {
    let _limit = limit(30);
    let mut id = None;
    let mut line = 0;
    let seen = Recorder::default().during(|| {
        block_on(async {
            line = line!() + 1;
            let task = task::Builder::new().name("worker").spawn(async {});
            id = Some(task.id());
            task.await.unwrap();
        });
    });
    let [span] = spans(&seen)[..] else {
        panic!("one task, but {:?}", spans(&seen));
    };
    assert_eq!(span.name, "runtime.spawn");
    assert_eq!(span.field("kind"), "task");
    assert_eq!(span.field("task.name"), "worker");
    assert_eq!(span.field("task.id"), id.unwrap().to_string());
    assert!(span.field("loc.file").ends_with("tracing.rs"));
    assert_eq!(span.field("loc.line"), line.to_string());
    assert_ne!(span.field("loc.col"), "");
}

/// Catches: tasks of hyper's that nothing tells from those of the program.
#[cfg(feature = "hyper")]
#[test]
fn the_tasks_of_hyper_have_its_name() {
    let _limit = limit(30);
    let seen = Recorder::default().during(|| {
        block_on(async {
            hyper::rt::Executor::execute(&reveille::hyper::Executor, async {});
            yield_now().await;
        });
    });
    let [span] = spans(&seen)[..] else {
        panic!("one task, but {:?}", spans(&seen));
    };
    assert_eq!(span.field("task.name"), "hyper");
}

/// Catches: a `spawn` that is not `track_caller`.
#[test]
fn each_way_of_spawning_tells_its_callers_line() {
    let _limit = limit(30);
    let mut lines = Vec::new();
    let seen = Recorder::default().during(|| {
        let runtime = Runtime::new().unwrap();
        lines.push(line!() + 1);
        drop(runtime.spawn(async {}));
        runtime.block_on(async {
            lines.push(line!() + 1);
            drop(spawn(async {}));
            lines.push(line!() + 1);
            let _abort = task::JoinSet::new().spawn(async {});
        });
        lines.push(line!() + 1);
        runtime.handle().spawn(async {});
        runtime.turn().unwrap();
    });
    let seen: Vec<_> = spans(&seen)
        .iter()
        .map(|span| span.field("loc.line").parse::<u32>().unwrap())
        .collect();
    assert_eq!(seen, lines);
}

/// Catches: polls outside the task's span, and a span that outlives its task.
#[test]
fn a_task_is_polled_in_its_span_which_closes_with_it() {
    let _limit = limit(30);
    let recorder = Recorder::default();
    let seen = recorder.during(|| {
        block_on(async {
            spawn(async {
                tracing::info!("the task speaks");
                yield_now().await;
            })
            .await
            .unwrap();
            tracing::info!("the task has gone");
        });
    });
    assert_eq!(
        messages(&seen, Some(1)),
        [
            "spawn",           // its span is the parent
            "poll",            // the first
            "the task speaks", // in its poll
            "poll",            // it had yielded
        ]
    );
    let position = |wanted: &dyn Fn(&Seen) -> bool| seen.iter().position(wanted).unwrap();
    let closed = position(&|seen| seen.what == "close");
    assert!(closed < position(&|seen| seen.field("message") == "the task has gone"));
}

/// A recorder that wants what tokio-console wants, by the rule of its subscriber: of events those whose
/// target begins with `runtime` or `tokio`; of all else (spans, and call sites that only ask) those whose
/// name begins with `runtime.`.
#[derive(Clone, Default)]
struct Console(Recorder);

impl Subscriber for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_event() {
            let target = metadata.target();
            target.starts_with("runtime") || target.starts_with("tokio")
        } else {
            metadata.name().starts_with("runtime.")
        }
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.0.new_span(attributes)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn try_close(&self, span: Id) -> bool {
        self.0.try_close(span)
    }
}

/// Fault B48. Catches: a call site that asks whether a span or an event is wanted, to which the console
/// says no, so that it shows no task; a task that has no waker, and passes for lost.
#[test]
fn tokio_console_sees_tasks_their_wakers_and_their_wakes() {
    let _limit = limit(30);
    let console = Console::default();
    tracing::subscriber::with_default(console.clone(), || {
        block_on(async {
            spawn(yield_now()).await.unwrap();
        });
    });
    let seen = std::mem::take(&mut *console.0.seen.lock().unwrap());
    let [span] = spans(&seen)[..] else {
        panic!("one task, but {seen:?}");
    };
    let id = span.span.unwrap().to_string();
    let of_the_task = |seen: &&Seen| seen.field("task.id") == id && seen.what == "event";
    let operations: Vec<_> = seen
        .iter()
        .filter(of_the_task)
        .map(|seen| seen.field("op"))
        .collect();
    assert_eq!(operations, ["waker.clone", "waker.wake_by_ref"]);
    assert!(seen.iter().any(|seen| seen.what == "close"));
}

/// Catches: a wake without an event, or with an id that is not the span's.
#[test]
fn a_wake_is_an_event_with_the_id_of_the_tasks_span() {
    let _limit = limit(30);
    let seen = Recorder::default().during(|| {
        block_on(async {
            drop(spawn(async {}));
            drop(spawn(async {
                yield_now().await;
                pending::<()>().await;
            }));
            yield_now().await;
        });
    });
    let of_second: Vec<_> = wakes(&seen)
        .into_iter()
        .filter(|wake| wake.field("task.id") == "2")
        .collect();
    assert_eq!(of_second.len(), 1, "{:?}", wakes(&seen));
    assert_eq!(of_second[0].field("op"), "waker.wake_by_ref");
    assert_eq!(of_second[0].level, Some(Level::TRACE));
}

/// Catches: tasks queued by the reactor, the timers or the end of a task without an event.
#[test]
fn a_wake_by_a_socket_a_timer_or_the_end_of_a_task_is_an_event_too() {
    let _limit = limit(30);
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let seen = Recorder::default().during(|| {
        block_on(async move {
            let reads = spawn(async move {
                let ours = reveille::io::AsyncFd::new(ours).unwrap();
                ours.readable().await.unwrap().retain_ready();
            });
            let sleeps = spawn(reveille::time::sleep(std::time::Duration::from_millis(1)));
            let joins = spawn(async move { sleeps.await.unwrap() });
            yield_now().await;
            std::io::Write::write_all(&mut theirs, b"x").unwrap();
            reads.await.unwrap();
            joins.await.unwrap();
        });
    });
    for task in ["1", "2", "3"] {
        let wakes = wakes(&seen);
        let wakes = wakes.iter().filter(|wake| wake.field("task.id") == task);
        assert_eq!(wakes.count(), 1, "of task {task}");
    }
}

/// Catches: a wake from elsewhere that nobody sees, or that tells of another task.
#[test]
fn a_wake_from_elsewhere_is_an_event_when_it_arrives() {
    let _limit = limit(30);
    let seen = Recorder::default().during(|| {
        let runtime = Runtime::new().unwrap();
        drop(runtime.spawn(pending::<()>()));
        let waker = Arc::new(Mutex::new(None));
        let stored = Arc::clone(&waker);
        drop(runtime.spawn(poll_fn(move |cx| {
            *stored.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })));
        runtime.turn().unwrap();
        // Outside `turn`, hence elsewhere.
        let waker: Option<Waker> = waker.lock().unwrap().take();
        waker.unwrap().wake();
        runtime.turn().unwrap();
    });
    let ids: Vec<_> = wakes(&seen)
        .iter()
        .map(|wake| wake.field("task.id"))
        .collect();
    assert_eq!(ids, ["2"]);
}

/// Catches: a panic that only stderr hears of, whichever comes first, the panic or the drop.
#[test]
fn a_panic_that_no_handle_reports_is_one_error_event() {
    let _limit = limit(30);
    for dropped_first in [true, false] {
        let seen = Recorder::default().during(|| {
            block_on(async {
                let task: JoinHandle<()> = spawn(async { panic!("on purpose") });
                if !dropped_first {
                    yield_now().await;
                }
                drop(task);
                yield_now().await;
                let reported: JoinHandle<()> = spawn(async { panic!("on purpose") });
                drop(reported.await);
            });
        });
        let errors: Vec<_> = seen
            .iter()
            .filter(|seen| seen.level == Some(Level::ERROR))
            .map(|seen| seen.field("message"))
            .collect();
        assert_eq!(errors, ["a detached task panicked"]);
    }
}

/// Catches: an output whose drop panics, and of which nobody hears.
#[test]
fn an_output_that_panics_as_it_is_dropped_is_one_error_event() {
    let _limit = limit(30);
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let seen = Recorder::default().during(|| {
        block_on(async {
            spawn(async { Panics }).detach();
            yield_now().await;
            yield_now().await;
        });
    });
    let mut errors = seen
        .iter()
        .filter(|seen| seen.level == Some(Level::ERROR))
        .map(|seen| seen.field("message"));
    let text = "the output of a detached task panicked while it was dropped";
    assert_eq!(errors.next().unwrap(), text);
    assert!(errors.next().is_none());
}

/// Fault B15, R5, R9. Catches: a span that is closed under a borrow, or a panic about it that goes on.
#[test]
fn a_subscriber_may_spawn_and_panic_at_each_closed_span() {
    let _limit = limit(30);
    thread_local! {
        static SPAWNED: Cell<usize> = const { Cell::new(0) };
        static RAN: Cell<usize> = const { Cell::new(0) };
    }
    within(10, || {
        let meddles = Called(|here: &str| {
            if here == "a closed span" {
                if SPAWNED.get() < 20 {
                    SPAWNED.set(SPAWNED.get() + 1);
                    spawn(async { RAN.set(RAN.get() + 1) }).detach();
                }
                panic!("on purpose");
            }
        });
        tracing::subscriber::with_default(meddles, || {
            block_on(async {
                spawn(async {}).detach();
                let aborted = spawn(pending::<()>());
                aborted.abort();
                assert!(aborted.await.unwrap_err().is_cancelled());
                assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
                for _ in 0..2 {
                    let done = spawn(async {});
                    yield_now().await;
                    drop(done);
                }
                for _ in 0..30 {
                    yield_now().await;
                }
            });
        });
        assert_eq!((SPAWNED.get(), RAN.get()), (20, 20));
    });
}

/// Fault B19. Catches: a shutdown that gives up in silence.
#[test]
fn giving_up_on_tasks_that_respawn_for_ever_is_an_error_event() {
    let _limit = limit(90);
    struct Respawn;
    impl Drop for Respawn {
        fn drop(&mut self) {
            let again = Respawn;
            drop(spawn(async move {
                let _again = again;
                pending::<()>().await;
            }));
        }
    }
    within(30, || {
        let recorder = Recorder {
            events_only: true,
            ..Recorder::default()
        };
        let seen = recorder.during(|| block_on(async { drop(Respawn) }));
        let errors: Vec<_> = seen
            .iter()
            .filter(|seen| seen.level == Some(Level::ERROR))
            .map(|seen| seen.field("message"))
            .collect();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].contains("spawning tasks while they are dropped"));
    });
}

/// Catches: timers that are said to fire in every look.
#[test]
fn timers_that_fire_are_one_event_and_no_timer_is_none() {
    let _limit = limit(30);
    let fired = |seen: &[Seen]| {
        messages(seen, None)
            .iter()
            .filter(|&&it| it == "fire")
            .count()
    };
    let recorder = Recorder::default();
    let runtime = Runtime::new().unwrap();
    let seen = recorder.during(|| runtime.turn().unwrap());
    assert_eq!(fired(&seen), 0);
    let seen = recorder.during(|| {
        runtime.block_on(reveille::time::sleep(std::time::Duration::from_millis(20)));
    });
    assert_eq!(fired(&seen), 1);
}

/// Catches: a thread that is said to go to sleep whenever the runtime looks at epoll.
#[test]
fn while_tasks_are_queued_nobody_parks() {
    let _limit = limit(30);
    let parked = |seen: &[Seen]| messages(seen, None).contains(&"park");
    let recorder = Recorder::default();
    let spinning = recorder.during(|| {
        block_on(async {
            for _ in 0..200 {
                yield_now().await;
            }
        });
    });
    assert!(!parked(&spinning));
    let sleeping = recorder.during(|| {
        block_on(reveille::time::sleep(std::time::Duration::from_millis(20)));
    });
    assert!(parked(&sleeping));
}

/// Catches: a span made, and memory spent on it, that nobody wants.
#[test]
fn without_a_subscriber_that_wants_spans_there_are_none() {
    let _limit = limit(30);
    let recorder = Recorder {
        events_only: true,
        ..Recorder::default()
    };
    let seen = recorder.during(|| {
        block_on(async {
            spawn(async {}).await.unwrap();
        });
    });
    assert_eq!(spans(&seen).len(), 0);
    assert!(messages(&seen, None).contains(&"poll"));
}

/// R5. Catches: a borrow that is held while a subscriber runs, which may spawn and wake.
#[test]
fn a_subscriber_may_spawn_and_wake() {
    let _limit = limit(30);
    /// Does so at every span and event, unless it is in the middle of it.
    struct Meddler(Mutex<Option<Waker>>);
    impl Meddler {
        fn meddle(&self) {
            let Ok(mut waker) = self.0.try_lock() else {
                return;
            };
            let Some(waker) = waker.take() else { return };
            waker.wake_by_ref();
            drop(spawn(async {}));
            drop(spawn(pending::<()>()).abort_on_drop());
        }
    }
    impl Subscriber for Meddler {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            self.meddle();
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            self.meddle();
        }
        fn enter(&self, _: &Id) {
            self.meddle();
        }
        fn exit(&self, _: &Id) {
            self.meddle();
        }
        fn try_close(&self, _: Id) -> bool {
            self.meddle();
            true
        }
    }
    within(10, || {
        let meddler = Arc::new(Meddler(Mutex::new(None)));
        let dispatch =
            tracing::Dispatch::from(Arc::clone(&meddler) as Arc<dyn Subscriber + Send + Sync>);
        tracing::dispatcher::with_default(&dispatch, || {
            block_on(async {
                let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                for _ in 0..100 {
                    // One stroke each, at whatever comes next; the lock is free then.
                    *meddler.0.lock().unwrap() = Some(waker.clone());
                    let waker = waker.clone();
                    let task = spawn(async move {
                        waker.wake_by_ref();
                        yield_now().await;
                    });
                    *meddler.0.lock().unwrap() = Some(Waker::noop().clone());
                    yield_now().await;
                    *meddler.0.lock().unwrap() = Some(Waker::noop().clone());
                    task.await.unwrap();
                }
            });
        });
    });
}

/// R9. Catches: a panic of a subscriber that takes the batch's wakers with it, or the task that was
/// spawned or popped, or its joiner, or the rest of the mail, or the slot of a source.
#[test]
fn a_subscriber_that_panics_strands_nobody() {
    for place in PLACES {
        within(10, move || {
            let runtime = Runtime::new().unwrap();
            let trap = Called(move |here: &str| {
                assert_ne!(here, place, "the subscriber's own panic");
            });
            tracing::subscriber::with_default(trap, || everything_happens(&runtime));
        });
    }
}

/// Fault B15, R5, promise 4. Catches: a borrow that is held while a subscriber runs.
#[test]
fn a_subscriber_may_do_anything() {
    for place in PLACES {
        within(30, move || {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(bomb::lay_out(2));
            let armed = AtomicBool::new(true);
            let charge = Called(move |here: &str| {
                if here == place && armed.swap(false, Ordering::Relaxed) {
                    drop(bomb::Bomb);
                }
            });
            tracing::subscriber::with_default(charge, || everything_happens(&runtime));
            bomb::check(&runtime);
            bomb::assert_exploded(place);
        });
    }
}

/// R8. Catches: a thread that goes to sleep although a subscriber queued a task when it was told so.
#[test]
fn whom_a_subscriber_wakes_when_the_thread_parks_is_polled_at_once() {
    within(10, || {
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let stored = Arc::clone(&waker);
        let wakes_at_park = Called(move |here: &str| {
            if here == "park" {
                let waker = stored.lock().unwrap().take();
                waker.expect("it has parked before").wake();
            }
        });
        tracing::subscriber::with_default(wakes_at_park, || {
            let mut polls = 0;
            block_on(poll_fn(|cx| {
                polls += 1;
                if polls == 2 {
                    return Poll::Ready(());
                }
                *waker.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            }));
        });
    });
}

/// R8. Catches: a thread that goes to sleep although mail came when it was about to.
#[test]
fn what_another_thread_wakes_when_the_thread_parks_is_polled_at_once() {
    within(10, || {
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let stored = Arc::clone(&waker);
        let woken_at_park = Called(move |here: &str| {
            if here == "park" {
                let waker = stored.lock().unwrap().take();
                let wake = move || waker.into_iter().for_each(Waker::wake);
                std::thread::spawn(wake).join().unwrap();
            }
        });
        tracing::subscriber::with_default(woken_at_park, || {
            let mut polls = 0;
            block_on(poll_fn(|cx| {
                polls += 1;
                if polls == 3 {
                    return Poll::Ready(());
                }
                *waker.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            }));
        });
    });
}

thread_local! {
    /// The last event that a [`Called`] heard was a spawn.
    static SPAWNED: Cell<bool> = const { Cell::new(false) };
}

/// A subscriber that does this wherever it is called, and is told where that is.
struct Called<F>(F);

impl<F: Fn(&str) + Send + Sync + 'static> Subscriber for Called<F> {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes() // So that it is asked each time.
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.target() == "runtime::waker" {
            // The waker that a task begins with is an event of its spawn: the next after "spawn".
            (self.0)(if SPAWNED.replace(false) {
                "the question whether a spawn is wanted"
            } else {
                "the question whether a wake is wanted"
            });
        }
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        (self.0)("a new span");
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen::default();
        event.record(&mut seen);
        SPAWNED.set(seen.field("message") == "spawn");
        (self.0)(seen.field("message"));
    }
    fn enter(&self, _: &Id) {
        (self.0)("the beginning of a span");
    }
    fn exit(&self, _: &Id) {
        (self.0)("the end of a span");
    }
    fn try_close(&self, _: Id) -> bool {
        (self.0)("a closed span");
        true
    }
}

/// Where a subscriber is called: for the life of a span, or for the event with this message.
const PLACES: [&str; 17] = [
    "the question whether a spawn is wanted",
    "the question whether a wake is wanted",
    "a new span",
    "the beginning of a span",
    "the end of a span",
    "a closed span",
    "spawn",
    "poll",
    "cancel",
    "register",
    "ready",
    "deregister",
    "fire",
    "park",
    "", // The event of a wake has no message.
    "a detached task panicked",
    "the future of a finished task panicked while it was dropped",
];

/// Runs a program in which every event happens, and everything must be as if nobody listened.
fn everything_happens(runtime: &Runtime) {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("in the drop of a future");
        }
    }
    let far = runtime.handle();
    let (sender, receiver) = std::sync::mpsc::channel();
    // Two in one batch of mail, where the event of the first must not cost the second.
    for n in 0..2 {
        let sender = sender.clone();
        far.spawn(async move { sender.send(n).unwrap() });
    }
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = std::rc::Rc::new(ours);
    let fd = reveille::io::AsyncFd::new(std::rc::Rc::clone(&ours)).unwrap();
    let waits = async move {
        let mut buf = [0; 1];
        let read = |ours: &std::rc::Rc<std::os::unix::net::UnixStream>| {
            std::io::Read::read(&mut &**ours, &mut buf)
        };
        let interest = reveille::io::Interest::READABLE;
        assert_eq!(fd.async_io(interest, read).await.unwrap(), 1);
        reveille::time::sleep(std::time::Duration::from_millis(1)).await;
    };
    runtime.block_on(async {
        let mut waits = Box::pin(waits);
        let polled = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        std::io::Write::write_all(&mut theirs, b"x").unwrap();
        waits.await;
        // The source is gone, or its descriptor could not be registered again.
        let again = reveille::io::AsyncFd::new(ours).unwrap();
        again.writable().await.unwrap().retain_ready();
        let task = spawn(pending::<()>());
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let bad = spawn(async {
            let _bad = Bad;
            poll_fn(|_| Poll::Ready(())).await;
        });
        assert!(bad.await.unwrap_err().is_panic());
        let bad = Bad;
        let done = spawn(poll_fn(move |_| {
            let _kept = &bad;
            Poll::Ready(7)
        }));
        assert_eq!(done.await.unwrap(), 7);
        drop(spawn(async { panic!("nobody asks") }));
        yield_now().await;
    });
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<i32>>(), [0, 1]);
}
