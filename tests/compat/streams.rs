//! What a family of traits promises for every type it is implemented for: for the streams that `pair` of the module
//! around this one makes, and their halves. `family` has the traits, and their methods as functions of one name for all
//! families.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;

use reveille::{Builder, block_on, spawn};

use super::{pair, reset};
use crate::family::{self, AsyncRead, AsyncWrite};
use crate::family::{close, flush, lines, poll_write_vectored, read_some, read_to_end, write_all};
use crate::limit::limit;
use crate::seeds::under_seeds;

/// So many seeds of chaos; `REVEILLE_CHAOS` says how many others.
const SEEDS: u64 = 60;

fn counted(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

/// Sends `request`, closes, and reads the answer, which is the request again and 1 MiB.
async fn ask(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) {
    write_all(writer, b"request").await.unwrap();
    flush(writer).await.unwrap();
    close(writer).await.unwrap();
    close(writer).await.expect("a second close is no error");
    let answer = read_to_end(reader).await.unwrap();
    assert!(answer == [b"request".as_slice(), &counted(1 << 20)].concat());
}

/// Reads to the end, and answers only then.
async fn answer(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) {
    let request = read_to_end(reader).await.unwrap();
    write_all(writer, &request).await.unwrap();
    write_all(writer, &counted(1 << 20)).await.unwrap();
    close(writer).await.unwrap();
}

/// Catches: a close that closes reading, too, or nothing; one that is an error the second time; a type without the
/// traits; a flush that waits.
#[test]
fn every_type_reads_on_after_it_has_closed_its_writing() {
    let _limit = limit(60);
    block_on(async {
        let (mut here, mut there) = pair().await;
        // One value that is both reader and writer.
        let server = spawn(async move {
            let request = read_to_end(&mut there).await.unwrap();
            write_all(&mut there, &request).await.unwrap();
            write_all(&mut there, &counted(1 << 20)).await.unwrap();
            close(&mut there).await.unwrap();
        });
        write_all(&mut here, b"request").await.unwrap();
        close(&mut here).await.unwrap();
        assert_eq!(read_to_end(&mut here).await.unwrap().len(), 7 + (1 << 20));
        server.await.unwrap();

        let (here, there) = pair().await;
        let server = spawn(async move { answer(&mut &there, &mut &there).await });
        ask(&mut &here, &mut &here).await;
        server.await.unwrap();

        let (mut here, mut there) = pair().await;
        let server = spawn(async move {
            let (mut reader, mut writer) = there.split();
            answer(&mut reader, &mut writer).await;
        });
        let (mut reader, mut writer) = here.split();
        ask(&mut reader, &mut writer).await;
        server.await.unwrap();

        let (here, there) = pair().await;
        let server = spawn(async move {
            let (mut reader, mut writer) = there.into_split();
            answer(&mut reader, &mut writer).await;
        });
        let (mut reader, mut writer) = here.into_split();
        ask(&mut reader, &mut writer).await;
        server.await.unwrap();
    });
}

/// Catches: a half that is closed and then dropped, and resets the connection or says the end twice.
#[test]
fn an_owned_half_that_was_closed_is_dropped_without_a_trace() {
    let _limit = limit(30);
    block_on(async {
        let (here, there) = pair().await;
        let (mut reader, mut writer) = here.into_split();
        write_all(&mut writer, b"last").await.unwrap();
        close(&mut writer).await.unwrap();
        drop(writer);
        let mut there = there.into_std().unwrap();
        there.set_nonblocking(false).unwrap();
        let mut got = String::new();
        there.read_to_string(&mut got).unwrap();
        assert_eq!(got, "last");
        assert_eq!(there.read(&mut [0]).unwrap(), 0);
        there.write_all(b"back").unwrap();
        drop(there);
        assert_eq!(read_to_end(&mut reader).await.unwrap(), b"back");
    });
}

/// Catches: a vectored write of the first buffer only, or one that is an error beyond 1024; a type that says it has none.
#[test]
fn a_vectored_write_takes_the_first_1024_buffers() {
    let _limit = limit(30);
    block_on(async {
        let (mut here, mut there) = pair().await;
        let bytes = counted(2000);
        let bufs: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
        let n = poll_fn(|cx| poll_write_vectored(Pin::new(&mut here), cx, &bufs)).await;
        assert_eq!(n.unwrap(), 1024);
        let bufs = &bufs[1024..];
        let n = poll_fn(|cx| poll_write_vectored(Pin::new(&mut &here), cx, bufs)).await;
        assert_eq!(n.unwrap(), 976);
        let (_reader, mut writer) = here.into_split();
        let n = poll_fn(|cx| poll_write_vectored(Pin::new(&mut writer), cx, &bufs[..3])).await;
        assert_eq!(n.unwrap(), 3);
        drop(writer);
        let expected = [&bytes[..], &bytes[1024..1027]].concat();
        assert_eq!(read_to_end(&mut there).await.unwrap(), expected);
    });
}

/// Catches: a waker of the reader that takes the place of the writer's.
#[test]
fn two_tasks_read_and_write_one_stream() {
    let _limit = limit(60);
    block_on(async {
        let (here, there) = pair().await;
        let (here, there) = (Rc::new(here), Rc::new(there));
        let mut tasks = Vec::new();
        for stream in [here, there] {
            let reading = Rc::clone(&stream);
            tasks.push(spawn(async move {
                let got = read_to_end(&mut &*reading).await.unwrap();
                assert!(got == counted(3 << 20));
            }));
            tasks.push(spawn(async move {
                write_all(&mut &*stream, &counted(3 << 20)).await.unwrap();
                close(&mut &*stream).await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Catches: a read that is cut short and believed; bytes that a buffered reader gets twice or never.
#[test]
fn lines_come_whole_under_every_seed() {
    under_seeds("REVEILLE_CHAOS", SEEDS, |seed| {
        let _limit = limit(30);
        Builder::new().chaos(seed).block_on(async {
            let (here, there) = pair().await;
            let expected: Vec<String> = (0..200).map(|n| "x".repeat(n % 37)).collect();
            let text = expected.join("\n") + "\n";
            let writer = spawn(async move {
                let (_reader, mut writer) = there.into_split();
                for part in text.as_bytes().chunks(11) {
                    write_all(&mut writer, part).await.unwrap();
                }
            });
            assert_eq!(lines(here).await.unwrap(), expected);
            writer.await.unwrap();
        });
    });
}

/// Fault C13. Catches: a read that takes bytes in one poll and gives them in another; a write that sends and does not
/// say so.
#[test]
fn what_is_canceled_at_any_poll_loses_nothing_and_sends_nothing() {
    under_seeds("REVEILLE_CHAOS", SEEDS, |seed| {
        let _limit = limit(30);
        Builder::new().chaos(seed).block_on(async {
            let (mut here, mut there) = pair().await;
            let sent = counted(300_000);
            let writer = spawn(async move {
                let mut at = 0;
                while at < sent.len() {
                    let end = sent.len().min(at + 1 + (at * 31) % 7000);
                    let write = family::write_some(&mut there, &sent[at..end]);
                    if let Some(n) = futures_lite::future::poll_once(write).await {
                        at += n.unwrap();
                    } else {
                        reveille::task::yield_now().await;
                    }
                }
                close(&mut there).await.unwrap();
            });
            let mut got = Vec::new();
            loop {
                let mut buf = [0; 900];
                let read = read_some(&mut here, &mut buf);
                match futures_lite::future::poll_once(read).await {
                    Some(Ok(0)) => break,
                    Some(n) => got.extend_from_slice(&buf[..n.unwrap()]),
                    None => reveille::task::yield_now().await,
                }
            }
            writer.await.unwrap();
            assert!(got == counted(300_000), "{} bytes", got.len());
        });
    });
}

/// Catches: an error that is swallowed, or told as the end.
#[test]
fn a_reset_is_an_error() {
    let _limit = limit(30);
    block_on(async {
        let (mut here, there) = pair().await;
        reset(&here, there).await;
        let error = read_to_end(&mut here).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}
