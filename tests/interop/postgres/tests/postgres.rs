//! tokio-postgres over reveille's `TcpStream`, against a real PostgreSQL, with nothing between them.
//!
//! `tests/interop/run postgres` starts the server, and says where it is in `REVEILLE_POSTGRES`.

use std::env;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt, TryStreamExt};
use reveille::net::TcpStream;
use reveille::task::{JoinHandle, JoinSet};
use reveille::time::timeout;
use reveille::{Builder, block_on, spawn};
use tokio::sync::mpsc;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls};

#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seeds.rs"]
mod seeds;

use limit::limit;
use seeds::under_seeds;

fn config() -> Config {
    let text = env::var("REVEILLE_POSTGRES")
        .expect("REVEILLE_POSTGRES is not set: these tests are run by tests/interop/run postgres");
    text.parse().unwrap()
}

async fn stream() -> TcpStream {
    let config = config();
    let [Host::Tcp(host)] = config.get_hosts() else {
        panic!("REVEILLE_POSTGRES does not name one host")
    };
    let stream = TcpStream::connect((host.as_str(), config.get_ports()[0]));
    stream.await.unwrap()
}

type Connection = JoinHandle<Result<(), Error>>;

/// A client, and the task that moves its bytes.
async fn connect() -> (Client, Connection) {
    let (client, connection) = config().connect_raw(stream().await, NoTls).await.unwrap();
    (client, spawn(connection))
}

