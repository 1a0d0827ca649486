//! What a family of traits promises for the ends of a pipe, as `streams` has it for what goes both ways.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;

use reveille::net::pipe::pipe;
use reveille::{Builder, spawn};

use crate::family::{close, flush, lines, poll_write_vectored, read_to_end, write_all};
use crate::limit::limit;
use crate::seeds::under_seeds;

/// So many seeds of chaos; `REVEILLE_CHAOS` says how many others. Seed 0 stands for none.
const SEEDS: u64 = 60;

fn counted(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

/// Catches: an end of a pipe without the traits; bytes that are lost, or an end that does not come; a vectored write of the
/// first buffer only; a close that is an error.
#[test]
fn bytes_go_through_a_pipe_under_every_seed() {
    under_seeds("REVEILLE_CHAOS", SEEDS, |seed| {
        let _limit = limit(30);
        let mut builder = Builder::new();
        if seed > 0 {
            builder.chaos(seed);
        }
        builder.block_on(async {
            let (mut sender, mut receiver) = pipe().unwrap();
            let writer = spawn(async move {
                write_all(&mut sender, &counted(200_000)).await.unwrap();
                flush(&mut sender).await.unwrap();
                let bytes = counted(1024);
                let bufs: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
                let written = poll_fn(|cx| poll_write_vectored(Pin::new(&mut sender), cx, &bufs));
                assert_eq!(written.await.unwrap(), 1024);
                close(&mut sender).await.unwrap();
                close(&mut sender).await.unwrap();
                // A pipe is closed by dropping it: until then it goes on.
                write_all(&mut sender, b"on").await.unwrap();
            });
            let got = read_to_end(&mut receiver).await.unwrap();
            writer.await.unwrap();
            let expected = [counted(200_000), counted(1024), b"on".to_vec()].concat();
            assert!(got == expected, "{} bytes", got.len());
        });
    });
}

/// Catches: bytes that a buffered reader gets twice or never.
#[test]
fn lines_of_a_pipe_come_whole_under_every_seed() {
    under_seeds("REVEILLE_CHAOS", SEEDS, |seed| {
        let _limit = limit(30);
        Builder::new().chaos(seed).block_on(async {
            let (mut sender, receiver) = pipe().unwrap();
            let expected: Vec<String> = (0..200).map(|n| "x".repeat(n % 37)).collect();
            let text = expected.join("\n") + "\n";
            let writer = spawn(async move {
                for part in text.as_bytes().chunks(11) {
                    write_all(&mut sender, part).await.unwrap();
                }
            });
            assert_eq!(lines(receiver).await.unwrap(), expected);
            writer.await.unwrap();
        });
    });
}
