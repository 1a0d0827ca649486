//! hickory's resolver over reveille's `UdpSocket` and `TcpStream`, against a server of our own.
//!
//! The glue is `src/lib.rs`.

#[path = "../../../support/alone.rs"]
mod alone;
#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seeds.rs"]
mod seeds;

#[path = "dns/server.rs"]
mod server;

use std::fs;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use interop_dns::Reveille;
use reveille::runtime::Runtime;
use reveille::task::{JoinHandle, spawn_blocking, yield_now};
use reveille::time;
use reveille::{Builder, block_on, spawn};

use alone::alone;
use limit::limit;
use seeds::under_seeds;
use server::{MANY, serve};

/// A resolver that asks this server only.
fn resolver(at: SocketAddr) -> Resolver<Reveille> {
    let mut config = NameServerConfig::udp_and_tcp(at.ip());
    for connection in &mut config.connections {
        connection.port = at.port();
    }
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
    Resolver::builder_with_config(config, Reveille)
        .build()
        .unwrap()
}

/// The addresses, in order.
async fn look_up(resolver: &Resolver<Reveille>, name: &str) -> Result<Vec<String>, NetError> {
    let found = resolver.lookup_ip(name).await?;
    let mut found: Vec<_> = found.iter().collect::<Vec<IpAddr>>();
    found.sort();
    Ok(found.iter().map(IpAddr::to_string).collect())
}

/// Catches: an answer that is taken for another question's.
#[test]
fn addresses_of_both_families_are_found() {
    let _limit = limit(60);
    block_on(async {
        let (at, _asked) = serve().await;
        let resolver = resolver(at);
        assert_eq!(
            look_up(&resolver, "four.test.").await.unwrap(),
            ["192.0.2.1"]
        );
        assert_eq!(
            look_up(&resolver, "six.test.").await.unwrap(),
            ["2001:db8::1"]
        );
        assert_eq!(
            look_up(&resolver, "both.test.").await.unwrap(),
            ["192.0.2.1", "2001:db8::1"]
        );
    });
}

/// Catches: an answer that is cut and believed.
#[test]
fn a_truncated_answer_makes_the_resolver_ask_by_tcp() {
    let _limit = limit(60);
    block_on(async {
        let (at, asked) = serve().await;
        let found = look_up(&resolver(at), "many.test.").await.unwrap();
        assert_eq!(found.len(), MANY.into());
        assert!(asked.by_udp.get() >= 1);
        assert!(asked.by_tcp.get() >= 1);
    });
}

/// Catches: a lookup that waits for an answer which has come.
#[test]
fn a_name_that_is_missing_is_an_error() {
    let _limit = limit(60);
    block_on(async {
        let (at, _asked) = serve().await;
        let error = look_up(&resolver(at), "missing.test.").await.unwrap_err();
        assert!(error.is_nx_domain(), "{error}");
    });
}

/// Catches: a question that waits for others, or takes the answer of another one.
#[test]
fn a_hundred_names_are_asked_at_once() {
    let _limit = limit(60);
    block_on(async {
        let (at, asked) = serve().await;
        hundred_names(at).await;
        assert_eq!(asked.by_tcp.get(), 0);
    });
}

