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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanLimits};

mod config;
mod exchange;
mod export;
#[cfg(test)]
mod fake;
pub mod grpc;
pub mod http;
mod log;
mod memo;
mod metrics;
mod propagate;
mod queue;
mod resource;
mod sampler;
pub mod semconv;
mod slow;
mod span;
pub mod testing;

pub use config::{Batcher, Config, Limits, LogConfig, LogFormat, MetricsConfig, Propagator, Queue, Slow};
pub use exchange::{AsStatus, Begin, Body, Exchange, ResponseFuture, Traced};
pub use memo::Memo;
pub use metrics::{Tally, metrics_text};
pub use opentelemetry::trace::{SpanKind, TraceId};
pub use opentelemetry::{Context, KeyValue};
pub use propagate::{baggage, extract, inject};
pub use semconv::metric;
pub use slow::handling;
pub use span::{Span, trace_id, traceparent, untraced};

/// How long the last spans may take to be sent; the rest of the shutdown takes no time.
const FLUSH: Duration = Duration::from_millis(2800);
/// How much of that is left for the last log lines and metrics.
const LAST_WORDS: Duration = Duration::from_millis(600);

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("telemetry.endpoint `{endpoint}`: {reason}")]
    Endpoint { endpoint: String, reason: String },
    #[error("telemetry.sampler must be from 0 to 1, not {0}")]
    Sampler(f64),
    #[error("telemetry.{0} must not be 0")]
    Zero(&'static str),
    #[error("telemetry.metrics: with `disabled` there is nothing that `otlp` could send")]
    NothingToSend,
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
    #[error("set up TLS for telemetry")]
    Tls(#[source] rustls::Error),
    #[error("make the exporter of logs or metrics")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    #[error("telemetry.{0} needs the batcher otlpgrpc or otlphttp, which say where the collector is")]
    NeedsOtlp(&'static str),
    #[error("{0}: all signals go to one collector; set the variable without LOGS or METRICS in its name")]
    OneCollector(String),
    #[error("telemetry needs a tokio runtime")]
    Runtime,
    #[error("telemetry was started before in this process")]
    Twice,
}

/// Telemetry at work; [`Telemetry::shutdown`] sends what is left.
#[derive(Debug)]
#[must_use = "shut it down, or the last spans are lost"]
pub struct Telemetry {
    log: log::Handle,
    spans: Option<queue::Worker<export::Spans>>,
    logs: Option<queue::Worker<export::Logs>>,
    metrics: Option<metrics::Push>,
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// Starts traces, metrics and logs, once a process and inside its tokio runtime; `OTEL_*` variables override `config`.
pub fn init(config: &Config) -> Result<Telemetry, Error> {
    let config = config.clone().with_env()?;
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(Error::Runtime);
    }
    let resource = resource::of(&config);
    // What can fail comes before what stays: a second try starts anew.
    let spans = if config.disabled { None } else { Some(export::Spans::new(&config, &resource)?) };
    let logs = config.log.otlp.then(|| export::Logs::new(&config, &resource)).transpose()?;
    let pushed = config.metrics.otlp.then(|| export::metrics(&config)).transpose()?;
    log::levels(&config)?;
    if STARTED.swap(true, Ordering::Relaxed) {
        return Err(Error::Twice);
    }
    metrics::init(resource.clone(), config.metrics.disabled);
    let (provider, logs) = logs.map(|exporter| start_logs(&config, exporter)).unzip();
    let log = log::init(&config, provider.as_ref())?;
    propagate::init(&config.propagators);
    slow::init(&config.slow);
    let push = |exporter| {
        let reader = metrics::reader()?;
        Some(metrics::Push::start(reader, exporter, config.metrics.interval, config.queue.timeout))
    };
    let metrics = pushed.and_then(push);
    let spans = spans.map(|exporter| start_spans(&config, exporter, resource)).transpose()?;
    Ok(Telemetry { log, spans, logs, metrics })
}

fn start_logs(config: &Config, exporter: export::Logs) -> (SdkLoggerProvider, queue::Worker<export::Logs>) {
    let (processor, worker) = queue::Processor::start(config.queue.clone(), exporter);
    (SdkLoggerProvider::builder().with_log_processor(processor).build(), worker)
}

fn start_spans(
    config: &Config,
    exporter: export::Spans,
    resource: Resource,
) -> Result<queue::Worker<export::Spans>, Error> {
    if config.batcher == Batcher::Jaeger {
        let endpoint = queue::Export::endpoint(&exporter);
        tracing::warn!(endpoint, "batcher `jaeger` is gone from Jaeger: spans go by OTLP; use `otlpgrpc`");
    }
    let limits = SpanLimits {
        max_attributes_per_span: config.limits.attributes,
        max_attributes_per_event: config.limits.attributes,
        max_attributes_per_link: config.limits.attributes,
        max_events_per_span: config.limits.events,
        max_links_per_span: config.limits.links,
    };
    span::VALUE_BYTES.store(config.limits.value_bytes, Ordering::Relaxed);
    let (processor, worker) = queue::Processor::start(config.queue.clone(), exporter);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler::of(config))
        .with_span_limits(limits)
        .with_span_processor(processor)
        .build();
    let scope = InstrumentationScope::builder("mall")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(semconv::SCHEMA_URL)
        .build();
    span::TRACER.set(provider.tracer_with_scope(scope)).map_err(|_| Error::Twice)?;
    Ok(worker)
}

impl Telemetry {
    /// Logs by the levels of `config` from now on.
    pub fn set_levels(&self, config: &Config) -> Result<(), Error> {
        let levels = log::levels(config)?;
        // The subscriber lives as long as the process.
        let _ = self.log.levels.reload(levels);
        Ok(())
    }

    /// Sends what is left, within 3 s at most; what cannot be sent by then is counted and lost.
    pub async fn shutdown(self) {
        let Self { log, spans, logs, metrics } = self;
        let until = Instant::now() + FLUSH;
        if let Some(worker) = spans {
            // What it says at the end, and its last counts, go by the others, which have little to send.
            worker.shutdown(FLUSH - LAST_WORDS).await;
        }
        log.bursts.tell();
        let left = until.saturating_duration_since(Instant::now());
        let logs = async {
            if let Some(worker) = logs {
                worker.shutdown(left).await;
            }
        };
        let metrics = async {
            if let Some(push) = metrics {
                push.shutdown(left).await;
            }
        };
        tokio::join!(logs, metrics);
    }
}
