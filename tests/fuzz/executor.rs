//! Programs of tasks in two runtimes, against what they were told.
//!
//! A task reads from the input, at each poll, what to do and how to end. The model keeps for each
//! task whether it was woken since its last poll, and how it must end. At rest every woken task has
//! been polled and every aborted one dropped; nothing is polled more often than it was woken; each
//! future is dropped once, on this thread, in its runtime; each handle gives what its task did.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::thread;

use reveille::task::{AbortHandle, JoinHandle};
use reveille::{Handle, Runtime};

use crate::Input;

/// How many tasks a program makes at most.
const TASKS: usize = 48;

pub fn run(data: &[u8]) {
    let world = Rc::new(World::new(data));
    while let Some(step) = world.input.next() {
        let which = world.input.below(2);
        match step % 8 {
            0..3 => world.act(),
            3 | 4 => world.turn(which),
            5 => world.block_on(which),
            6 => world.settle(),
            _ => world.replace(which),
        }
    }
    world.settle();
    for which in 0..2 {
        world.end(which);
    }
    world.check_the_end();
}

struct World {
    input: Input,
    runtimes: RefCell<[Option<Rc<Runtime>>; 2]>,
    /// Which generation of the runtime lives, and whether it runs.
    generation: [Cell<usize>; 2],
    running: [Cell<bool>; 2],
    tasks: RefCell<Vec<Record>>,
    polls: Cell<usize>,
    /// Everything that is a reason for one poll.
    reasons: Cell<usize>,
    /// What `Handle::spawn` sent and what became of it.
    sent: Cell<usize>,
    arrived: Arc<AtomicUsize>,
    thread: thread::ThreadId,
}

/// What the model knows of a task.
struct Record {
    home: Home,
    woken: bool,
    aborted: bool,
    alive: bool,
    drop_panics: bool,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    handle: Option<JoinHandle<usize>>,
    abort: AbortHandle,
}

/// A runtime: which of the two, and its generation.
type Home = (usize, usize);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Value,
    Panic,
    Cancelled,
}

/// The future of a task.
struct Program {
    world: Rc<World>,
    number: usize,
    /// Whose end it waits for.
    joins: Option<(usize, JoinHandle<usize>)>,
}

impl World {
    fn new(data: &[u8]) -> World {
        World {
            input: Input::new(data),
            runtimes: RefCell::new([0, 1].map(|_| Some(Rc::new(Runtime::new().unwrap())))),
            generation: Default::default(),
            running: Default::default(),
            tasks: RefCell::default(),
            polls: Cell::new(0),
            reasons: Cell::new(0),
            sent: Cell::new(0),
            arrived: Arc::default(),
            thread: thread::current().id(),
        }
    }

    /// Something that any code may do, in a task, in a destructor or outside.
    fn act(self: &Rc<World>) {
        let operation = self.input.byte();
        let tasks = self.tasks.borrow().len();
        let chosen = self.input.below(tasks);
        if tasks == 0 && !matches!(operation % 12, 8 | 9) {
            return self.spawn();
        }
        match operation % 12 {
            0 | 1 => self.spawn(),
            2 | 3 => self.wake(chosen, false),
            4 => self.wake(chosen, true),
            5 => self.abort(chosen, operation >= 128),
            6 => self.drop_handle(chosen, operation >= 128),
            7 => drop(self.tasks.borrow()[chosen].waker.clone()),
            8 => self.turn(chosen % 2),
            9 => self.send(chosen % 2),
            10 => self.end_from_inside(chosen % 2),
            _ => self.look_at(chosen),
        }
    }

    fn runtime(&self, which: usize) -> Option<Rc<Runtime>> {
        self.runtimes.borrow()[which].clone()
    }

    /// Where this code runs.
    fn here(&self) -> Option<Home> {
        let current = format!("{:?}", Handle::try_current().ok()?);
        (0..2).find_map(|which| {
            let runtime = self.runtime(which)?;
            let same = format!("{:?}", runtime.handle()) == current;
            same.then(|| (which, self.generation[which].get()))
        })
    }

    fn spawn(self: &Rc<World>) {
        let number = self.tasks.borrow().len();
        if number >= TASKS {
            return;
        }
        let here = self.here();
        if here.is_none() && Handle::try_current().is_ok() {
            // At the end of a runtime, which will drop this unpolled.
            return drop(reveille::spawn(async { unreachable!("polled at the end") }));
        }
        let which = here.map_or_else(|| self.input.below(2), |(which, _)| which);
        let Some(runtime) = self.runtime(which) else {
            return;
        };
        let drop_panics = self.input.below(8) == 7;
        let (world, joins) = (Rc::clone(self), None);
        let program = Program {
            world,
            number,
            joins,
        };
        let home = (which, self.generation[which].get());
        let handle = match here {
            Some(_) => reveille::spawn(program),
            None => runtime.spawn(program),
        };
        self.reasons.set(self.reasons.get() + 1);
        let abort = handle.abort_handle();
        self.tasks.borrow_mut().push(Record {
            home,
            woken: true,
            aborted: false,
            alive: true,
            drop_panics,
            outcome: None,
            waker: None,
            handle: Some(handle),
            abort,
        });
    }

