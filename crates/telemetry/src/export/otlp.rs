//! OTLP over gRPC and over HTTP, by the OpenTelemetry project's own exporters: one for each signal, made in the same way.

use ::http::{HeaderName, HeaderValue};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, ClientTlsConfig};

use super::{client, headers, timeout};
use crate::{Batcher, Config, Error};

/// Makes a function that builds a signal's exporter to a collector at `endpoint`; it connects when first used.
macro_rules! exporters {
    ($($signal:ident -> $Exporter:ident),+) => {
        $(pub(super) fn $signal(config: &Config, endpoint: &str) -> Result<$Exporter, Error> {
            let builder = $Exporter::builder();
            let built: Result<$Exporter, ExporterBuildError> = if config.batcher == Batcher::OtlpHttp {
                http(builder.with_http(), config, endpoint)?.build()
            } else {
                grpc(builder.with_tonic(), config, endpoint)?.build()
            };
            built.map_err(Error::Exporter)
        })+
    };
}

exporters!(spans -> SpanExporter, logs -> LogExporter, metrics -> MetricExporter);

fn http<B: WithExportConfig + WithHttpConfig>(builder: B, config: &Config, endpoint: &str) -> Result<B, Error> {
    // `headers` lets no other values pass than text.
    let text =
        |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.to_str().unwrap_or_default().to_owned());
    Ok(builder
        .with_http_client(client::new(config)?)
        .with_headers(headers(config)?.iter().map(text).collect())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(timeout(config)))
}

fn grpc<B: WithExportConfig + WithTonicConfig>(builder: B, config: &Config, endpoint: &str) -> Result<B, Error> {
    let mut builder = builder
        .with_metadata(MetadataMap::from_headers(headers(config)?))
        .with_endpoint(endpoint)
        .with_timeout(timeout(config));
    if endpoint.starts_with("https:") {
        let tls = match &config.ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(client::read(path)?)),
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        builder = builder.with_tls_config(tls);
    }
    Ok(builder)
}
