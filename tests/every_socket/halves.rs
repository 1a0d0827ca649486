//! The halves of a stream, as the columns see them, whatever the stream is.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use reveille::net::tcp::{Reader, ShutdownOnDrop, SplitStream, Writer};

use super::subject::{Operation, Subject};

/// A stream that has halves.
pub(crate) trait Whole: SplitStream + AsFd + Send + Sync + Sized + 'static {
    fn split(&mut self) -> (Reader<&Self>, Writer<&Self>);

    fn into_split(self) -> (Reader<Arc<Self>>, Writer<ShutdownOnDrop<Self>>);

    /// Takes the descriptor out, and makes the stream anew of it.
    fn rewrapped(self) -> io::Result<Self>;
}

/// A stream that each operation splits anew, because the halves borrow it.
pub(crate) struct Halves<T>(RefCell<T>);

impl<T> Halves<T> {
    pub(crate) fn of(stream: T) -> Halves<T> {
        Halves(RefCell::new(stream))
    }
}

impl<T: Whole> Subject for Halves<T> {
    #[expect(
        clippy::await_holding_refcell_ref,
        reason = "one operation at a time; a second would be a panic"
    )]
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(async {
            let mut stream = self.0.borrow_mut();
            let (reader, _) = stream.split();
            reader.read(room).await
        })
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().split().0.try_read(room)
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().split().0.poll_read(cx, room)
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "as above")]
    fn output<'a>(&'a self, bytes: &'a [u8]) -> Operation<'a> {
        Box::pin(async {
            let mut stream = self.0.borrow_mut();
            let (_, writer) = stream.split();
            writer.write(bytes).await
        })
    }

    fn try_output(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().split().1.try_write(bytes)
    }

    fn poll_output(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().split().1.poll_write(cx, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.get_mut().split().1.shutdown()
    }

    fn share(&self) -> OwnedFd {
        let stream = self.0.borrow();
        stream.as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        Ok(Box::new(Halves::of(self.0.into_inner().rewrapped()?)))
    }
}

/// Both halves; the one that writes is dropped to end writing.
pub(crate) struct OwnedHalves<T: SplitStream> {
    reader: Reader<Arc<T>>,
    writer: Option<Writer<ShutdownOnDrop<T>>>,
}

impl<T: Whole> OwnedHalves<T> {
    pub(crate) fn of(stream: T) -> OwnedHalves<T> {
        let (reader, writer) = stream.into_split();
        OwnedHalves {
            reader,
            writer: Some(writer),
        }
    }

    fn writer(&self) -> &Writer<ShutdownOnDrop<T>> {
        self.writer.as_ref().expect("writing was not ended")
    }
}

impl<T: Whole> Subject for OwnedHalves<T> {
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(self.reader.read(room))
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        self.reader.try_read(room)
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.reader.poll_read(cx, room)
    }

    fn output<'a>(&'a self, bytes: &'a [u8]) -> Operation<'a> {
        Box::pin(self.writer().write(bytes))
    }

    fn try_output(&self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().try_write(bytes)
    }

    fn poll_output(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer = None;
        Ok(())
    }

    fn share(&self) -> OwnedFd {
        self.reader.as_ref().as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        let writer = self.writer.expect("writing was not ended");
        let Ok(stream) = self.reader.reunite(writer) else {
            panic!("they are of one stream");
        };
        Ok(Box::new(OwnedHalves::of(stream.rewrapped()?)))
    }
}
