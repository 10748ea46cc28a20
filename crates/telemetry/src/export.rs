//! The ways out: OTLP over gRPC and HTTP, Zipkin, and lines of OTLP's JSON.

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
            Batcher::OtlpGrpc | Batcher::Jaeger => Way::Otlp(Box::new(otlp::grpc(config, &endpoint, resource)?)),
            Batcher::OtlpHttp => Way::Otlp(Box::new(otlp::http(config, &endpoint, resource)?)),
            Batcher::Zipkin => Way::Zipkin(Box::new(zipkin::Zipkin::new(config, &endpoint)?)),
            Batcher::File => Way::Lines(lines::Lines::file(&endpoint, resource)?),
            Batcher::Stdout => Way::Lines(lines::Lines::stdout(resource)),
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
