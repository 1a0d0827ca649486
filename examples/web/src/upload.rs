//! The body of a request, with a limit, and read to its end whatever becomes of it.
//!
//! If a server answers before it has read all of a request, and closes the connection, the kernel resets it, and a client
//! that writes first and reads later never sees the answer: the page of reveille's `TcpStream` says more. hyper does close
//! it once nobody wants the body any more, that is, when its [`Incoming`] is dropped. So an [`Upload`] that is dropped
//! early gives its `Incoming` to a task, which reads on for a while and throws away what comes; meanwhile hyper writes the
//! answer.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use reveille::time::timeout;

/// The largest upload, in bytes.
const LIMIT: u64 = 1024 * 1024;
/// How much of one that nobody wants is read, in bytes, and for how long.
const UNWANTED: usize = 32 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);

/// Puts the limit around the body of a request.
pub(crate) fn limit(request: Request<Incoming>) -> (Request<Upload>, Size) {
    let is_exceeded = request.body().size_hint().lower() > LIMIT;
    let size = Size(Arc::new(AtomicBool::new(is_exceeded)));
    let upload = |incoming| Upload {
        incoming: Some(incoming),
        left: LIMIT,
        size: size.clone(),
    };
    (request.map(upload), size)
}

/// Whether an upload is known to be too large: by its Content-Length, or by what has come of it.
#[derive(Clone)]
pub(crate) struct Size(Arc<AtomicBool>);

impl Size {
    pub(crate) fn is_exceeded(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Upload {
    /// Until its end, an error, or the limit.
    incoming: Option<Incoming>,
    left: u64,
    size: Size,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        let Some(Ok(frame)) = frame else {
            self.incoming = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = self.left.checked_sub(length) else {
            self.size.0.store(true, Ordering::Relaxed);
            self.read_on();
            return Poll::Ready(Some(Err(TooLarge.into())));
        };
        self.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Upload {
    fn read_on(&mut self) {
        let unread = self
            .incoming
            .take()
            .filter(|incoming| !incoming.is_end_stream());
        let Some(mut incoming) = unread else {
            return;
        };
        let mut left = UNWANTED;
        let read = async move {
            while let Some(Ok(frame)) = incoming.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(length) {
                    Some(less) => left = less,
                    None => return,
                }
            }
        };
        reveille::spawn(timeout(PATIENCE, read)).detach();
    }
}

/// A handler that is not interested in the body has dropped it.
impl Drop for Upload {
    fn drop(&mut self) {
        self.read_on();
    }
}

#[derive(Debug)]
struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an upload of more than {LIMIT} bytes")
    }
}

impl Error for TooLarge {}
