//! The ways out: OTLP over gRPC and HTTP for all signals; for spans also Zipkin, and lines of OTLP's JSON.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_otlp::{LogExporter, MetricExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _};
use opentelemetry_sdk::trace::SpanData;

use self::collector::Collector;
use self::encode::Encoder;
use self::endpoint::Signal;
use crate::config::Batcher;
use crate::queue::{Export, Logged};
use crate::semconv::{Metric, metric};
use crate::{Config, Error};

mod client;
mod collector;
mod encode;
pub(crate) mod endpoint;
mod lines;
mod otlp;
#[cfg(test)]
mod tests;
mod zipkin;

/// Sends batches of spans.
#[derive(Debug)]
pub(crate) struct Spans {
    endpoint: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Otlp(Box<(Encoder, Collector)>),
    Zipkin(Box<zipkin::Zipkin>),
    Lines(lines::Lines),
}

impl Spans {
    /// The exporter that the configuration asks for; connects when first used.
    pub(crate) fn new(config: &Config, resource: &Resource) -> Result<Self, Error> {
        let endpoint = endpoint::of(config, Signal::Traces)?;
        let way = match config.batcher {
            Batcher::OtlpGrpc | Batcher::OtlpHttp | Batcher::Jaeger => {
                Way::Otlp(Box::new((Encoder::new(resource), Collector::new(config, &endpoint)?)))
            }
            Batcher::Zipkin => Way::Zipkin(Box::new(zipkin::Zipkin::new(config, &endpoint)?)),
            Batcher::File => Way::Lines(lines::Lines::file(&endpoint, resource)?),
            Batcher::Stdout => Way::Lines(lines::Lines::stdout(resource)?),
        };
        Ok(Self { endpoint, way })
    }
}

impl Export for Spans {
    type Item = SpanData;

    const ITEMS: &'static str = "spans";
    const SENT: Metric = metric::SPANS_SENT;
    const DROPPED: Metric = metric::SPANS_DROPPED;

    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn export(&self, batch: Vec<SpanData>) -> Result<u64, String> {
        match &self.way {
            Way::Otlp(otlp) => {
                let (encoder, collector) = &**otlp;
                let request = encoder.encode(&batch);
                drop(batch);
                collector.send(request).await
            }
            Way::Zipkin(zipkin) => zipkin.export(&batch).await.map(|()| 0),
            Way::Lines(lines) => lines.export(batch).await.map(|()| 0),
        }
    }
}

/// Sends batches of log records, by OTLP.
#[derive(Debug)]
pub(crate) struct Logs {
    endpoint: String,
    exporter: LogExporter,
}

impl Logs {
    /// The exporter to the collector of the spans; connects when first used.
    pub(crate) fn new(config: &Config, resource: &Resource) -> Result<Self, Error> {
        let endpoint = otlp_endpoint(config, Signal::Logs, "log.otlp")?;
        let mut exporter = otlp::logs(config, &endpoint)?;
        exporter.set_resource(resource);
        Ok(Self { endpoint, exporter })
    }
}

impl Export for Logs {
    type Item = Logged;

    const ITEMS: &'static str = "log records";
    const SENT: Metric = metric::LOGS_SENT;
    const DROPPED: Metric = metric::LOGS_DROPPED;

    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn export(&self, batch: Vec<Logged>) -> Result<u64, String> {
        let records: Vec<_> = batch.iter().map(|(record, scope)| (record, scope)).collect();
        // The exporter hides how many were rejected, and logs a warning.
        self.exporter.export(LogBatch::new(&records)).await.map(|()| 0).map_err(|error| error.to_string())
    }
}

/// The exporter of metrics to the collector of the spans; connects when first used.
pub(crate) fn metrics(config: &Config) -> Result<MetricExporter, Error> {
    otlp::metrics(config, &otlp_endpoint(config, Signal::Metrics, "metrics.otlp")?)
}

/// Where a signal that only OTLP carries goes; `key` asked for it.
fn otlp_endpoint(config: &Config, signal: Signal, key: &'static str) -> Result<String, Error> {
    if config.sends_otlp() { endpoint::of(config, signal) } else { Err(Error::NeedsOtlp(key)) }
}

/// Later than the queue's own time-out, which alone ends an export: the same for every way out.
fn timeout(config: &Config) -> Duration {
    config.queue.timeout.saturating_mul(2)
}

/// The configured headers, of visible ASCII; an error names one, never its value.
fn headers(config: &Config) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let invalid = || Error::Header(name.clone());
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| invalid())?;
        value.to_str().map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name).map_err(|_| invalid())?, value);
    }
    Ok(headers)
}
