//! The ways out: OTLP over gRPC and HTTP, Zipkin, and lines of OTLP's JSON.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use crate::config::Batcher;
use crate::{Config, Error};

mod client;
mod endpoint;
mod lines;
mod otlp;
#[cfg(test)]
mod tests;
mod zipkin;

/// Sends batches of spans.
#[derive(Debug)]
pub(crate) struct Exporter {
    endpoint: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Otlp(Box<opentelemetry_otlp::SpanExporter>),
    Zipkin(Box<zipkin::Zipkin>),
    Lines(lines::Lines),
}

impl Exporter {
    /// The exporter that the configuration asks for; connects when first used.
    pub(crate) fn new(config: &Config, resource: &Resource) -> Result<Self, Error> {
        let endpoint = endpoint::of(config)?;
        let way = match config.batcher {
            Batcher::OtlpGrpc | Batcher::OtlpHttp | Batcher::Jaeger => {
                Way::Otlp(Box::new(otlp::exporter(config, &endpoint, resource)?))
            }
            Batcher::Zipkin => Way::Zipkin(Box::new(zipkin::Zipkin::new(config, &endpoint)?)),
            Batcher::File => Way::Lines(lines::Lines::file(&endpoint, resource)?),
            Batcher::Stdout => Way::Lines(lines::Lines::stdout(resource)?),
        };
        Ok(Self { endpoint, way })
    }

    /// Where the spans go, for people.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends one batch; the error is for the log.
    pub(crate) async fn export(&self, batch: Vec<SpanData>) -> Result<(), String> {
        match &self.way {
            Way::Otlp(exporter) => exporter.export(batch).await.map_err(|error| error.to_string()),
            Way::Zipkin(zipkin) => zipkin.export(&batch).await,
            Way::Lines(lines) => lines.export(batch).await,
        }
    }
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
