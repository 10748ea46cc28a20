//! The body of a call: one message, which can be sent again, or a stream, which cannot.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::Status;

/// What is sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// One message, until it is taken.
    Message(Option<Bytes>),
    /// Messages as they come.
    Stream(tonic::body::Body),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Message(message) => Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    // There is no `size_hint`: it would make a content-length, which gRPC has no use for.
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(message) => message.is_none(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }
}
