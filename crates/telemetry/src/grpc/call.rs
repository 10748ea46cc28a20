//! One call from its start to its end: the last trailer, an error, or being dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poller, Poll, ready};
use std::time::Instant;

use ::http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use opentelemetry::KeyValue;
use pin_project_lite::pin_project;
use tonic::Code;

use super::{code_name, is_server_fault};
use crate::metrics::Calls;
use crate::{Span, semconv};

/// A call under way: it is measured and its span ended once, when it ends or is dropped.
pub(super) struct Call {
    span: Span,
    calls: &'static Calls,
    /// Whether only a fault of ours is an error: on the server's side.
    server: bool,
    labels: Vec<KeyValue>,
    start: Instant,
    ended: bool,
}

impl Call {
    /// A call of which `labels` are measured besides its method and its end.
    pub(super) fn new(
        span: Span,
        calls: &'static Calls,
        server: bool,
        method: &'static str,
        labels: &[KeyValue],
    ) -> Self {
        let mut all = Vec::with_capacity(labels.len() + 4);
        all.push(KeyValue::new(semconv::RPC_SYSTEM_NAME, semconv::GRPC));
        all.push(KeyValue::new(semconv::RPC_METHOD, method));
        all.extend_from_slice(labels);
        calls.active.add(1, &all);
        Self { span, calls, server, labels: all, start: Instant::now(), ended: false }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Ends the call with the status in these headers or trailers, if there is one.
    fn end_with(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.end(Code::from_bytes(status.as_bytes()), false);
        }
    }

    fn end(&mut self, code: Code, dropped: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let name = code_name(code);
        let failed = code != Code::Ok && (dropped || !self.server || is_server_fault(code));
        self.calls.active.add(-1, &self.labels);
        self.span.set(semconv::RPC_RESPONSE_STATUS_CODE, name);
        self.labels.push(KeyValue::new(semconv::RPC_RESPONSE_STATUS_CODE, name));
        if failed {
            self.span.fail(name);
            self.labels.push(KeyValue::new(semconv::ERROR_TYPE, name));
        }
        self.calls.duration.record(self.start.elapsed().as_secs_f64(), &self.labels);
        self.span.end();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled, true);
    }
}

pin_project! {
    /// The answer to a call, in the call's span.
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, call: Option<Call>) -> Self {
        Self { inner, call }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: AsStatus,
{
    type Output = Result<Response<Body<B>>, E>;

    fn poll(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = {
            let _current = this.call.as_ref().map(|call| call.span.enter());
            ready!(this.inner.poll(poller))
        };
        let call = this.call.take();
        Poll::Ready(match result {
            Ok(response) => {
                let (head, inner) = response.into_parts();
                let call = call.map(|mut call| {
                    call.end_with(&head.headers);
                    call
                });
                Ok(Response::from_parts(head, Body { inner, call }))
            }
            Err(error) => {
                if let Some(mut call) = call {
                    call.end(error.code(), false);
                }
                Err(error)
            }
        })
    }
}

/// What a failed service means as a gRPC code.
pub trait AsStatus {
    /// The code that the caller will see.
    fn code(&self) -> Code;
}

impl AsStatus for std::convert::Infallible {
    fn code(&self) -> Code {
        match *self {}
    }
}

impl AsStatus for tonic::Status {
    fn code(&self) -> Code {
        Self::code(self)
    }
}

impl AsStatus for tonic::transport::Error {
    fn code(&self) -> Code {
        of_error(self)
    }
}

impl AsStatus for Box<dyn std::error::Error + Send + Sync> {
    fn code(&self) -> Code {
        of_error(&**self)
    }
}

/// A status somewhere among the causes, or the time out, or else no connection.
fn of_error(error: &(dyn std::error::Error + 'static)) -> Code {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(status) = error.downcast_ref::<tonic::Status>() {
            return status.code();
        }
        if error.is::<tonic::TimeoutExpired>() {
            return Code::DeadlineExceeded;
        }
        next = error.source();
    }
    Code::Unavailable
}

pin_project! {
    /// The body of an answer; the call ends with its trailers.
    pub struct Body<B> {
        #[pin]
        inner: B,
        call: Option<Call>,
    }
}

impl<B: Default> Default for Body<B> {
    fn default() -> Self {
        Self { inner: B::default(), call: None }
    }
}

impl<B: http_body::Body> http_body::Body for Body<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = {
            let _current = this.call.as_ref().map(|call| call.span.enter());
            ready!(this.inner.poll_frame(poller))
        };
        if let Some(call) = this.call {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        call.end_with(trailers);
                    }
                }
                // A body that ends or breaks without a status: what a client makes of it.
                Some(Err(_)) | None => call.end(Code::Unknown, false),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