    fn wake(&self, number: usize, from_a_thread: bool) {
        let Some(waker) = self.tasks.borrow()[number].waker.clone() else {
            return;
        };
        // A stale one may hit whoever lives in the slot now, so it is a reason all the same.
        self.reasons.set(self.reasons.get() + 1);
        if self.tasks.borrow()[number].alive {
            self.tasks.borrow_mut()[number].woken = true;
        }
        if from_a_thread {
            thread::spawn(move || waker.wake()).join().unwrap();
        } else {
            waker.wake();
        }
    }

    fn abort(&self, number: usize, from_a_thread: bool) {
        let abort = {
            let mut tasks = self.tasks.borrow_mut();
            tasks[number].aborted = true;
            tasks[number].abort.clone()
        };
        if from_a_thread {
            thread::spawn(move || abort.abort()).join().unwrap();
        } else {
            abort.abort();
        }
    }

    fn drop_handle(&self, number: usize, on_a_thread: bool) {
        let handle = self.tasks.borrow_mut()[number].handle.take();
        if on_a_thread {
            thread::spawn(move || drop(handle)).join().unwrap();
        } else {
            drop(handle);
        }
    }

    /// `is_finished`, where it may be asked.
    fn look_at(&self, number: usize) {
        let home = self.tasks.borrow()[number].home;
        let handle = self.tasks.borrow_mut()[number].handle.take();
        if let Some(handle) = handle {
            if self.here() == Some(home) {
                let finished = handle.is_finished();
                let record = &self.tasks.borrow()[number];
                // Between the drop of the future and the mark in the slab runs nothing of ours.
                assert!(
                    !finished || !record.alive,
                    "{number} finished, but it lives"
                );
            }
            self.tasks.borrow_mut()[number].handle = Some(handle);
        }
    }

    /// A future for another runtime, from a thread.
    fn send(&self, which: usize) {
        struct Arrives(Arc<AtomicUsize>);
        impl Drop for Arrives {
            fn drop(&mut self) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        let Some(runtime) = self.runtime(which) else {
            return;
        };
        self.sent.set(self.sent.get() + 1);
        self.reasons.set(self.reasons.get() + 1);
        let (handle, arrives) = (runtime.handle(), Arrives(Arc::clone(&self.arrived)));
        let send = move || handle.spawn(async move { drop(arrives) });
        thread::spawn(send).join().unwrap();
    }

    fn turn(&self, which: usize) {
        let Some(runtime) = self.runtime(which) else {
            return;
        };
        if self.running[which].get() {
            return;
        }
        self.running[which].set(true);
        runtime.turn().unwrap();
        self.running[which].set(false);
    }

    /// The main future is one more slot.
    fn block_on(self: &Rc<World>, which: usize) {
        let Some(runtime) = self.runtime(which) else {
            return;
        };
        self.running[which].set(true);
        let mut polls = self.input.below(4);
        let world = Rc::clone(self);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(std::future::poll_fn(move |cx| {
                world.act();
                if polls == 0 {
                    if world.input.below(8) == 7 {
                        resume_unwind(Box::new("main"));
                    }
                    return Poll::Ready(());
                }
                polls -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }))
        }));
        self.running[which].set(false);
        if let Err(payload) = ended {
            assert_eq!(payload.downcast_ref(), Some(&"main"));
        }
    }

    fn replace(&self, which: usize) {
        self.end(which);
        self.runtimes.borrow_mut()[which] = Some(Rc::new(Runtime::new().unwrap()));
    }

    /// Ends the other runtime in the middle of this one's task.
    fn end_from_inside(&self, which: usize) {
        if !self.running[which].get() && self.input.below(4) == 3 {
            self.end(which);
        }
    }

    fn end(&self, which: usize) {
        let runtime = self.runtimes.borrow_mut()[which].take();
        let Some(runtime) = runtime else { return };
        // What its destructors do must find a runtime that runs already.
        self.running[which].set(true);
        let generation = self.generation[which].get();
        drop(Rc::into_inner(runtime).expect("nobody turns it"));
        self.generation[which].set(generation + 1);
        self.running[which].set(false);
        for (number, record) in self.tasks.borrow().iter().enumerate() {
            let gone = record.home != (which, generation) || !record.alive;
            assert!(gone, "{number} outlived its runtime");
        }
    }

    /// Turns both until nothing is left to do, and sees what must have been done.
    fn settle(&self) {
        for turns in 0.. {
            assert!(turns < 100_000, "they never come to rest");
            let busy = |which| {
                let runtime = self.runtime(which);
                runtime.is_some_and(|runtime| runtime.next_deadline().is_some())
            };
            if !busy(0) && !busy(1) {
                break;
            }
            self.turn(0);
            self.turn(1);
        }
        for (number, record) in self.tasks.borrow().iter().enumerate() {
            assert!(
                !record.alive || !record.woken,
                "{number} was woken and not polled"
            );
            assert!(
                !record.alive || !record.aborted,
                "{number} was aborted and lives"
            );
        }
        assert!(
            self.polls.get() <= self.reasons.get(),
            "{} polls for {} reasons",
            self.polls.get(),
            self.reasons.get(),
        );
        assert_eq!(self.arrived.load(SeqCst), self.sent.get());
    }

    fn check_the_end(self: &Rc<World>) {
        assert_eq!(self.arrived.load(SeqCst), self.sent.get());
        let numbers = self.tasks.borrow().len();
        for number in 0..numbers {
            let handle = self.tasks.borrow_mut()[number].handle.take();
            let Some(mut handle) = handle else { continue };
            assert!(handle.is_finished());
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(joined) = Pin::new(&mut handle).poll(&mut cx) else {
                panic!("{number}: pending after the end of its runtime");
            };
            // Its outcome was not fetched in time, so it ended with the runtime.
            assert!(joined.unwrap_err().is_cancelled());
        }
        // Nothing keeps the world but the tasks that were not followed.
        self.tasks.borrow_mut().clear();
    }

    fn check_join(&self, number: usize, joined: Result<usize, reveille::task::JoinError>) {
        let record = &self.tasks.borrow()[number];
        assert!(
            !record.alive,
            "{number} was joined before its future was dropped"
        );
        match joined {
            Ok(value) => assert_eq!((value, record.outcome), (number, Some(Outcome::Value))),
            Err(error) if error.is_cancelled() => {
                assert!(matches!(record.outcome, Some(Outcome::Cancelled)) || !self.lives(record));
            }
            Err(error) => {
                let payload: Box<dyn Any> = error.into_panic();
                let text = payload.downcast_ref::<&str>().copied();
                match record.outcome {
                    Some(Outcome::Panic) => assert_eq!(text, Some("poll")),
                    Some(Outcome::Cancelled) => {
                        assert!(record.drop_panics);
                        assert_eq!(text, Some("drop"));
                    }
                    outcome => panic!("{number} panicked, but {outcome:?}"),
                }
            }
        }
    }

    fn lives(&self, record: &Record) -> bool {
        self.generation[record.home.0].get() == record.home.1
    }
}

