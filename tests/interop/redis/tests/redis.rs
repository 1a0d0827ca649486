//! redis-rs over reveille's `TcpStream`, against a real redis-server, with nothing between them.
//!
//! `MultiplexedConnection::new_with_config` takes any stream, and gives back what has to be spawned. Two things of
//! redis-rs are tokio's: its timeout for responses, which is therefore switched off here, and `PubSub`, which spawns. The
//! last test shows both. Instead of them: `reveille::time::timeout`, and RESP3, by which messages come on any connection.
//!
//! `tests/interop/run redis` starts the server, and says where it is in `REVEILLE_REDIS`.

use std::env;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncCommands, AsyncConnectionConfig, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, Value, cmd, from_redis_value, pipe,
};
use reveille::net::TcpStream;
use reveille::task::{JoinHandle, JoinSet};
use reveille::time::timeout;
use reveille::{Builder, block_on, spawn};
use tokio::sync::mpsc;

#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seeds.rs"]
mod seeds;

use limit::limit;
use seeds::under_seeds;

fn info() -> ConnectionInfo {
    let text = env::var("REVEILLE_REDIS")
        .expect("REVEILLE_REDIS is not set: these tests are run by tests/interop/run redis");
    text.into_connection_info().unwrap()
}

async fn stream() -> TcpStream {
    let redis::ConnectionAddr::Tcp(host, port) = info().addr().clone() else {
        panic!("REVEILLE_REDIS does not name a host");
    };
    TcpStream::connect((host.as_str(), port)).await.unwrap()
}

/// A connection, and the task that moves its bytes.
async fn connect_with(config: AsyncConnectionConfig) -> (MultiplexedConnection, JoinHandle<()>) {
    let settings = info().redis_settings().clone();
    // RESP3 tells what was published on any connection, if its configuration has a sender for that.
    let settings = settings.set_protocol(ProtocolVersion::RESP3);
    let connection = MultiplexedConnection::new_with_config(&settings, stream().await, config);
    let (connection, driver) = connection.await.unwrap();
    (connection, spawn(driver))
}

async fn connect() -> (MultiplexedConnection, JoinHandle<()>) {
    connect_with(AsyncConnectionConfig::new().set_response_timeout(None)).await
}

/// Catches: a value that is cut; a task that does not end with its connection.
#[test]
fn what_was_set_is_got_and_the_connection_ends_with_its_last_handle() {
    let _limit = limit(60);
    block_on(async {
        let (mut connection, driver) = connect().await;
        for size in [0, 1, 1 << 20] {
            let value = "v".repeat(size);
            let () = connection.set("size", &value).await.unwrap();
            let got: String = connection.get("size").await.unwrap();
            assert!(got == value, "{size} bytes");
        }
        let missing: Option<String> = connection.get("missing").await.unwrap();
        assert_eq!(missing, None);
        let error = cmd("NONSENSE").query_async::<()>(&mut connection).await;
        assert!(error.unwrap_err().to_string().contains("unknown command"));
        drop(connection);
        driver.await.unwrap();
    });
}

async fn many_tasks_share_a_connection() {
    let (connection, driver) = connect().await;
    let mut tasks = JoinSet::new();
    for n in 0..200 {
        let mut connection = connection.clone();
        tasks.spawn(async move {
            let key = format!("shared {n}");
            let () = connection.set(&key, n).await.unwrap();
            assert_eq!(connection.get::<_, i32>(&key).await.unwrap(), n);
        });
    }
    assert_eq!(tasks.join_all().await.len(), 200);
    drop(connection);
    driver.await.unwrap();
}

/// Catches: answers that go to the wrong task.
#[test]
fn many_tasks_share_one_connection() {
    let _limit = limit(60);
    block_on(many_tasks_share_a_connection());
}

