//! Many kinds at once, and what was done on a signal before its listener came.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::{io, thread};

use reveille::Runtime;
use reveille::signal::unix::{Signal, SignalKind, restore_default, signal, signal_keep_mask};

use crate::child::{child, in_child};
use crate::{USR1, USR2, action_on, has_come, raise};

/// Every kind that can be awaited and be pending beside all others: 32 and 33 are the C library's
/// own, and SIGCONT is thrown away by what stops a process (signal(7)).
fn every_kind() -> impl Iterator<Item = SignalKind> {
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];
    let others = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCONT];
    (1..=libc::SIGRTMAX())
        .filter(|number| *number < 32 || *number >= libc::SIGRTMIN())
        .filter(move |number| !faults.contains(number) && !others.contains(number))
        .map(SignalKind::from_raw)
}

fn listeners() -> Vec<Signal> {
    every_kind().map(|kind| signal(kind).unwrap()).collect()
}

/// Blocks all signals in this thread, or puts back what was blocked.
fn mask_all(how: libc::c_int) {
    // SAFETY: all zeroes is a valid `sigset_t`.
    let mut all = unsafe { std::mem::zeroed::<libc::sigset_t>() };
    // SAFETY: sigfillset(3) writes the set it is given, a local.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: the set is read and outlives the call; the former one is not asked for.
    let masked = unsafe { libc::pthread_sigmask(how, &raw const all, std::ptr::null_mut()) };
    assert_eq!(masked, 0);
}

fn is_blocked(kind: SignalKind) -> bool {
    // SAFETY: all zeroes is a valid `sigset_t`.
    let mut blocked = unsafe { std::mem::zeroed::<libc::sigset_t>() };
    // SAFETY: nothing is read for a null set, and the former one is written to a local.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut blocked) };
    // SAFETY: sigismember(3) reads the set it is given.
    unsafe { libc::sigismember(&raw const blocked, kind.as_raw_value()) == 1 }
}

/// Fault E6. Catches: a handler that others interrupt: a frame for each kind that is pending lies on
/// the alternate stack, which is too small for the third.
#[test]
fn all_kinds_that_are_pending_at_once_are_heard() {
    in_child(
        "at_once::all_kinds_that_are_pending_at_once_are_heard",
        || {
            let runtime = Runtime::new().unwrap();
            for _ in 0..3 {
                // They come and go, and are made while everything is open.
                let mut listeners = listeners();
                mask_all(libc::SIG_BLOCK);
                every_kind().for_each(raise);
                mask_all(libc::SIG_UNBLOCK);
                for listener in &mut listeners {
                    assert!(has_come(&runtime, listener), "{listener:?}");
                    assert!(!has_come(&runtime, listener), "{listener:?}");
                }
            }
        },
    );
}

/// Fault E6. Catches: as above, by the way an operator meets it; a thread that has blocked nothing.
#[test]
fn a_process_that_was_stopped_hears_all_that_came_meanwhile() {
    in_child(
        "at_once::a_process_that_was_stopped_hears_all_that_came_meanwhile",
        || {
            let stops = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
            let runtime = Runtime::new().unwrap();
            let mut all = listeners();
            // What stops a process is thrown away by the signal that continues it.
            let (sent, heard): (Vec<_>, Vec<_>) = every_kind()
                .zip(&mut all)
                .filter(|(kind, _)| !stops.contains(&kind.as_raw_value()))
                .unzip();
            let this = std::process::id();
            let mut script = format!("kill -STOP {this}; ");
            for kind in sent {
                script += &format!("kill -{} {this}; ", kind.as_raw_value());
            }
            script += &format!("kill -CONT {this}");
            // SIGCHLD of the shell itself counts as one with the one it sends.
            let status = Command::new("sh").args(["-c", &script]).status().unwrap();
            assert!(status.success());
            // Delivered to whichever thread, which need not have run yet.
            runtime.block_on(async {
                for listener in heard {
                    let limit = std::time::Duration::from_secs(20);
                    let heard = reveille::time::timeout(limit, listener.recv()).await;
                    assert!(heard.is_ok(), "{listener:?}");
                }
            });
        },
    );
}

