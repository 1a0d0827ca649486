//! Work that takes long, beside async tasks: threads count primes, while a task goes on ticking.
//!
//! ```sh
//! cargo run --example blocking_work
//! 17984 primes below 200000
//! ticks went on meanwhile: true
//! ```

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use reveille::task::JoinSet;
use reveille::time::interval;

const PARTS: u32 = 8;
const PART: u32 = 25_000;

fn main() -> io::Result<()> {
    let mut options = reveille::Builder::new();
    // So many parts are counted at once; the others wait.
    options.max_blocking_threads(4);
    options.block_on(async {
        let ticked = Rc::new(Cell::new(0));
        let counter = Rc::clone(&ticked);
        // The handle ends the task when it is dropped.
        let _ticks = reveille::spawn(async move {
            let mut ticks = interval(Duration::from_millis(1));
            loop {
                ticks.tick().await;
                counter.set(counter.get() + 1);
            }
        })
        .abort_on_drop();

        let mut parts = JoinSet::new();
        for part in 0..PARTS {
            parts.spawn_blocking(move || (part * PART..(part + 1) * PART).filter(is_prime).count());
        }
        let mut primes = 0;
        while let Some(count) = parts.join_next().await {
            primes += count?;
        }
        println!("{primes} primes below {}", PARTS * PART);
        println!("ticks went on meanwhile: {}", ticked.get() > 1);
        Ok(())
    })
}

/// By trial, as slow as it is simple.
fn is_prime(n: &u32) -> bool {
    *n >= 2 && (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)
}