async fn hundred_names(at: SocketAddr) {
    let resolver = resolver(at);
    let mut tasks = Vec::new();
    for nth in 0..100 {
        let resolver = resolver.clone();
        tasks.push(spawn(async move {
            let found = look_up(&resolver, &format!("n{nth}.test.")).await.unwrap();
            assert_eq!(found, [format!("192.0.2.{nth}")]);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Moves the paused clock on until the task has ended, and says by how much, in seconds.
async fn until_it_ends<T>(task: &JoinHandle<T>) -> f64 {
    let begun = time::now();
    while !task.is_finished() {
        time::advance(Duration::from_millis(10)).await;
        yield_now().await;
    }
    (time::now() - begun).as_secs_f64()
}

/// Catches: a timer of hickory's by another clock, which would take its time.
#[test]
fn a_question_that_was_lost_is_asked_again() {
    let _limit = limit(60);
    block_on(async {
        let (at, asked) = serve().await;
        time::pause();
        let looking = spawn(async move { look_up(&resolver(at), "lost.test.").await });
        let passed = until_it_ends(&looking).await;
        assert_eq!(looking.await.unwrap().unwrap(), ["192.0.2.1"]);
        assert!(passed < 5.0, "{passed} s");
        // One each for both families, and one again.
        assert!(asked.by_udp.get() >= 3);
    });
}

/// Catches: a lookup without an end.
#[test]
fn a_server_that_is_silent_is_given_up() {
    let _limit = limit(60);
    block_on(async {
        let (at, _asked) = serve().await;
        time::pause();
        let looking = spawn(async move { look_up(&resolver(at), "silent.test.").await });
        let passed = until_it_ends(&looking).await;
        let error = looking.await.unwrap().unwrap_err();
        assert!(matches!(error, NetError::Timeout), "{error:?}");
        // 5 s an attempt, of which there are three.
        assert!((5.0..30.0).contains(&passed), "{passed} s");
    });
}

/// Catches: a wait that relies on the order of tasks; a `WouldBlock`, a wake or an interruption that was not foreseen.
#[test]
fn under_shuffled_choices_the_same_addresses_are_found() {
    under_seeds("REVEILLE_CHAOS", 2, |seed| {
        let _limit = limit(60);
        Builder::new().chaos(seed).block_on(async {
            let (at, _asked) = serve().await;
            hundred_names(at).await;
            let found = look_up(&resolver(at), "many.test.").await.unwrap();
            assert_eq!(found.len(), MANY.into());
        });
    });
}

/// Catches: a task of hickory's that goes on without its resolver, with its connection.
#[test]
fn a_resolver_that_is_dropped_closes_its_connection() {
    let _limit = limit(60);
    block_on(async {
        let (at, asked) = serve().await;
        let resolver = resolver(at);
        look_up(&resolver, "many.test.").await.unwrap();
        assert!(asked.connections.get() > 0);
        drop(resolver);
        while asked.connections.get() > 0 {
            yield_now().await;
        }
    });
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Catches: a task, a socket or a registration that outlives its runtime.
#[test]
fn a_runtime_that_ends_amid_lookups_leaves_no_descriptor() {
    let _limit = limit(60);
    // In a process of its own: other tests open descriptors meanwhile.
    alone(
        "a_runtime_that_ends_amid_lookups_leaves_no_descriptor",
        || {
            let before = descriptors();
            for _ in 0..3 {
                let runtime = Runtime::new().unwrap();
                let resolver = runtime.block_on(async {
                    let (at, asked) = serve().await;
                    let resolver = resolver(at);
                    look_up(&resolver, "many.test.").await.unwrap();
                    let looking = resolver.clone();
                    spawn(async move { look_up(&looking, "silent.test.").await }).detach();
                    while asked.by_udp.get() < 3 {
                        yield_now().await;
                    }
                    resolver
                });
                assert!(descriptors() > before);
                drop(runtime);
                drop(resolver);
                assert_eq!(descriptors(), before);
            }
        },
    );
}

/// Catches: an example that is not what it says.
#[test]
fn the_example_prints_what_the_server_says() {
    let _limit = limit(60);
    block_on(async {
        let (at, _asked) = serve().await;
        // cargo puts tests into `deps`, and examples beside that.
        let test = std::env::current_exe().unwrap();
        let example = test.parent().unwrap().with_file_name("examples/resolve");
        let running = spawn_blocking(move || {
            Command::new(example)
                .args(["both.test.", &at.to_string()])
                .output()
        });
        let output = running.await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        // hickory asks for both at once, and keeps the order in which they came.
        let mut lines: Vec<_> = output.stdout.lines().map(Result::unwrap).collect();
        lines.sort();
        assert_eq!(lines, ["192.0.2.1", "2001:db8::1"]);
    });
}
