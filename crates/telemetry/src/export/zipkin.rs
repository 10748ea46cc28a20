//! Zipkin's JSON, version 2, as OpenTelemetry maps spans to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_http::HttpClient as _;
use opentelemetry_sdk::trace::SpanData;
use serde::Serialize;

use super::client::Client;
use crate::{Config, Error, semconv};

#[derive(Debug)]
pub(super) struct Zipkin {
    client: Client,
    uri: Uri,
    service: String,
}

impl Zipkin {
    pub(super) fn new(config: &Config, endpoint: &str) -> Result<Self, Error> {
        let invalid = |_| Error::Endpoint { endpoint: endpoint.to_owned(), reason: "it is no URL".to_owned() };
        Ok(Self { client: Client::new(config)?, uri: endpoint.parse().map_err(invalid)?, service: config.name.clone() })
    }

    pub(super) async fn export(&self, batch: &[SpanData]) -> Result<(), String> {
        let spans: Vec<_> = batch.iter().map(|span| convert(span, &self.service)).collect();
        let body = serde_json::to_vec(&spans).map_err(|error| error.to_string())?;
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.client.headers().clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.client.send_bytes(request).await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    name: &'a str,
    /// Microseconds since 1970.
    timestamp: u64,
    /// Microseconds, from 1.
    duration: u64,
    local_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<Endpoint<'a>>,
    annotations: Vec<Annotation>,
    tags: BTreeMap<&'a str, String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
}

#[derive(Serialize)]
struct Annotation {
    timestamp: u64,
    value: String,
}

fn convert<'a>(span: &'a SpanData, service: &'a str) -> Span<'a> {
    let kind = match span.span_kind {
        SpanKind::Client => Some("CLIENT"),
        SpanKind::Server => Some("SERVER"),
        SpanKind::Producer => Some("PRODUCER"),
        SpanKind::Consumer => Some("CONSUMER"),
        SpanKind::Internal => None,
    };
    let mut tags: BTreeMap<_, _> =
        span.attributes.iter().map(|attribute| (attribute.key.as_str(), attribute.value.to_string())).collect();
    match &span.status {
        Status::Unset => {}
        Status::Ok => drop(tags.insert("otel.status_code", "OK".to_owned())),
        Status::Error { description } => {
            tags.insert("otel.status_code", "ERROR".to_owned());
            let error = tags.get(semconv::ERROR_TYPE).filter(|_| description.is_empty()).cloned();
            tags.insert("error", error.unwrap_or_else(|| description.to_string()));
        }
    }
    Span {
        trace_id: span.span_context.trace_id().to_string(),
        parent_id: (span.parent_span_id != SpanId::INVALID).then(|| span.parent_span_id.to_string()),
        id: span.span_context.span_id().to_string(),
        kind,
        name: &span.name,
        timestamp: micros(span.start_time.duration_since(UNIX_EPOCH).unwrap_or_default()),
        duration: micros(span.end_time.duration_since(span.start_time).unwrap_or_default()).max(1),
        local_endpoint: Endpoint { service_name: Some(service), ..Endpoint::default() },
        remote_endpoint: remote(span),
        annotations: span.events.iter().map(|event| annotation(event.timestamp, &event.name)).collect(),
        tags,
    }
}

/// The peer of a call, by its name or its address.
fn remote(span: &SpanData) -> Option<Endpoint<'_>> {
    let address = span.attributes.iter().find(|attribute| attribute.key.as_str() == semconv::SERVER_ADDRESS)?;
    let (SpanKind::Client, Value::String(address)) = (&span.span_kind, &address.value) else { return None };
    let endpoint = Endpoint::default();
    Some(match address.as_str().parse() {
        Ok(IpAddr::V4(address)) => Endpoint { ipv4: Some(address), ..endpoint },
        Ok(IpAddr::V6(address)) => Endpoint { ipv6: Some(address), ..endpoint },
        Err(_) => Endpoint { service_name: Some(address.as_str()), ..endpoint },
    })
}

fn annotation(time: SystemTime, name: &str) -> Annotation {
    Annotation { timestamp: micros(time.duration_since(UNIX_EPOCH).unwrap_or_default()), value: name.to_owned() }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
