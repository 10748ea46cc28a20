//! OTLP for log records and metrics, of which there are few: by the OpenTelemetry project's own exporters, made alike.

use ::http::{HeaderName, HeaderValue};
use opentelemetry_otlp::{
    Compression, ExporterBuildError, LogExporter, MetricExporter, Protocol, WithExportConfig, WithHttpConfig,
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

exporters!(logs -> LogExporter, metrics -> MetricExporter);

fn http<B: WithExportConfig + WithHttpConfig>(builder: B, config: &Config, endpoint: &str) -> Result<B, Error> {
    // `headers` lets no other values pass than text.
    let text =
        |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.to_str().unwrap_or_default().to_owned());
    let builder = builder
        .with_http_client(client::new(config)?)
        .with_headers(headers(config)?.iter().map(text).collect())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(timeout(config));
    Ok(if config.gzip { builder.with_compression(Compression::Gzip) } else { builder })
}

fn grpc<B: WithExportConfig + WithTonicConfig>(builder: B, config: &Config, endpoint: &str) -> Result<B, Error> {
    let mut builder = builder
        .with_metadata(MetadataMap::from_headers(headers(config)?))
        .with_endpoint(endpoint)
        .with_timeout(timeout(config));
    if let Some(tls) = tls(config, endpoint)? {
        builder = builder.with_tls_config(tls);
    }
    Ok(if config.gzip { builder.with_compression(Compression::Gzip) } else { builder })
}

/// How an `https` endpoint is spoken to.
pub(super) fn tls(config: &Config, endpoint: &str) -> Result<Option<ClientTlsConfig>, Error> {
    if !endpoint.starts_with("https:") {
        return Ok(None);
    }
    let Some(path) = &config.ca else { return Ok(Some(ClientTlsConfig::new().with_enabled_roots())) };
    let pem = client::read(path)?;
    client::certificates(path, &pem)?;
    Ok(Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))))
}
