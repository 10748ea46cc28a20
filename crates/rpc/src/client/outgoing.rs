//! The body of a call: one message, which can be sent again, or a stream, which cannot.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::Status;

/// What is sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// One message, and whether the connection has taken it.
    Message(Bytes, Taken),
    /// Messages as they come.
    Stream(tonic::body::Body),
}

/// Whether a connection has taken a message. Until then the peer has at most the headers of the call, with which it can do
/// nothing: a call whose connection ends is then as good as not sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken(Arc<AtomicBool>);

impl Taken {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Message(message, taken) => {
                let was_taken = taken.0.swap(true, Ordering::AcqRel);
                Poll::Ready((!was_taken).then(|| Ok(Frame::data(std::mem::take(message)))))
            }
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    // There is no `size_hint`: it would make a content-length, which gRPC has no use for.
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(_, taken) => taken.is_so(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }
}
