//! Spans kept in memory, for the tests of every crate.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{TraceId, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor};

/// The spans that this process has finished.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    spans: Arc<Mutex<Vec<SpanData>>>,
    more: Arc<tokio::sync::Notify>,
}

static CAPTURED: OnceLock<(f64, Captured)> = OnceLock::new();

/// Has traces read from headers in every form, and written in every form.
pub fn every_propagator() {
    use crate::Propagator::{B3, B3Multi, Baggage, Jaeger, TraceContext};
    crate::propagate::init(&[TraceContext, Baggage, B3, B3Multi, Jaeger]);
}

/// Keeps every span of this process from now on; tests that run at once share them and tell theirs by the trace.
///
/// # Panics
/// If it was installed before with another sampler, or after `init`.
pub fn install(sampler: f64) -> Captured {
    let (installed, captured) = CAPTURED.get_or_init(|| {
        let captured = Captured::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sampler))))
            .with_span_processor(captured.clone())
            .build();
        assert!(crate::span::TRACER.set(provider.tracer("test")).is_ok(), "telemetry was initialised before");
        (sampler, captured)
    });
    assert!(installed == &sampler, "one process has one sampler: {installed} is installed");
    captured.clone()
}

impl Captured {
    /// The finished spans of every trace.
    pub fn spans(&self) -> Vec<SpanData> {
        self.spans.lock().map(|spans| spans.clone()).unwrap_or_default()
    }

    /// The finished spans of one trace.
    pub fn trace(&self, id: TraceId) -> Vec<SpanData> {
        self.spans().into_iter().filter(|span| span.span_context.trace_id() == id).collect()
    }

    /// Waits until a trace has this many finished spans.
    ///
    /// # Panics
    /// If it has not within 10 s.
    pub async fn wait(&self, id: TraceId, count: usize) -> Vec<SpanData> {
        let enough = async {
            loop {
                let more = self.more.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                let spans = self.trace(id);
                if spans.len() >= count {
                    return spans;
                }
                more.await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(10), enough).await {
            Ok(spans) => spans,
            Err(_) => panic!("trace {id} has {:?}, not {count} spans", self.trace(id)),
        }
    }
}

impl SpanProcessor for Captured {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if let Ok(mut spans) = self.spans.lock() {
            spans.push(span);
        }
        self.more.notify_waiters();
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The value of a span's attribute as text, empty if it has none.
pub fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
}
