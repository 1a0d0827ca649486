//! Never stranded (R10): what the kernel holds for a task that waits, the task gets without further
//! traffic. Real sockets, pipes and terminals are driven through random schedules; at rest, when
//! the reactor has looked and all who were woken have been polled, the kernel is asked what it
//! holds for those who still wait. The answer must be: nothing. Three modules go without the library: `epoll` asks what
//! epoll itself tells and keeps silent about, `bare_server` counts what a server loses that knows nothing of it, and
//! `scanning` what poll(2) costs.
//!
//! `REVEILLE_SCHEDULES=10000 cargo test --test stranded` runs so many of each kind. A failure prints
//! its seed, and `REVEILLE_SEED=<that> cargo test --test stranded <the test> -- --nocapture` replays
//! that schedule alone, and prints each step of it before it is made.

use random::Random;
use seeds::under_seeds;

#[path = "support/arrived.rs"]
mod arrived;
#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "stranded/any_fd.rs"]
mod any_fd;
#[path = "stranded/bare_server.rs"]
mod bare_server;
#[path = "stranded/epoll.rs"]
mod epoll;
#[path = "stranded/kernel.rs"]
mod kernel;
#[path = "stranded/pipe.rs"]
mod pipe;
#[path = "stranded/play.rs"]
mod play;
#[path = "stranded/random.rs"]
mod random;
#[path = "stranded/scanning.rs"]
mod scanning;
#[path = "stranded/tcp.rs"]
mod tcp;
#[path = "stranded/udp.rs"]
mod udp;
#[path = "stranded/unix.rs"]
mod unix;
#[path = "stranded/unix_datagram.rs"]
mod unix_datagram;
#[path = "stranded/unix_stream.rs"]
mod unix_stream;

/// Runs 1000 schedules of a kind in a plain `cargo test`.
#[track_caller]
fn schedules(schedule: impl Fn(&mut Random) + Send + 'static) {
    under_seeds("REVEILLE_SCHEDULES", 1000, move |seed| {
        schedule(&mut Random::new(seed));
    });
}