/// Catches: a login whose four messages are not awaited one after the other; a connection whose task does not end
/// with its client.
#[test]
fn a_query_is_answered_and_the_connection_ends_with_its_client() {
    let _limit = limit(60);
    block_on(async {
        let (client, connection) = connect().await;
        let row = client
            .query_one("SELECT 6 * 7, 'seven'", &[])
            .await
            .unwrap();
        assert_eq!((row.get(0), row.get(1)), (42, "seven"));
        let error = client.query("SELECT 1 / 0", &[]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

/// Catches: a wrong password that is an end of the stream, or a wait without end.
#[test]
fn a_wrong_password_is_an_error_of_the_server() {
    let _limit = limit(60);
    block_on(async {
        let mut config = config();
        config.password("wrong");
        let Err(error) = config.connect_raw(stream().await, NoTls).await else {
            panic!("a wrong password was accepted");
        };
        assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD));
    });
}

async fn many_tasks_share_a_prepared_statement() {
    let (client, connection) = connect().await;
    let statement = client.prepare_typed("SELECT $1 * 2, repeat('x', $1)", &[Type::INT4]);
    let statement = statement.await.unwrap();
    let client = Rc::new(client);
    let mut queries = JoinSet::new();
    for n in 0..200 {
        let client = Rc::clone(&client);
        let statement = statement.clone();
        queries.spawn(async move {
            let row = client.query_one(&statement, &[&n]).await.unwrap();
            let (twice, text): (i32, &str) = (row.get(0), row.get(1));
            assert_eq!((twice, text.len()), (n * 2, n as usize));
        });
    }
    assert_eq!(queries.join_all().await.len(), 200);
    drop((statement, client));
    connection.await.unwrap().unwrap();
}

/// Catches: answers that go to the wrong task; a write that is not flushed while others wait.
#[test]
fn a_prepared_statement_serves_many_tasks_at_once() {
    let _limit = limit(60);
    block_on(many_tasks_share_a_prepared_statement());
}

/// Catches: a wait that relies on the order of tasks, or on a write that is taken whole.
#[test]
fn under_shuffled_choices_each_task_gets_its_answer() {
    under_seeds("REVEILLE_CHAOS", 2, |seed| {
        let _limit = limit(60);
        Builder::new()
            .chaos(seed)
            .block_on(many_tasks_share_a_prepared_statement());
    });
}

/// Catches: a rollback that is kept back in the destructor, which cannot wait.
#[test]
fn a_transaction_is_committed_or_rolled_back_when_it_is_dropped() {
    let _limit = limit(60);
    block_on(async {
        let (mut client, _connection) = connect().await;
        let table = "CREATE TEMPORARY TABLE names (name TEXT)";
        client.batch_execute(table).await.unwrap();
        for (name, kept) in [("kept", true), ("lost", false)] {
            let transaction = client.transaction().await.unwrap();
            let insert = "INSERT INTO names VALUES ($1)";
            assert_eq!(transaction.execute(insert, &[&name]).await.unwrap(), 1);
            if kept {
                transaction.commit().await.unwrap();
            }
        }
        let rows = client.query("SELECT name FROM names", &[]).await.unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(names, ["kept"]);
    });
}

/// Catches: a deadlock of reading and writing when both directions are full; bytes lost in bulk.
#[test]
fn copy_takes_eight_megabytes_in_and_gives_them_back() {
    let _limit = limit(60);
    block_on(async {
        const LINES: u32 = 80_000;
        let (client, _connection) = connect().await;
        let table = "CREATE TEMPORARY TABLE bulk (n INT, filler TEXT)";
        client.batch_execute(table).await.unwrap();
        let filler = "-".repeat(100);
        let mut sink = pin!(client.copy_in("COPY bulk FROM STDIN").await.unwrap());
        for n in 0..LINES {
            let line = format!("{n}\t{filler}\n");
            let line = std::io::Cursor::new(line.into_bytes());
            sink.as_mut().feed(line).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), u64::from(LINES));

        let copy = "COPY (SELECT * FROM bulk ORDER BY n) TO STDOUT";
        let stream = client.copy_out(copy).await.unwrap();
        let chunks: Vec<_> = stream.try_collect().await.unwrap();
        let text = String::from_utf8(chunks.concat()).unwrap();
        assert_eq!(text.lines().count(), LINES as usize);
        for (n, line) in text.lines().enumerate() {
            assert_eq!(line.split_once('\t'), Some((&*n.to_string(), &*filler)));
        }
    });
}

/// Catches: a query that was given up and whose late answer is taken for that of the next.
#[test]
fn a_query_that_is_dropped_takes_no_answer_of_another() {
    let _limit = limit(60);
    block_on(async {
        let (client, _connection) = connect().await;
        for n in 0..20 {
            // Given up before it is sent, while the server prepares it, while it runs, or behind another.
            let slow = client.query("SELECT pg_sleep(0.02), 'slow'", &[]);
            let _given_up = timeout(Duration::from_millis(n), slow).await;
            let row = client.query_one("SELECT $1::INT8", &[&(n as i64)]).await;
            assert_eq!(row.unwrap().get::<_, i64>(0), n as i64);
        }
    });
}

/// Catches: a second connection that cannot be made while the first waits for its answer.
#[test]
fn a_query_is_canceled_through_a_second_stream() {
    let _limit = limit(60);
    block_on(async {
        let (client, _connection) = connect().await;
        let token = client.cancel_token();
        let slow = spawn(async move {
            let error = client.query("SELECT pg_sleep(600)", &[]).await;
            (error.unwrap_err(), client)
        });
        let (witness, _connection) = connect().await;
        let asleep = "SELECT count(*) FROM pg_stat_activity
            WHERE wait_event = 'PgSleep' AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
        while witness
            .query_one(asleep, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
        {}
        token.cancel_query_raw(stream().await, NoTls).await.unwrap();
        let (error, client) = slow.await.unwrap();
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
        let row = client.query_one("SELECT 1", &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 1);
    });
}

/// Catches: a message of the server that nobody asked for, and that wakes nobody.
#[test]
fn a_notification_wakes_a_connection_that_is_idle() {
    let _limit = limit(60);
    block_on(async {
        let (listener, mut connection) = config().connect_raw(stream().await, NoTls).await.unwrap();
        let (heard, mut notifications) = mpsc::unbounded_channel();
        let _connection = spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message.unwrap() {
                    heard.send(notification.payload().to_owned()).unwrap();
                }
            }
        });
        listener.batch_execute("LISTEN bell").await.unwrap();
        let (ringer, _connection) = connect().await;
        for n in 0..3 {
            let ring = format!("NOTIFY bell, 'ring {n}'");
            ringer.batch_execute(&ring).await.unwrap();
            assert_eq!(notifications.recv().await.unwrap(), format!("ring {n}"));
        }
    });
}
