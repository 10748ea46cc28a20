//! Zipkin's JSON, version 2, as OpenTelemetry maps spans to it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_http::HttpClient as _;
use opentelemetry_sdk::trace::SpanData;
use serde_json::json;

use super::client::{self, Client};
use crate::{Config, Error, semconv};

#[derive(Debug)]
pub(super) struct Zipkin {
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    service: String,
}

impl Zipkin {
    pub(super) fn new(config: &Config, endpoint: &str) -> Result<Self, Error> {
        let invalid = |_| Error::Endpoint { endpoint: endpoint.to_owned(), reason: "it is no URL".to_owned() };
        let uri = endpoint.parse().map_err(invalid)?;
        let mut headers = super::headers(config)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { client: client::new(config)?, uri, headers, service: config.name.clone() })
    }

    pub(super) async fn export(&self, batch: &[SpanData]) -> Result<(), String> {
        let spans: Vec<_> = batch.iter().map(|span| convert(span, &self.service)).collect();
        let body = serde_json::to_vec(&spans).map_err(|error| error.to_string())?;
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = self.client.send_bytes(request).await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
    }
}

/// A span of version 2; times are microseconds since 1970, a duration is at least one.
fn convert(span: &SpanData, service: &str) -> serde_json::Value {
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
    let annotations =
        span.events.iter().map(|event| json!({ "timestamp": since_1970(event.timestamp), "value": event.name }));
    let mut json = json!({
        "traceId": span.span_context.trace_id().to_string(),
        "id": span.span_context.span_id().to_string(),
        "name": span.name,
        "timestamp": since_1970(span.start_time),
        "duration": micros(span.end_time.duration_since(span.start_time).unwrap_or_default()).max(1),
        "localEndpoint": { "serviceName": service },
        "annotations": annotations.collect::<Vec<_>>(),
        "tags": tags,
    });
    if span.parent_span_id != SpanId::INVALID {
        json["parentId"] = span.parent_span_id.to_string().into();
    }
    let kind = match span.span_kind {
        SpanKind::Client => "CLIENT",
        SpanKind::Server => "SERVER",
        SpanKind::Producer => "PRODUCER",
        SpanKind::Consumer => "CONSUMER",
        SpanKind::Internal => return json,
    };
    json["kind"] = kind.into();
    if let Some(remote) = remote(span) {
        json["remoteEndpoint"] = remote;
    }
    json
}

/// The peer of a call, by its name or its address.
fn remote(span: &SpanData) -> Option<serde_json::Value> {
    let address = span.attributes.iter().find(|attribute| attribute.key.as_str() == semconv::SERVER_ADDRESS)?;
    let (SpanKind::Client, Value::String(address)) = (&span.span_kind, &address.value) else { return None };
    Some(match address.as_str().parse() {
        Ok(IpAddr::V4(address)) => json!({ "ipv4": address }),
        Ok(IpAddr::V6(address)) => json!({ "ipv6": address }),
        Err(_) => json!({ "serviceName": address.as_str() }),
    })
}

fn since_1970(time: SystemTime) -> u64 {
    micros(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
