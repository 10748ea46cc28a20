//! OTLP over gRPC and over HTTP, by the OpenTelemetry project's own exporter.

use std::collections::HashMap;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, ClientTlsConfig};

use super::client::Client;
use crate::{Config, Error};

pub(super) fn grpc(config: &Config, endpoint: &str, resource: &Resource) -> Result<SpanExporter, Error> {
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(timeout(config))
        .with_metadata(MetadataMap::from_headers(headers(config)?));
    if endpoint.starts_with("https:") {
        let tls = match &config.ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(super::client::read(path)?)),
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        builder = builder.with_tls_config(tls);
    }
    finish(builder.build(), resource)
}

pub(super) fn http(config: &Config, endpoint: &str, resource: &Resource) -> Result<SpanExporter, Error> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
    let headers: HashMap<_, _> = headers(config)?.iter().filter_map(text).collect();
    let builder = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new(config)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(timeout(config))
        .with_headers(headers);
    finish(builder.build(), resource)
}

/// Later than the queue's own, which alone ends an export: the same for every way out.
fn timeout(config: &Config) -> Duration {
    config.queue.timeout.saturating_mul(2)
}

fn finish(
    exporter: Result<SpanExporter, opentelemetry_otlp::ExporterBuildError>,
    resource: &Resource,
) -> Result<SpanExporter, Error> {
    let mut exporter = exporter.map_err(Error::Exporter)?;
    exporter.set_resource(resource);
    Ok(exporter)
}

/// The configured headers; an error names one, never its value.
pub(super) fn headers(config: &Config) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let invalid = || Error::Header(name.clone());
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name).map_err(|_| invalid())?, value);
    }
    Ok(headers)
}
