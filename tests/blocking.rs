//! Blocking work: it runs elsewhere, its output comes home, and its runtime waits for it only if asked.

use std::any::Any;
use std::error::Error;
use std::fs;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use child::in_child;
use limit::limit;
use reveille::net::lookup_host;
use reveille::runtime::{Handle, UnhandledPanic};
use reveille::task::{JoinSet, spawn_blocking, try_id, yield_now};
use reveille::time::{now, sleep, timeout};
use reveille::{Builder, Runtime, block_on, spawn};
use seccomp::refuse;

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/seccomp.rs"]
mod seccomp;

/// Says on which thread it is dropped.
#[derive(Debug)]
struct Dropped(Sender<ThreadId>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _nobody_listens = self.0.send(thread::current().id());
    }
}

fn dropped() -> (Dropped, Receiver<ThreadId>) {
    let (sender, receiver) = mpsc::channel();
    (Dropped(sender), receiver)
}

/// Work that begins, says so, and ends when it is let go.
struct Held {
    begun: Receiver<()>,
    end: Sender<()>,
}

impl Held {
    fn new() -> (Held, impl FnOnce() + Send + 'static) {
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let work = move || {
            let _nobody_waits = begin.send(());
            let _let_go = ended.recv();
        };
        (Held { begun, end }, work)
    }
}

/// The states of the threads of this process that have the name `name`: proc_pid_stat(5).
fn threads(name: &str) -> Vec<char> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // One may have ended meanwhile.
    let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let state = |stat: String| {
        let (head, rest) = stat.rsplit_once(") ")?;
        head.ends_with(&format!("({name}"))
            .then(|| rest.chars().next())?
    };
    stats.filter_map(state).collect()
}

/// Polls until `is_true`, or the limit of the test ends it.
fn until(mut is_true: impl FnMut() -> bool) {
    while !is_true() {
        thread::yield_now();
    }
}

#[test]
fn work_runs_on_another_thread_and_its_output_comes_home() {
    let _limit = limit(30);
    block_on(async {
        let elsewhere = spawn_blocking(|| thread::current().id()).await.unwrap();
        assert_ne!(elsewhere, thread::current().id());
        let answers = (0..100).map(|n| spawn_blocking(move || n * 2));
        let answers: Vec<_> = answers.collect();
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap(), n * 2);
        }
    });
}

/// Catches: work that is handed over when its task is polled first, and so not while the caller goes on.
#[test]
fn work_begins_before_the_caller_awaits_anything() {
    let _limit = limit(30);
    block_on(async {
        let (held, work) = Held::new();
        let task = spawn_blocking(work);
        held.begun.recv().unwrap();
        held.end.send(()).unwrap();
        task.await.unwrap();
    });
}

/// Catches: other tasks that stand still while work runs.
#[test]
fn tasks_go_on_while_work_runs() {
    let _limit = limit(30);
    block_on(async {
        let (held, work) = Held::new();
        let task = spawn_blocking(work);
        for _ in 0..100 {
            yield_now().await;
        }
        sleep(Duration::from_millis(1)).await;
        assert!(!task.is_finished());
        held.end.send(()).unwrap();
        task.await.unwrap();
    });
}

#[test]
fn inside_work_no_runtime_and_no_task_is_current() {
    let _limit = limit(30);
    block_on(async {
        let current = spawn_blocking(|| (Handle::try_current().is_ok(), try_id().is_some()));
        assert_eq!(current.await.unwrap(), (false, false));
        let nested = spawn_blocking(|| block_on(async { 42 }));
        assert_eq!(nested.await.unwrap(), 42);
    });
}

#[test]
fn a_panic_of_work_is_one_of_its_task() {
    let _limit = limit(30);
    block_on(async {
        let task = spawn_blocking(|| panic!("no such file"));
        let error = task.await.unwrap_err();
        assert!(error.is_panic());
        let payload = error.into_panic();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"no such file"));
        // The thread has survived it.
        assert_eq!(spawn_blocking(|| 1).await.unwrap(), 1);
    });
}

/// Catches: a panic that is lost because nobody holds the handle.
#[test]
fn a_panic_of_work_without_a_handle_is_one_of_a_detached_task() {
    let _limit = limit(30);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        Builder::new()
            .unhandled_panic(UnhandledPanic::ShutdownRuntime)
            .block_on(async {
                drop(spawn_blocking(|| panic!("nobody hears this")));
                pending::<()>().await;
            });
    }));
    let payload: Box<dyn Any + Send> = outcome.unwrap_err();
    let text = payload.downcast_ref::<String>().map_or("", |text| text);
    let text = payload.downcast_ref::<&str>().map_or(text, |text| text);
    assert!(text.contains("task panicked"), "{text}");
}