impl Program {
    /// Waits for another task of the same runtime, whose handle it takes.
    fn join(&mut self, cx: &mut Context<'_>) {
        if self.joins.is_none() {
            let mut tasks = self.world.tasks.borrow_mut();
            let chosen = self.world.input.below(tasks.len());
            if chosen != self.number && tasks[chosen].home == tasks[self.number].home {
                self.joins = tasks[chosen].handle.take().map(|handle| (chosen, handle));
            }
        }
        let Some((number, handle)) = &mut self.joins else {
            return;
        };
        // Its end will be a reason, or the budget's.
        self.world.reasons.set(self.world.reasons.get() + 1);
        if let Poll::Ready(joined) = Pin::new(handle).poll(cx) {
            self.world.check_join(*number, joined);
            self.joins = None;
        }
    }
}

impl Future for Program {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let (world, number) = (Rc::clone(&self.world), self.number);
        assert_eq!(thread::current().id(), world.thread);
        world.polls.set(world.polls.get() + 1);
        {
            let record = &mut world.tasks.borrow_mut()[number];
            assert!(record.alive, "{number} polled after its end");
            assert_eq!(record.outcome, None, "{number} polled after its end");
            record.woken = false;
            record.waker = Some(cx.waker().clone());
        }
        for _ in 0..world.input.below(3) {
            world.act();
        }
        let end = |outcome| world.tasks.borrow_mut()[number].outcome = Some(outcome);
        match world.input.byte() % 8 {
            // Nothing is left: all end well.
            0 | 1 => {
                end(Outcome::Value);
                Poll::Ready(number)
            }
            2 => {
                end(Outcome::Panic);
                resume_unwind(Box::new("poll"))
            }
            3 => {
                world.wake(number, false);
                Poll::Pending
            }
            4 | 5 => {
                self.join(cx);
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let world = Rc::clone(&self.world);
        assert_eq!(thread::current().id(), world.thread);
        let (home, drop_panics) = {
            let record = &mut world.tasks.borrow_mut()[self.number];
            assert!(record.alive, "{} dropped twice", self.number);
            record.alive = false;
            record.outcome.get_or_insert(Outcome::Cancelled);
            (record.home, record.drop_panics)
        };
        // The end of its runtime has taken it out of the table.
        let here = world.here();
        assert!(here == Some(home) || (here.is_none() && Handle::try_current().is_ok()));
        if world.input.below(4) == 3 {
            world.act();
        }
        if drop_panics && !thread::panicking() {
            resume_unwind(Box::new("drop"));
        }
    }
}