/// Catches: a wait that relies on the order of tasks, or on a write that is taken whole.
#[test]
fn under_shuffled_choices_each_task_gets_its_answer() {
    under_seeds("REVEILLE_CHAOS", 2, |seed| {
        let _limit = limit(60);
        Builder::new()
            .chaos(seed)
            .block_on(many_tasks_share_a_connection());
    });
}

/// Catches: a pipeline that waits for an answer before it has sent all, with both directions full.
#[test]
fn a_pipeline_of_ten_thousand_commands_is_answered_in_order() {
    let _limit = limit(60);
    block_on(async {
        let (mut connection, _driver) = connect().await;
        let mut pipeline = pipe();
        for n in 0..10_000 {
            pipeline.cmd("ECHO").arg(format!("{n:0>300}"));
        }
        let echoes: Vec<String> = pipeline.query_async(&mut connection).await.unwrap();
        assert_eq!(echoes.len(), 10_000);
        for (n, echo) in echoes.iter().enumerate() {
            assert_eq!(echo.parse(), Ok(n));
        }
        let mut atomic = pipe();
        atomic
            .atomic()
            .set("counter", 41)
            .ignore()
            .incr("counter", 1);
        let counter: (i32,) = atomic.query_async(&mut connection).await.unwrap();
        assert_eq!(counter, (42,));
    });
}

/// Catches: an answer of a command that was given up and is taken for that of the next.
#[test]
fn a_command_that_times_out_takes_no_answer_of_another() {
    let _limit = limit(60);
    block_on(async {
        let (mut connection, _driver) = connect().await;
        let mut blocking = cmd("BLPOP");
        let blocking = blocking.arg("never pushed").arg("0.1");
        let answer = blocking.query_async::<Value>(&mut connection);
        assert!(timeout(Duration::from_millis(5), answer).await.is_err());
        // It waits behind the other, in the server.
        let echo: String = cmd("ECHO")
            .arg("mine")
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(echo, "mine");
    });
}

/// Catches: a message that nobody asked for, and that wakes nobody.
#[test]
fn a_subscriber_hears_what_is_published() {
    let _limit = limit(60);
    block_on(async {
        let (heard, mut pushes) = mpsc::unbounded_channel::<PushInfo>();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_push_sender(heard);
        let (mut subscriber, driver) = connect_with(config).await;
        subscriber.subscribe("bell").await.unwrap();
        assert_eq!(pushes.recv().await.unwrap().kind, PushKind::Subscribe);

        let (mut ringer, _driver) = connect().await;
        for n in 0..100 {
            let receivers: i32 = ringer.publish("bell", n).await.unwrap();
            assert_eq!(receivers, 1);
            let push = pushes.recv().await.unwrap();
            assert_eq!(push.kind, PushKind::Message);
            let (channel, message): (String, i32) =
                from_redis_value(Value::Array(push.data)).unwrap();
            assert_eq!((&*channel, message), ("bell", n));
        }
        drop(subscriber);
        driver.await.unwrap();
        let receivers: i32 = ringer.publish("bell", 0).await.unwrap();
        assert_eq!(receivers, 0);
    });
}

/// What the first lines of this file warn of. Catches: a warning that is no longer true.
#[test]
fn the_timeout_and_the_pub_sub_of_redis_rs_panic_for_they_want_tokio() {
    let _limit = limit(60);
    fn panic(task: Result<(), reveille::task::JoinError>) -> String {
        let panic = task.unwrap_err().into_panic();
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap()
    }
    block_on(async {
        let with_timeout = spawn(async {
            let config = AsyncConnectionConfig::new();
            let (mut connection, _driver) = connect_with(config).await;
            let _never: Value = connection.get("key").await.unwrap();
        });
        assert!(panic(with_timeout.await).contains("there is no reactor running"));
        let pub_sub = spawn(async {
            let stream = stream().await;
            let _never = PubSub::new(info().redis_settings(), stream).await;
        });
        assert!(panic(pub_sub.await).contains("there is no reactor running"));
    });
}