/// Catches: work that is run although it was called off; a closure that is dropped on another thread, or kept.
#[test]
fn work_that_is_aborted_before_it_begins_is_dropped_at_home() {
    let _limit = limit(30);
    Builder::new().max_blocking_threads(1).block_on(async {
        let (held, work) = Held::new();
        let first = spawn_blocking(work);
        held.begun.recv().unwrap();
        let (guard, ended) = dropped();
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        let second = spawn_blocking(move || {
            counted.fetch_add(1, SeqCst);
            drop(guard);
        });
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        assert_eq!(ended.try_recv(), Ok(thread::current().id()));
        held.end.send(()).unwrap();
        first.await.unwrap();
        // First in, first out: the second would have run before this.
        spawn_blocking(|| ()).await.unwrap();
        assert_eq!(ran.load(SeqCst), 0);
    });
}

/// Fault F6. Catches: a handle that waits for what cannot be stopped; an output that comes home after all.
#[test]
fn work_that_is_aborted_while_it_runs_goes_on_and_its_output_is_dropped_there() {
    let _limit = limit(30);
    block_on(async {
        let (held, work) = Held::new();
        let (guard, ended) = dropped();
        let task = spawn_blocking(move || {
            work();
            (guard, thread::current().id())
        });
        held.begun.recv().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(ended.try_recv().is_err(), "it still runs");
        held.end.send(()).unwrap();
        assert_ne!(ended.recv().unwrap(), thread::current().id());
    });
}

/// Catches: a detached task that ends, or work that is called off, with the handle.
#[test]
fn work_runs_although_its_handle_was_dropped() {
    let _limit = limit(30);
    block_on(async {
        let (sender, receiver) = mpsc::channel();
        drop(spawn_blocking(move || sender.send(7).unwrap()));
        assert_eq!(receiver.recv().unwrap(), 7);
    });
}

/// Catches: more threads than there may be; fewer than that, which would wait for each other here.
#[test]
fn as_many_threads_work_at_once_as_there_may_be() {
    let _limit = limit(60);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all_at_once = Arc::new(Barrier::new(3));
    Builder::new().max_blocking_threads(3).block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..30 {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let all_at_once = Arc::clone(&all_at_once);
            tasks.spawn_blocking(move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                all_at_once.wait();
                running.fetch_sub(1, SeqCst);
            });
        }
        assert_eq!(tasks.join_all().await.len(), 30);
    });
    assert_eq!(most.load(SeqCst), 3);
}

/// Catches: a thread for each piece of work; one that is never used again, or never ends.
#[test]
fn an_idle_thread_is_used_again_and_ends_in_the_end() {
    let _limit = limit(30);
    const NAME: &str = "idle-again";
    let _limit = limit(60);
    let mut options = Builder::new();
    options.thread_name(NAME);
    options.clone().block_on(async {
        for _ in 0..100 {
            spawn_blocking(|| ()).await.unwrap();
            until(|| threads(NAME).iter().all(|state| *state == 'S'));
        }
        // One would do, but that it sleeps may also mean that it waits for the lock.
        assert!(threads(NAME).len() < 10);
    });
    until(|| threads(NAME).is_empty());
    let runtime = options.thread_keep_alive(Duration::ZERO).build().unwrap();
    runtime.block_on(async { spawn_blocking(|| ()).await.unwrap() });
    until(|| threads(NAME).is_empty());
    runtime.block_on(async { spawn_blocking(|| ()).await.unwrap() });
}

/// Fault F1. Catches: an end that waits for work; work that begins after the end; a closure that is kept.
#[test]
fn the_end_of_a_runtime_waits_for_nothing() {
    let _limit = limit(30);
    let (held, work) = Held::new();
    let (guard, ended) = dropped();
    let (unrun, gone) = dropped();
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let runtime = Builder::new().max_blocking_threads(1).build().unwrap();
    drop(runtime.spawn_blocking(move || {
        work();
        guard
    }));
    drop(runtime.spawn_blocking(move || {
        counted.fetch_add(1, SeqCst);
        drop(unrun);
    }));
    held.begun.recv().unwrap();
    drop(runtime);
    assert_eq!(gone.try_recv(), Ok(thread::current().id()));
    assert!(ended.try_recv().is_err(), "it goes on");
    held.end.send(()).unwrap();
    ended.recv().unwrap();
    assert_eq!(ran.load(SeqCst), 0);
}

