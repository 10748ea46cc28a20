//! The client's side: passes the trace on.

use std::sync::Arc;

use ::http::{Request, Uri};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tower::Layer;

use super::call::{Call, Side};
use super::{is_untraced, method};
use crate::exchange::{Begin, Traced};
use crate::{Span, propagate, semconv};

/// Gives every call to a peer a span of kind CLIENT and sends the trace context and the baggage with it.
#[derive(Clone, Debug)]
pub struct ClientLayer {
    /// Its labels are `server.address` and, if it is known, `server.port`.
    side: Arc<Side>,
}

impl ClientLayer {
    /// A layer for calls to `target`: a URL, a name with its port, `127.0.0.1:9000`, or a name alone, `user.rpc`.
    pub fn new(target: &str) -> Self {
        let uri = target.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or(target).trim_matches(['[', ']']);
        let port = uri.as_ref().and_then(Uri::port_u16);
        let mut target = vec![KeyValue::new(semconv::SERVER_ADDRESS, Arc::<str>::from(host))];
        target.extend(port.map(|port| KeyValue::new(semconv::SERVER_PORT, i64::from(port))));
        Self { side: Arc::new(Side::client(target)) }
    }

    /// What its spans and metrics say of the target.
    pub fn target(&self) -> &[KeyValue] {
        self.side.labels()
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Traced<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Traced { inner, layer: self.clone() }
    }
}

impl Begin for ClientLayer {
    type Exchange = Call;

    fn begin<A>(&self, request: &mut Request<A>) -> Option<Call> {
        if is_untraced(request.uri().path()) {
            return None;
        }
        let name = method(request.uri().path());
        let span = Span::start(SpanKind::Client, name.unwrap_or(semconv::UNKNOWN_CALL));
        let method = name.unwrap_or(semconv::OTHER);
        if span.is_recording() {
            span.set(semconv::RPC_SYSTEM_NAME, semconv::GRPC);
            span.set(semconv::RPC_METHOD, method);
            span.set_all(self.target());
        }
        propagate::inject(span.context(), request.headers_mut());
        Some(Call::new(span, &self.side, method))
    }
}
