//! OTLP over gRPC and over HTTP, by the OpenTelemetry project's own exporter.

use ::http::{HeaderName, HeaderValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, ClientTlsConfig};

use super::{client, headers, timeout};
use crate::{Batcher, Config, Error};

/// The exporter to a collector at `endpoint`; connects when first used.
pub(super) fn exporter(config: &Config, endpoint: &str, resource: &Resource) -> Result<SpanExporter, Error> {
    let headers = headers(config)?;
    let built = if config.batcher == Batcher::OtlpHttp {
        // `headers` lets no other values pass than text.
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
        };
        SpanExporter::builder()
            .with_http()
            .with_http_client(client::new(config)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(timeout(config))
            .with_headers(headers.iter().map(text).collect())
            .build()
    } else {
        let mut builder = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(timeout(config))
            .with_metadata(MetadataMap::from_headers(headers));
        if endpoint.starts_with("https:") {
            let tls = match &config.ca {
                Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(client::read(path)?)),
                None => ClientTlsConfig::new().with_enabled_roots(),
            };
            builder = builder.with_tls_config(tls);
        }
        builder.build()
    };
    let mut exporter = built.map_err(Error::Exporter)?;
    exporter.set_resource(resource);
    Ok(exporter)
}
