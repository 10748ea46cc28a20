//! Traces, metrics and logs from one config section, and the tower layers that make them.
//!
//! A service calls [`init`] once, puts [`grpc::ServerLayer`] or [`http::ServerLayer`] outside its other layers and
//! [`grpc::ClientLayer`] around its channels, and ends with [`Telemetry::shutdown`]. It logs through `tracing`: each line
//! names the current span.
//!
//! Everything else that wants a span makes it with [`Span::start`], whose parent is the current span, and runs its work
//! in it with [`Span::run`] or [`Span::enter`]; on another thread, [`Span::start_under`] with the [`Context`] it was
//! given. A database statement is `Span::start(SpanKind::Client, "SELECT users")` with the `DB_*` keys of [`semconv`].
#![warn(missing_docs)]

use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

mod config;
mod exchange;
mod export;
#[cfg(test)]
mod fake;
pub mod grpc;
pub mod http;
mod log;
mod metrics;
mod propagate;
mod queue;
mod resource;
pub mod semconv;
mod span;
pub mod testing;

pub use config::{Batcher, Config, LogConfig, LogFormat, Queue};
pub use exchange::{AsStatus, Begin, Body, Exchange, ResponseFuture, Traced};
pub use metrics::{meter, metrics_text};
pub use opentelemetry::trace::{SpanKind, TraceId};
pub use opentelemetry::{Context, KeyValue};
pub use propagate::{baggage, extract, inject};
pub use span::{Span, trace_id, traceparent, untraced};

/// How long the last spans may take to be sent; the rest of the shutdown takes no time.
const FLUSH: Duration = Duration::from_millis(2800);

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("telemetry.endpoint `{endpoint}`: {reason}")]
    Endpoint { endpoint: String, reason: String },
    #[error("telemetry.sampler must be from 0 to 1, not {0}")]
    Sampler(f64),
    #[error("telemetry.queue: `batch` must be from 1 to `size`")]
    Queue,
    #[error("telemetry.headers: `{0}` is no header, or its value is none")]
    Header(String),
    #[error("telemetry.log.level (or RUST_LOG) `{0}`: use error, warn, info, debug or trace")]
    Level(String),
    #[error("the environment variable {0} has a value that it cannot have")]
    Variable(String),
    #[error("telemetry.ca {}: read certificates", path.display())]
    Certificate { path: PathBuf, source: std::io::Error },
    #[error("telemetry.endpoint {}: open the file for spans", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("set up TLS for spans")]
    Tls(#[source] rustls::Error),
    #[error("make the exporter of spans")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    #[error("telemetry needs a tokio runtime")]
    Runtime,
    #[error("telemetry was started before in this process")]
    Twice,
}

/// Telemetry at work; [`Telemetry::shutdown`] sends what is left.
#[derive(Debug)]
#[must_use = "shut it down, or the last spans are lost"]
pub struct Telemetry {
    worker: Option<queue::Worker>,
}

/// Starts traces, metrics and logs, once a process and inside its tokio runtime; `OTEL_*` variables override `config`.
pub fn init(config: &Config) -> Result<Telemetry, Error> {
    let config = config.clone().with_env()?;
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(Error::Runtime);
    }
    let resource = resource::of(&config);
    // What can fail comes before what stays: a second try starts anew.
    let exporter = if config.disabled { None } else { Some(export::Exporter::new(&config, &resource)?) };
    log::init(&config)?;
    metrics::init(resource.clone());
    let Some(exporter) = exporter else { return Ok(Telemetry { worker: None }) };
    if config.batcher == Batcher::Jaeger {
        tracing::warn!(
            endpoint = exporter.endpoint(),
            "batcher `jaeger` is gone from Jaeger: spans go by OTLP; use `otlpgrpc`"
        );
    }
    let share = Sampler::TraceIdRatioBased(config.sampler);
    let sampler = if config.ignore_parent { share } else { Sampler::ParentBased(Box::new(share)) };
    let (processor, worker) = queue::Processor::start(config.queue.clone(), exporter);
    processor.counts().publish();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_span_processor(processor)
        .build();
    let scope = InstrumentationScope::builder("mall")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(semconv::SCHEMA_URL)
        .build();
    span::TRACER.set(provider.tracer_with_scope(scope)).map_err(|_| Error::Twice)?;
    Ok(Telemetry { worker: Some(worker) })
}

impl Telemetry {
    /// Sends the spans that are left, within 3 s at most; what cannot be sent by then is counted and lost.
    pub async fn shutdown(self) {
        if let Some(worker) = self.worker {
            worker.shutdown(FLUSH).await;
        }
    }
}
