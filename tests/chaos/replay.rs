//! The same seed replays the same run: whole traces of one program are compared.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::future::{Future, poll_fn};
use std::os::unix::process::parent_id;
use std::pin::pin;
use std::process;
use std::rc::Rc;
use std::time::Duration;

use reveille::Builder;
use reveille::task::{JoinSet, yield_now};
use reveille::time::{self, interval, sleep, timeout};

use super::child::{child, in_child};
use super::{pair, read, write_all};
use crate::limit::limit;

type Trace = Rc<RefCell<Vec<String>>>;

/// Notes each poll of `future`, and what it came to.
fn traced<T, F: Future<Output = T>>(
    trace: &Trace,
    name: &'static str,
    future: F,
) -> impl Future<Output = T> + use<T, F> {
    let trace = Rc::clone(trace);
    async move {
        let mut future = pin!(future);
        poll_fn(|cx| {
            trace.borrow_mut().push(format!("poll {name}"));
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// A run of a program whose every input comes from itself: streams both ways, races, timeouts that
/// cancel reads, ticks; all that can be seen of it.
fn run(seed: u64) -> Vec<String> {
    let trace = Trace::default();
    let runtime = Builder::new()
        .chaos(seed)
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(program(&trace));
    let metrics = runtime.handle().metrics();
    let mut trace = trace.take();
    trace.push(format!("{metrics:?}"));
    trace
}

async fn program(trace: &Trace) {
    let mut tasks = JoinSet::new();
    for name in ["first pair", "second pair", "third pair"] {
        let (here, there) = pair();
        tasks.spawn(traced(trace, name, async move {
            for round in 1..=5 {
                write_all(&here, &[round; 50]).await.unwrap();
                yield_now().await;
            }
        }));
        let noted = Rc::clone(trace);
        tasks.spawn(traced(trace, name, async move {
            let (mut buf, mut sum) = ([0; 64], 0);
            while let Ok(n @ 1..) = read(&there, &mut buf).await {
                noted.borrow_mut().push(format!("{name} read {n}"));
                sum += n;
            }
            assert_eq!(sum, 250);
        }));
    }
    for millis in [2, 3, 5] {
        let noted = Rc::clone(trace);
        tasks.spawn(traced(trace, "silence", async move {
            let (here, _there) = pair();
            let limit = Duration::from_millis(millis);
            let heard = timeout(limit, read(&here, &mut [0])).await;
            assert!(heard.is_err());
            noted.borrow_mut().push(format!("{millis} ms of silence"));
        }));
    }
    tasks.spawn(traced(trace, "ticks", async {
        let mut ticks = interval(Duration::from_millis(2));
        for _ in 0..4 {
            ticks.tick().await;
        }
    }));
    tasks.spawn(traced(trace, "sleep", sleep(Duration::from_millis(5))));
    let time_passes = reveille::spawn(async {
        loop {
            time::advance(Duration::from_millis(1)).await;
            yield_now().await;
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
        trace.borrow_mut().push("one ended".to_owned());
    }
    time_passes.abort();
}

/// A process of one's own, for a program that another test starts holds this one's pipes open for a
/// moment, between its fork and its exec, and an end comes later than it should.
/// Catches: a choice that does not come from the seed: from another generator, an address, the time.
#[test]
fn the_same_seed_replays_the_same_run() {
    in_child("replay::the_same_seed_replays_the_same_run", || {
        for seed in 0..50 {
            assert_eq!(run(seed), run(seed), "seed {seed}");
        }
    });
}

/// In another process addresses, serials and the keys of hash maps are others.
/// Catches: a choice that depends on them.
#[test]
fn the_same_seed_replays_the_same_run_in_another_process() {
    let _limit = limit(120);
    let left_by = |parent: u32| env::temp_dir().join(format!("reveille-chaos-{parent}"));
    let run_in_child = || {
        let name = "replay::the_same_seed_replays_the_same_run_in_another_process";
        let status = child(name, || {
            let runs: Vec<_> = (0..50).flat_map(run).collect();
            fs::write(left_by(parent_id()), runs.join("\n")).unwrap();
        })?;
        let runs = fs::read_to_string(left_by(process::id()));
        let _removed = fs::remove_file(left_by(process::id()));
        assert!(status.success());
        Some(runs.unwrap())
    };
    let Some(runs) = run_in_child() else { return };
    assert!(runs.lines().count() > 1000);
    assert!(run_in_child().unwrap() == runs, "another run");
}

/// Catches: a seed that is ignored.
#[test]
fn different_seeds_make_different_runs() {
    let _limit = limit(30);
    let runs: BTreeSet<_> = (0..50).map(run).collect();
    assert_eq!(runs.len(), 50);
}

/// `busy_poll` looks as often as time permits. Catches: choices that are drawn as often.
#[test]
fn busy_polling_does_not_spoil_the_replay() {
    let _limit = limit(30);
    let run = |busy| {
        let trace = Trace::default();
        let mut options = Builder::new();
        options.chaos(7).start_paused(true).auto_advance(true);
        options.busy_poll(busy);
        options.block_on(async {
            let mut sleeps = JoinSet::new();
            for (name, millis) in [("one", 1), ("two", 2), ("again two", 2), ("three", 3)] {
                let sleep = sleep(Duration::from_millis(millis));
                sleeps.spawn(traced(&trace, name, sleep));
            }
            while sleeps.join_next().await.is_some() {}
        });
        trace.take()
    };
    assert_eq!(run(Duration::from_millis(2)), run(Duration::ZERO));
}