/// Fault E6. Catches: kinds that come from several threads at once, to threads whose stacks are small.
#[test]
fn kinds_that_threads_send_each_other_are_heard() {
    in_child(
        "at_once::kinds_that_threads_send_each_other_are_heard",
        || {
            let runtime = Runtime::new().unwrap();
            let mut listeners = listeners();
            thread::scope(|scope| {
                for _ in 0..4 {
                    let small = thread::Builder::new().stack_size(64 << 10);
                    let storm = || {
                        for _ in 0..100 {
                            mask_all(libc::SIG_BLOCK);
                            every_kind().for_each(raise);
                            mask_all(libc::SIG_UNBLOCK);
                        }
                    };
                    small.spawn_scoped(scope, storm).unwrap();
                }
            });
            for listener in &mut listeners {
                assert!(has_come(&runtime, listener), "{listener:?}");
            }
        },
    );
}

/// Faults E4, E6. Catches: a child in which the frames of several kinds are stacked, or whose handlers
/// tell the parent.
#[test]
fn all_kinds_that_are_pending_at_once_in_a_child_harm_nobody() {
    in_child(
        "at_once::all_kinds_that_are_pending_at_once_in_a_child_harm_nobody",
        || {
            let runtime = Runtime::new().unwrap();
            let mut listeners = listeners();
            let _settled = has_come(&runtime, &mut listeners[0]);
            // SAFETY: fork(2) takes nothing, and the child makes system calls only.
            let child = unsafe { libc::fork() };
            assert_ne!(child, -1);
            if child == 0 {
                mask_all(libc::SIG_BLOCK);
                every_kind().for_each(raise);
                mask_all(libc::SIG_UNBLOCK);
                // SAFETY: _exit(2) takes an integer and does not return.
                unsafe { libc::_exit(0) };
            }
            let mut status = 0;
            // SAFETY: waitpid(2) writes one integer to the pointer, which is that of a local.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
            for (kind, listener) in every_kind().zip(&mut listeners) {
                let own = kind == SignalKind::child();
                assert_eq!(
                    has_come(&runtime, listener),
                    own,
                    "{kind:?}: SIGCHLD alone is the parent's"
                );
            }
        },
    );
}

/// Fault E7. Catches: a signal that was blocked by whoever started the process, and so never arrives;
/// a listener that changes the mask though it was asked not to.
#[test]
fn a_signal_that_was_blocked_at_birth_is_heard_unless_it_is_to_stay_so() {
    in_child(
        "at_once::a_signal_that_was_blocked_at_birth_is_heard_unless_it_is_to_stay_so",
        || {
            let runtime = Runtime::new().unwrap();
            mask_all(libc::SIG_BLOCK);
            let mut kept = signal_keep_mask(USR2).unwrap();
            raise(USR1);
            raise(USR2);
            let mut listener = signal(USR1).unwrap();
            assert!(has_come(&runtime, &mut listener), "what was pending, too");
            assert!(!is_blocked(USR1));
            assert!(is_blocked(USR2), "the others stay blocked");
            assert!(!has_come(&runtime, &mut kept));
            mask_all(libc::SIG_UNBLOCK);
            assert!(has_come(&runtime, &mut kept));
        },
    );
}

/// Fault E7. Catches: a signal that stays ignored.
#[test]
fn a_signal_that_was_ignored_is_heard_and_ignored_again_when_restored() {
    in_child(
        "at_once::a_signal_that_was_ignored_is_heard_and_ignored_again_when_restored",
        || {
            // SAFETY: signal(2) takes two integers, and SIG_IGN runs no code.
            unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
            let runtime = Runtime::new().unwrap();
            let mut listener = signal(USR1).unwrap();
            raise(USR1);
            assert!(has_come(&runtime, &mut listener));
            restore_default(USR1).unwrap();
            assert_eq!(action_on(USR1).sa_sigaction, libc::SIG_IGN);
        },
    );
}

static FOREIGN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn foreign(_: libc::c_int) {
    FOREIGN.fetch_add(1, SeqCst);
}