/// Catches: a shutdown that does not wait, waits for longer than it may, or for what has not begun.
#[test]
fn a_shutdown_waits_for_as_long_as_it_is_told() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (held, work) = Held::new();
    drop(runtime.spawn_blocking(work));
    held.begun.recv().unwrap();
    let start = Instant::now();
    runtime.shutdown_timeout(Duration::from_millis(30));
    assert!(start.elapsed() >= Duration::from_millis(30));
    held.end.send(()).unwrap();

    let runtime = Runtime::new().unwrap();
    let (held, work) = Held::new();
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    drop(runtime.spawn_blocking(move || {
        work();
        count.fetch_add(1, SeqCst);
    }));
    held.begun.recv().unwrap();
    let release = thread::spawn(move || held.end.send(()).unwrap());
    runtime.shutdown_timeout(Duration::from_secs(3600));
    assert_eq!(done.load(SeqCst), 1);
    release.join().unwrap();

    let runtime = Runtime::new().unwrap();
    let (held, work) = Held::new();
    drop(runtime.spawn_blocking(work));
    held.begun.recv().unwrap();
    runtime.shutdown_background();
    held.end.send(()).unwrap();
    Runtime::new()
        .unwrap()
        .shutdown_timeout(Duration::from_secs(3600));
}

/// Catches: work of one runtime for which another stands still, or whose output gets lost between two runs.
#[test]
fn work_of_a_runtime_at_rest_is_there_in_the_next_run() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn_blocking(|| 5);
    assert_eq!(runtime.block_on(task).unwrap(), 5);
    let task = runtime.spawn_blocking(|| 6);
    while !runtime.block_on(async { task.is_finished() }) {
        runtime.turn().unwrap();
    }
    assert_eq!(runtime.block_on(task).unwrap(), 6);
}

/// Catches: a clock that jumps over work, whose output is then too late; one that never goes on after it.
#[test]
fn a_paused_clock_stands_still_while_work_runs() {
    let _limit = limit(60);
    let mut options = Builder::new();
    options.start_paused(true).auto_advance(true);
    for _ in 0..50 {
        options.block_on(async {
            let start = now();
            let work = spawn_blocking(|| thread::sleep(Duration::from_micros(200)));
            let hour = Duration::from_secs(3600);
            timeout(hour, work).await.expect("it took no hour").unwrap();
            assert_eq!(now(), start);
            sleep(hour).await;
            assert_eq!(now(), start + hour);
        });
    }
    // Work that was called off while it ran.
    options.block_on(async {
        let (held, work) = Held::new();
        let task = spawn_blocking(work);
        held.begun.recv().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let slept = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&slept);
        let sleeper = spawn(async move {
            sleep(Duration::from_secs(3600)).await;
            told.store(true, SeqCst);
        });
        let release = thread::spawn(move || {
            // Long enough for the runtime to come to rest, and to jump if it would.
            thread::sleep(Duration::from_millis(5));
            assert!(!slept.load(SeqCst));
            held.end.send(()).unwrap();
        });
        sleeper.await.unwrap();
        release.join().unwrap();
    });
}

/// Catches: a panic that shows a line of the library.
#[test]
fn outside_a_runtime_it_panics_with_the_line_of_the_caller() {
    let _limit = limit(30);
    let line = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&line);
    in_child(
        "outside_a_runtime_it_panics_with_the_line_of_the_caller",
        || {
            std::panic::set_hook(Box::new(move |info| {
                let place = info.location().unwrap();
                assert_eq!(place.file(), file!());
                *seen.lock().unwrap() = place.line();
            }));
            let outcome = catch_unwind(|| drop(spawn_blocking(|| ())));
            let payload = outcome.unwrap_err();
            let text = payload.downcast_ref::<String>().unwrap();
            assert!(text.contains("outside"), "{text}");
            assert_eq!(*line.lock().unwrap(), line!() - 4);
        },
    );
}

/// The signal mask and the timer slack of a process that is started here, or of this thread.
fn inherited() -> (String, i32) {
    let status = Command::new("cat")
        .arg("/proc/self/status")
        .output()
        .unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    // SAFETY: PR_GET_TIMERSLACK takes no further argument, and writes nothing.
    let slack = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK, 0_u64, 0_u64, 0_u64, 0_u64) };
    (mask.trim().to_owned(), slack)
}

