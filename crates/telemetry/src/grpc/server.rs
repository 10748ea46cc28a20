//! The server's side: continues the caller's trace.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use ::http::{Request, Response};
use opentelemetry::trace::SpanKind;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use super::call::Call;
use super::{is_untraced, method};
use crate::exchange::{AsStatus, Body, ResponseFuture};
use crate::{Span, metrics, propagate, semconv};

/// Gives every call that a server answers a span of kind SERVER; health and reflection get none.
#[derive(Clone, Debug)]
pub struct ServerLayer {
    methods: Arc<HashSet<&'static str>>,
}

impl ServerLayer {
    /// A layer for a server with these methods, each `pkg.Svc/Method`.
    ///
    /// All others are named [`semconv::UNKNOWN_CALL`]: a caller cannot make names up.
    pub fn new<M: AsRef<str>>(methods: impl IntoIterator<Item = M>) -> Self {
        let known = |name: M| method(&format!("/{}", name.as_ref().trim_start_matches('/')));
        Self { methods: Arc::new(methods.into_iter().filter_map(known).collect()) }
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Server<S>;

    fn layer(&self, inner: S) -> Server<S> {
        Server { inner, methods: self.methods.clone() }
    }
}

/// The service that [`ServerLayer`] makes.
#[derive(Clone, Debug)]
pub struct Server<S> {
    inner: S,
    methods: Arc<HashSet<&'static str>>,
}

impl<S> Server<S> {
    fn start<B>(&self, request: &Request<B>) -> Call {
        let name = request.uri().path().get(1..).and_then(|name| self.methods.get(name)).copied();
        let parent = propagate::extract(request.headers());
        let span = Span::start_under(&parent, SpanKind::Server, name.unwrap_or(semconv::UNKNOWN_CALL));
        let method = name.unwrap_or(semconv::OTHER);
        if span.is_recording() {
            span.set(semconv::RPC_SYSTEM_NAME, semconv::GRPC);
            span.set(semconv::RPC_METHOD, method);
            if let Some(connection) = request.extensions().get::<TcpConnectInfo>() {
                if let Some(local) = connection.local_addr() {
                    span.set(semconv::SERVER_ADDRESS, local.ip().to_string());
                    span.set(semconv::SERVER_PORT, i64::from(local.port()));
                }
                if let Some(peer) = connection.remote_addr() {
                    span.set(semconv::NETWORK_PEER_ADDRESS, peer.ip().to_string());
                    span.set(semconv::NETWORK_PEER_PORT, i64::from(peer.port()));
                }
            }
        }
        Call::new(span, &metrics::RPC_SERVER, true, method, &[])
    }
}

impl<S, A, B> Service<Request<A>> for Server<S>
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

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let call = (!is_untraced(request.uri().path())).then(|| self.start(&request));
        ResponseFuture::start(call, || self.inner.call(request))
    }
}
