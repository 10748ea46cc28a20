//! One call from its start to its end: the last trailer, an error, or being dropped.

use std::sync::Arc;
use std::time::Instant;

use ::http::{HeaderMap, Response};
use opentelemetry::KeyValue;
use tonic::Code;

use super::{code_name, is_server_fault};
use crate::exchange::Exchange;
use crate::metrics::Calls;
use crate::slow::Breakdown;
use crate::{Span, semconv};

/// A call under way: it is measured and its span ended once, when it ends or is dropped.
pub struct Call {
    span: Span,
    calls: &'static Calls,
    /// Whether only a fault of ours is an error: on the server's side.
    server: bool,
    method: &'static str,
    labels: Vec<KeyValue>,
    start: Instant,
    /// Where its time goes, for a call that this process answers.
    breakdown: Option<Arc<Breakdown>>,
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
        Self { span, calls, server, method, labels: all, start: Instant::now(), breakdown: None, ended: false }
    }

    /// With the breakdown that its context carries.
    pub(super) fn broken_down(mut self, breakdown: Option<Arc<Breakdown>>) -> Self {
        self.breakdown = breakdown;
        self
    }

    fn finish(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let name = code_name(code);
        let failed = code != Code::Ok && (!self.server || is_server_fault(code));
        self.calls.active.add(-1, &self.labels);
        self.span.set(semconv::RPC_RESPONSE_STATUS_CODE, name);
        self.labels.push(KeyValue::new(semconv::RPC_RESPONSE_STATUS_CODE, name));
        if failed {
            self.span.fail(name);
            self.labels.push(KeyValue::new(semconv::ERROR_TYPE, name));
        }
        self.calls.duration.record(self.start.elapsed().as_secs_f64(), &self.labels);
        if let Some(breakdown) = &self.breakdown {
            breakdown.end(|| self.method.into(), name, &self.span);
        }
        self.span.end();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.finish(Code::Cancelled);
    }
}

impl Exchange for Call {
    fn span(&self) -> &Span {
        &self.span
    }

    fn answer<B>(&mut self, response: &mut Response<B>) {
        self.trailers(response.headers());
    }

    fn fail(&mut self, code: Code) {
        self.finish(code);
    }

    /// Ends the call with the status in these headers or trailers, if there is one.
    fn trailers(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.finish(Code::from_bytes(status.as_bytes()));
        }
    }

    /// A body that ends or breaks without a status: what a client makes of it.
    fn end(&mut self, _: bool) {
        self.finish(Code::Unknown);
    }
}