/// Catches: threads that block all signals, or have the slack that the runtime has set for its own thread: what is
/// started in work would have them for life.
#[test]
fn what_is_started_in_work_has_the_mask_and_the_slack_of_main() {
    let _limit = limit(30);
    let before = inherited();
    let mut options = Builder::new();
    let runtime = options
        .timer_slack(Duration::from_nanos(7))
        .build()
        .unwrap();
    let (here, there) = runtime.block_on(async {
        let here = inherited();
        (here, spawn_blocking(inherited).await.unwrap())
    });
    assert_eq!(here.1, 7);
    assert_eq!(there, before);
}

/// Fault F3. Catches: work that waits for ever where no thread can be made; a panic of the caller.
#[test]
fn where_no_thread_can_be_made_the_handle_says_so() {
    in_child("where_no_thread_can_be_made_the_handle_says_so", || {
        let _limit = limit(30);
        let runtime = Builder::new().max_blocking_threads(2).build().unwrap();
        // With one thread there, the second is done without.
        let (held, work) = Held::new();
        let first = runtime.spawn_blocking(work);
        held.begun.recv().unwrap();
        for call in [libc::SYS_clone3, libc::SYS_clone] {
            refuse(call, None, libc::EAGAIN);
        }
        let second = runtime.spawn_blocking(|| 2);
        held.end.send(()).unwrap();
        runtime.block_on(async {
            first.await.unwrap();
            assert_eq!(second.await.unwrap(), 2);
        });

        let runtime = Runtime::new().unwrap();
        let (guard, ended) = dropped();
        let refused = runtime.spawn_blocking(move || drop(guard));
        assert_eq!(ended.try_recv(), Ok(thread::current().id()));
        let error = runtime.block_on(refused).unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        let cause = io::Error::from_raw_os_error(libc::EAGAIN).to_string();
        assert!(error.to_string().ends_with(&cause), "{error}");
        assert!(
            error.to_string().contains("no thread could be made"),
            "{error}"
        );
        let source = error.source().unwrap().downcast_ref::<io::Error>();
        assert_eq!(source.unwrap().raw_os_error(), Some(libc::EAGAIN));
        let error = error.try_into_panic().unwrap_err();
        assert!(error.source().is_some());

        let lookup = runtime.block_on(lookup_host("localhost:80"));
        let refused = lookup.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert!(refused.to_string().ends_with(&cause), "{refused}");
        let source = refused.source().unwrap().downcast_ref::<io::Error>();
        assert_eq!(source.unwrap().raw_os_error(), Some(libc::EAGAIN));

        // Detached, it is no panic that would end the runtime.
        let mut options = Builder::new();
        options
            .unhandled_panic(UnhandledPanic::ShutdownRuntime)
            .block_on(async {
                spawn_blocking(|| ()).detach();
                for _ in 0..3 {
                    yield_now().await;
                }
            });
    });
}

/// Catches: a limit of 0, with which all work would wait for ever.
#[test]
#[should_panic(expected = "at least one thread")]
fn a_limit_of_no_thread_is_refused() {
    let _limit = limit(30);
    Builder::new().max_blocking_threads(0);
}

/// Fault F2. Catches: a thread that ends with the panic of its work, so that later work has none.
#[test]
fn a_thousand_panics_end_no_thread() {
    let _limit = limit(60);
    in_child("a_thousand_panics_end_no_thread", || {
        std::panic::set_hook(Box::new(|_| ()));
        let mut options = Builder::new();
        options
            .max_blocking_threads(2)
            .thread_name("panics")
            .block_on(async {
                let work: Vec<_> = (0..1000)
                    .map(|nth| spawn_blocking(move || assert_eq!(nth, 1000)))
                    .collect();
                for work in work {
                    assert!(work.await.unwrap_err().is_panic());
                }
                assert_eq!(threads("panics").len(), 2);
                assert_eq!(spawn_blocking(|| 1).await.unwrap(), 1);
            });
    });
}

/// Submits work when it is dropped, and tells whether that was possible.
struct SubmitsInDrop(Sender<bool>);

impl Drop for SubmitsInDrop {
    fn drop(&mut self) {
        let submitted = catch_unwind(|| spawn_blocking(|| ()).detach());
        let _nobody_listens = self.0.send(submitted.is_ok());
    }
}