fn foreign_handler() -> libc::sighandler_t {
    foreign as extern "C" fn(libc::c_int) as libc::sighandler_t
}

/// Installs a handler as other code does, or another copy of the library.
fn install_foreign(kind: SignalKind) {
    // SAFETY: the handler does nothing but an atomic addition.
    unsafe { libc::signal(kind.as_raw_value(), foreign_handler()) };
}

/// What a subscriber is told meanwhile.
fn told(f: impl FnOnce()) -> String {
    #[derive(Clone)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log(Arc::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), f);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// Fault E9. Catches: a listener that is deaf because other code has installed its handler since the
/// first one; a replacement that nobody is told of, or that is told where nothing was replaced; a
/// handler of other code that `restore_default` throws away.
#[test]
fn a_listener_made_after_a_foreign_handler_hears_and_the_replacement_is_told() {
    in_child(
        "at_once::a_listener_made_after_a_foreign_handler_hears_and_the_replacement_is_told",
        || {
            let runtime = Runtime::new().unwrap();
            let mut first = None;
            assert_eq!(told(|| first = Some(signal(USR1).unwrap())), "");
            assert_eq!(
                told(|| drop(signal(USR1).unwrap())),
                "",
                "it is ours already"
            );
            install_foreign(USR1);
            let mut second = None;
            let text = told(|| second = Some(signal(USR1).unwrap()));
            assert!(text.contains("WARN") && text.contains("replaced"), "{text}");
            raise(USR1);
            assert!(has_come(&runtime, &mut first.unwrap()));
            assert!(has_come(&runtime, &mut second.unwrap()));
            assert_eq!(FOREIGN.load(SeqCst), 0, "it is not called from ours");
            // One that came after the last listener is not ours to remove.
            install_foreign(USR1);
            restore_default(USR1).unwrap();
            assert_eq!(action_on(USR1).sa_sigaction, foreign_handler());
            // The action from before the first listener is kept until it can be given back.
            drop(signal(USR1).unwrap());
            restore_default(USR1).unwrap();
            assert_eq!(action_on(USR1).sa_sigaction, libc::SIG_DFL);
            // And then forgotten: to the next first listener another was there before.
            install_foreign(USR1);
            drop(signal(USR1).unwrap());
            restore_default(USR1).unwrap();
            assert_eq!(action_on(USR1).sa_sigaction, foreign_handler());
        },
    );
}

/// Fault E9. Catches: a handler that other code installs at the same moment, and that is overwritten, as one
/// in nine is if the former action is put back without a look at what it displaces. (That it is put back if
/// it came between the look and the restoring, a matter of nanoseconds, this sees only now and then.)
#[test]
fn a_handler_that_comes_while_the_former_action_is_given_back_stays() {
    in_child(
        "at_once::a_handler_that_comes_while_the_former_action_is_given_back_stays",
        || {
            const ROUNDS: usize = 50_000;
            let round = Barrier::new(2);
            let mut overwritten = 0;
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        round.wait();
                        install_foreign(USR1);
                        round.wait();
                    }
                });
                for _ in 0..ROUNDS {
                    drop(signal_keep_mask(USR1).unwrap());
                    round.wait();
                    restore_default(USR1).unwrap();
                    round.wait();
                    overwritten += usize::from(action_on(USR1).sa_sigaction != foreign_handler());
                }
            });
            assert_eq!(overwritten, 0);
        },
    );
}

/// Faults E3, E9. Catches: what was replaced last given back instead of what was there first: two
/// copies that listen in turn keep each other's handlers for ever.
#[test]
fn after_a_foreign_handler_was_replaced_the_first_action_is_given_back() {
    let name = "at_once::after_a_foreign_handler_was_replaced_the_first_action_is_given_back";
    let status = child(name, || {
        drop(signal(USR1).unwrap());
        install_foreign(USR1);
        drop(signal(USR1).unwrap());
        restore_default(USR1).unwrap();
        raise(USR1);
    });
    if let Some(status) = status {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(libc::SIGUSR1), "{status}");
    }
}
