//! A call or request in its span, from its start to the end of the answer's body: the one service of all layers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poller, Poll, ready};

use ::http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Code;
use tower::Service;

use crate::Span;

/// What a layer does with a call or request before the service sees it.
pub trait Begin {
    /// The call or request under way.
    type Exchange: Exchange;

    /// Starts its span; none for what nobody wants to see.
    fn begin<A>(&self, request: &mut Request<A>) -> Option<Self::Exchange>;
}

/// A call or request under way; dropped before its end, it was given up.
pub trait Exchange {
    /// The span in which the service works.
    fn span(&self) -> &Span;

    /// There is an answer, of which the body is to come.
    fn answer<B>(&mut self, response: &mut Response<B>);

    /// The service failed, which means this code.
    fn fail(&mut self, code: Code);

    /// The body has come to its trailers.
    fn trailers(&mut self, trailers: &HeaderMap);

    /// The body has come to its end, or broken off.
    fn end(&mut self, broken: bool);
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

/// A service with a layer of this crate around it.
#[derive(Clone, Debug)]
pub struct Traced<S, L> {
    pub(crate) inner: S,
    pub(crate) layer: L,
}

impl<S, L, A, B> Service<Request<A>> for Traced<S, L>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: AsStatus,
    L: Begin,
{
    type Response = Response<Body<B, L::Exchange>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, L::Exchange>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let exchange = self.layer.begin(&mut request);
        let current = exchange.as_ref().map(|exchange| exchange.span().enter());
        let inner = self.inner.call(request);
        drop(current);
        ResponseFuture { inner, exchange }
    }
}

pin_project! {
    /// The answer to a call or request, in its span.
    pub struct ResponseFuture<F, X> {
        #[pin]
        inner: F,
        exchange: Option<X>,
    }
}

impl<F, X, B, E> Future for ResponseFuture<F, X>
where
    F: Future<Output = Result<Response<B>, E>>,
    X: Exchange,
    E: AsStatus,
{
    type Output = Result<Response<Body<B, X>>, E>;

    fn poll(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = {
            let _current = this.exchange.as_ref().map(|exchange| exchange.span().enter());
            ready!(this.inner.poll(poller))
        };
        let mut exchange = this.exchange.take();
        if let Some(exchange) = &mut exchange {
            match &mut result {
                Ok(response) => exchange.answer(response),
                Err(error) => exchange.fail(error.code()),
            }
        }
        Poll::Ready(result.map(|response| response.map(|inner| Body { inner, exchange })))
    }
}

pin_project! {
    /// The body of an answer; the exchange ends with it.
    pub struct Body<B, X> {
        #[pin]
        inner: B,
        exchange: Option<X>,
    }
}

impl<B: Default, X> Default for Body<B, X> {
    fn default() -> Self {
        Self { inner: B::default(), exchange: None }
    }
}

impl<B: http_body::Body, X: Exchange> http_body::Body for Body<B, X> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = {
            let _current = this.exchange.as_ref().map(|exchange| exchange.span().enter());
            ready!(this.inner.poll_frame(poller))
        };
        match (&frame, this.exchange.as_mut()) {
            (Some(Ok(frame)), Some(exchange)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    exchange.trailers(trailers);
                }
            }
            (Some(Err(_)) | None, Some(exchange)) => {
                exchange.end(frame.is_some());
                *this.exchange = None;
            }
            (_, None) => {}
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