/// Fault F5. Catches: a lock that is held while a closure is dropped, which then waits for it for ever.
#[test]
fn a_closure_that_submits_work_when_it_is_dropped_finds_no_lock_held() {
    let _limit = limit(30);
    let (tells, submitted) = mpsc::channel();
    let mut options = Builder::new();
    let runtime = options.max_blocking_threads(1).build().unwrap();
    let (held, work) = Held::new();
    let first = runtime.spawn_blocking(work);
    held.begun.recv().unwrap();
    // Called off in a run.
    let guard = SubmitsInDrop(tells.clone());
    runtime.block_on(async {
        let queued = spawn_blocking(move || drop(guard));
        queued.abort();
        assert!(queued.await.unwrap_err().is_cancelled());
        assert!(submitted.recv().unwrap());
    });
    // Queued when the runtime ends.
    let guard = SubmitsInDrop(tells);
    let queued = runtime.spawn_blocking(move || drop(guard));
    drop(runtime);
    let _either = submitted.recv().unwrap();
    held.end.send(()).unwrap();
    drop((first, queued));
}

/// Lets the thread go on when it is dropped, and waits for what that then does.
struct WaitsInDrop {
    end: Sender<()>,
    later: Receiver<()>,
}

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        self.end.send(()).unwrap();
        self.later.recv().unwrap();
    }
}

/// R5. Fault F5. Catches: a closure that is dropped under a lock that the thread needs to come past it.
#[test]
fn a_closure_that_waits_for_a_thread_when_it_is_dropped_holds_no_lock() {
    let _limit = limit(30);
    let mut options = Builder::new();
    options.max_blocking_threads(1).block_on(async {
        let (held, work) = Held::new();
        let first = spawn_blocking(work);
        held.begun.recv().unwrap();
        let (tells, later) = mpsc::channel();
        let end = held.end;
        let guard = WaitsInDrop { end, later };
        let called_off = spawn_blocking(move || drop(guard));
        let last = spawn_blocking(move || tells.send(()));
        called_off.abort();
        assert!(called_off.await.unwrap_err().is_cancelled());
        first.await.unwrap();
        last.await.unwrap().unwrap();
    });
}

/// Lets the thread go on when it is dropped, and waits until what was queued cannot begin any more.
struct LingersInDrop {
    end: Sender<()>,
    begun: Receiver<()>,
    /// The thread ended, and did not go on with what was queued.
    went_home: Arc<AtomicBool>,
}

impl Drop for LingersInDrop {
    fn drop(&mut self) {
        self.end.send(()).unwrap();
        until(|| threads("lingers").is_empty() || self.begun.try_recv().is_ok());
        // Not an assertion, which the end of the runtime would contain.
        self.went_home.store(threads("lingers").is_empty(), SeqCst);
    }
}

/// Catches: work that begins while the tasks of its runtime are dropped.
#[test]
fn work_that_is_queued_when_a_shutdown_begins_is_dropped() {
    let _limit = limit(60);
    let mut options = Builder::new();
    options.max_blocking_threads(1).thread_name("lingers");
    let runtime = options.build().unwrap();
    let (held, work) = Held::new();
    let (begins, begun) = mpsc::channel::<()>();
    let end = held.end;
    let went_home = Arc::new(AtomicBool::new(false));
    let lingers = LingersInDrop {
        end,
        begun,
        went_home: Arc::clone(&went_home),
    };
    // Tasks are dropped in the order of spawning: this one before the work is.
    let _lingers = runtime.spawn(async move {
        let _lingers = lingers;
        pending::<()>().await;
    });
    let _first = runtime.spawn_blocking(work);
    let _queued = runtime.spawn_blocking(move || begins.send(()));
    held.begun.recv().unwrap();
    runtime.block_on(yield_now());
    runtime.shutdown_timeout(Duration::MAX);
    assert!(went_home.load(SeqCst));
}

/// Fault F8. Catches: a limit that overflows the clock.
#[test]
fn a_shutdown_may_wait_for_ever() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (held, work) = Held::new();
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = Arc::clone(&ended);
    let _work = runtime.spawn_blocking(move || {
        work();
        has_ended.store(true, SeqCst);
    });
    held.begun.recv().unwrap();
    held.end.send(()).unwrap();
    runtime.shutdown_timeout(Duration::MAX);
    assert!(ended.load(SeqCst));
}

/// Catches: an idle thread that is to live for ever, and dies of an overflow.
#[test]
fn an_idle_thread_may_live_for_ever() {
    let _limit = limit(30);
    let mut options = Builder::new();
    // One only: the second work waits for the thread of the first, if that lives.
    options.max_blocking_threads(1);
    options.thread_keep_alive(Duration::MAX).block_on(async {
        let first = spawn_blocking(|| thread::current().id()).await.unwrap();
        let second = spawn_blocking(|| thread::current().id()).await.unwrap();
        assert_eq!(first, second);
    });
}
