//! The client's side: passes the trace on.

use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use ::http::{Request, Response, Uri};
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use tower::{Layer, Service};

use super::call::Call;
use super::{is_untraced, method};
use crate::exchange::{AsStatus, Body, ResponseFuture};
use crate::{Span, metrics, propagate, semconv};

/// Gives every call to a peer a span of kind CLIENT and sends the trace context and the baggage with it.
#[derive(Clone, Debug)]
pub struct ClientLayer {
    /// `server.address` and, if it is known, `server.port`.
    target: Arc<[KeyValue]>,
}

impl ClientLayer {
    /// A layer for calls to `target`: a URL, `http://127.0.0.1:9000`, or a name, `user.rpc`.
    pub fn new(target: &str) -> Self {
        let uri = target.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or(target).trim_matches(['[', ']']);
        let port = uri.as_ref().and_then(Uri::port_u16);
        let mut target = vec![KeyValue::new(semconv::SERVER_ADDRESS, Arc::<str>::from(host))];
        target.extend(port.map(|port| KeyValue::new(semconv::SERVER_PORT, i64::from(port))));
        Self { target: target.into() }
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Client<S>;

    fn layer(&self, inner: S) -> Client<S> {
        Client { inner, target: self.target.clone() }
    }
}

/// The service that [`ClientLayer`] makes.
#[derive(Clone, Debug)]
pub struct Client<S> {
    inner: S,
    target: Arc<[KeyValue]>,
}

impl<S, A, B> Service<Request<A>> for Client<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: AsStatus,
{
    type Response = Response<Body<B, Call>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Call>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        if is_untraced(request.uri().path()) {
            return ResponseFuture::start(None, || self.inner.call(request));
        }
        let name = method(request.uri().path());
        let span = Span::start(SpanKind::Client, name.unwrap_or(semconv::UNKNOWN_CALL));
        let method = name.unwrap_or(semconv::OTHER);
        if span.is_recording() {
            span.set(semconv::RPC_SYSTEM_NAME, semconv::GRPC);
            span.set(semconv::RPC_METHOD, method);
            span.context().span().set_attributes(self.target.iter().cloned());
        }
        propagate::inject(span.context(), request.headers_mut());
        let call = Call::new(span, &metrics::RPC_CLIENT, false, method, &self.target);
        ResponseFuture::start(Some(call), || self.inner.call(request))
    }
}
