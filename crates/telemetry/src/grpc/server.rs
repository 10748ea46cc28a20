//! The server's side: continues the caller's trace.

use std::collections::HashSet;
use std::sync::Arc;

use ::http::Request;
use opentelemetry::trace::SpanKind;
use tonic::transport::server::TcpConnectInfo;
use tower::Layer;

use super::call::{Call, Side};
use super::{is_untraced, method};
use crate::exchange::{Begin, Traced};
use crate::{Span, propagate, semconv, slow};

/// Gives every call that a server answers a span of kind SERVER; health and reflection get none.
#[derive(Clone, Debug)]
pub struct ServerLayer {
    methods: Arc<HashSet<&'static str>>,
    side: Arc<Side>,
}

impl ServerLayer {
    /// A layer for a server with these methods, each `pkg.Svc/Method`.
    ///
    /// All others are named [`semconv::UNKNOWN_CALL`]: a caller cannot make names up.
    pub fn new<M: AsRef<str>>(methods: impl IntoIterator<Item = M>) -> Self {
        let known = |name: M| method(&format!("/{}", name.as_ref().trim_start_matches('/')));
        let methods = Arc::new(methods.into_iter().filter_map(known).collect());
        Self { methods, side: Arc::new(Side::server()) }
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Traced<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Traced { inner, layer: self.clone() }
    }
}

impl Begin for ServerLayer {
    type Exchange = Call;

    fn begin<A>(&self, request: &mut Request<A>) -> Option<Call> {
        let path = request.uri().path();
        if is_untraced(path) {
            return None;
        }
        let name = path.get(1..).and_then(|name| self.methods.get(name)).copied();
        let (parent, breakdown) = slow::begin(propagate::extract(request.headers()), true);
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
        Some(Call::new(span, &self.side, method).broken_down(breakdown))
    }
}
