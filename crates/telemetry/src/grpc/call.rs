//! One call from its start to its end: the last trailer, an error, or being dropped.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use ::http::{HeaderMap, Response};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter};
use tonic::Code;

use super::{code_name, is_server_fault};
use crate::exchange::Exchange;
use crate::metrics::Calls;
use crate::slow::Breakdown;
use crate::{Memo, Span, metrics, semconv};

/// What the calls of one layer have in common.
#[derive(Debug)]
pub(super) struct Side {
    /// Made when they first measure: a layer may be made before there is a meter.
    calls: &'static LazyLock<Calls>,
    /// Whether only a fault of ours is an error: on the server's side.
    server: bool,
    /// What is measured besides the method and how it ended.
    labels: Vec<KeyValue>,
    active: Memo<&'static str, BoundUpDownCounter<i64>>,
    duration: Memo<(&'static str, Code), BoundHistogram<f64>>,
}

impl Side {
    /// Of calls that come in.
    pub(super) fn server() -> Self {
        Self::new(&metrics::RPC_SERVER, true, Vec::new())
    }

    /// Of calls to a peer that has these labels.
    pub(super) fn client(labels: Vec<KeyValue>) -> Self {
        Self::new(&metrics::RPC_CLIENT, false, labels)
    }

    fn new(calls: &'static LazyLock<Calls>, server: bool, labels: Vec<KeyValue>) -> Self {
        Self { calls, server, labels, active: Memo::default(), duration: Memo::default() }
    }

    pub(super) fn labels(&self) -> &[KeyValue] {
        &self.labels
    }

    fn labels_of(&self, method: &'static str) -> Vec<KeyValue> {
        let mut all =
            vec![KeyValue::new(semconv::RPC_SYSTEM_NAME, semconv::GRPC), KeyValue::new(semconv::RPC_METHOD, method)];
        all.extend_from_slice(&self.labels);
        all
    }

    fn active(&self, method: &'static str) -> BoundUpDownCounter<i64> {
        self.active.get(&method, || self.calls.active.bind(&self.labels_of(method)))
    }

    fn duration(&self, method: &'static str, code: Code) -> BoundHistogram<f64> {
        self.duration.get(&(method, code), || {
            let mut labels = self.labels_of(method);
            labels.push(KeyValue::new(semconv::RPC_RESPONSE_STATUS_CODE, code_name(code)));
            if self.is_error(code) {
                labels.push(KeyValue::new(semconv::ERROR_TYPE, code_name(code)));
            }
            self.calls.duration.bind(&labels)
        })
    }

    fn is_error(&self, code: Code) -> bool {
        code != Code::Ok && (!self.server || is_server_fault(code))
    }
}

/// A call under way: it is measured and its span ended once, when it ends or is dropped.
pub struct Call {
    span: Span,
    side: Arc<Side>,
    method: &'static str,
    active: BoundUpDownCounter<i64>,
    start: Instant,
    /// Where its time goes, for a call that this process answers.
    breakdown: Option<Arc<Breakdown>>,
    ended: bool,
}

impl Call {
    pub(super) fn new(span: Span, side: &Arc<Side>, method: &'static str) -> Self {
        let active = side.active(method);
        active.add(1);
        Self { span, side: Arc::clone(side), method, active, start: Instant::now(), breakdown: None, ended: false }
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
        self.active.add(-1);
        self.span.set(semconv::RPC_RESPONSE_STATUS_CODE, name);
        if self.side.is_error(code) {
            self.span.fail(name);
        }
        self.side.duration(self.method, code).record(self.start.elapsed().as_secs_f64());
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
