//! A trace in the JSON that Jaeger's UI shows, converted as Jaeger itself converts OTLP.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as Attribute};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span as OtlpSpan, Status, status::StatusCode};
use serde::Serialize;

use crate::model::{self, Stored, TraceId, kind_name, text};

/// JavaScript's numbers are exact up to here; larger ones are sent as text.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trace {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<Span>,
    processes: BTreeMap<String, Process>,
    warnings: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    references: Vec<Reference>,
    /// Microseconds since 1970.
    start_time: u64,
    /// Microseconds.
    duration: u64,
    tags: Vec<KeyValue>,
    logs: Vec<Log>,
    #[serde(rename = "processID")]
    process_id: String,
    warnings: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
    tags: Vec<KeyValue>,
}

#[derive(Serialize)]
struct Log {
    /// Microseconds since 1970.
    timestamp: u64,
    fields: Vec<KeyValue>,
}

#[derive(Serialize)]
struct KeyValue {
    key: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: serde_json::Value,
}

/// A trace's id in Jaeger: half as long if the first half is zero.
pub(super) fn id(trace: TraceId) -> String {
    let id = trace.to_string();
    id.strip_prefix("0000000000000000").map_or(id.clone(), str::to_owned)
}

impl From<&model::Trace> for Trace {
    fn from(trace: &model::Trace) -> Self {
        let mut processes: Vec<&model::Resource> = Vec::new();
        let spans = trace.spans.iter().map(|stored| {
            let known = processes.iter().position(|process| **process == *stored.resource);
            let process = known.unwrap_or_else(|| {
                processes.push(&stored.resource);
                processes.len() - 1
            });
            span(trace.id, stored, format!("p{}", process + 1))
        });
        let spans = spans.collect();
        let processes = processes.into_iter().enumerate();
        let processes = processes.map(|(i, resource)| (format!("p{}", i + 1), process(resource))).collect();
        let warnings =
            (trace.cut > 0).then(|| vec![format!("{} spans are not kept: the trace is too large", trace.cut)]);
        Self { trace_id: id(trace.id), spans, processes, warnings }
    }
}

fn process(resource: &model::Resource) -> Process {
    let mut tags = tags(resource.decode().attributes);
    tags.retain(|tag| tag.key != "service.name");
    tags.sort_by(|a, b| a.key.cmp(&b.key));
    Process { service_name: resource.service.clone(), tags }
}

fn span(trace: TraceId, stored: &Stored, process_id: String) -> Span {
    let OtlpSpan { name, links, events, attributes, trace_state, status, .. } = stored.decode(trace);
    let mut warnings = Vec::new();
    if stored.end < stored.start {
        warnings.push("the span ends before it starts".to_owned());
    }
    Span {
        trace_id: id(trace),
        span_id: span_id(stored.id),
        operation_name: name,
        references: references(trace, stored.parent, &links, &mut warnings),
        start_time: stored.start / 1_000,
        duration: stored.end.saturating_sub(stored.start) / 1_000,
        tags: span_tags(stored, attributes, &trace_state, &status.unwrap_or_default()),
        logs: events.into_iter().map(log).collect(),
        process_id,
        warnings: (!warnings.is_empty()).then_some(warnings),
    }
}

fn span_id(id: u64) -> String {
    format!("{id:016x}")
}

/// The parent first, then the links; a link to the parent is not said twice.
fn references(trace: TraceId, parent: u64, links: &[Link], warnings: &mut Vec<String>) -> Vec<Reference> {
    let mut references = Vec::new();
    if parent != 0 {
        references.push(Reference { ref_type: "CHILD_OF", trace_id: id(trace), span_id: span_id(parent) });
    }
    for link in links {
        let (Ok(trace_id), Ok(span)) = (link.trace_id.as_slice().try_into(), link.span_id.as_slice().try_into()) else {
            warnings.push("a link with an invalid id was left out".to_owned());
            continue;
        };
        let (trace_id, span) = (TraceId(trace_id), u64::from_be_bytes(span));
        let kind = link.attributes.iter().find(|attribute| attribute.key == "opentracing.ref_type");
        let is_child = kind.and_then(|kind| kind.value.as_ref()).is_some_and(|value| text(value) == "child_of");
        let ref_type = if is_child { "CHILD_OF" } else { "FOLLOWS_FROM" };
        if parent != 0 && (trace_id, span) == (trace, parent) {
            references[0].ref_type = ref_type;
        } else {
            references.push(Reference { ref_type, trace_id: id(trace_id), span_id: span_id(span) });
        }
    }
    references
}

/// The span's attributes and what Jaeger shows as if it were one, by key.
fn span_tags(stored: &Stored, attributes: Vec<Attribute>, trace_state: &str, status: &Status) -> Vec<KeyValue> {
    let mut tags = tags(attributes);
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            tags.push(KeyValue { key: key.to_owned(), kind: "string", value: value.into() });
        }
    };
    let scope = stored.scope.decode();
    add("otel.scope.name", &scope.name);
    add("otel.scope.version", &scope.version);
    add("span.kind", kind_name(stored.kind));
    add("w3c.tracestate", trace_state);
    add("otel.status_description", &status.message);
    match status.code() {
        StatusCode::Unset => {}
        StatusCode::Ok => add("otel.status_code", "OK"),
        StatusCode::Error => {
            add("otel.status_code", "ERROR");
            tags.push(KeyValue { key: "error".to_owned(), kind: "bool", value: true.into() });
        }
    }
    tags.sort_by(|a, b| a.key.cmp(&b.key));
    tags
}

fn log(event: Event) -> Log {
    const EVENT: &str = "event";
    let mut fields = tags(event.attributes);
    if !event.name.is_empty() && fields.iter().all(|field| field.key != EVENT) {
        fields.push(KeyValue { key: EVENT.to_owned(), kind: "string", value: event.name.into() });
    }
    fields.sort_by(|a, b| (a.key != EVENT, &a.key).cmp(&(b.key != EVENT, &b.key)));
    Log { timestamp: event.time_unix_nano / 1_000, fields }
}

fn tags(attributes: Vec<Attribute>) -> Vec<KeyValue> {
    let tag = |attribute: Attribute| {
        let (kind, value) = attribute.value.map_or(("string", "".into()), typed);
        KeyValue { key: attribute.key, kind, value }
    };
    attributes.into_iter().map(tag).collect()
}

fn typed(value: AnyValue) -> (&'static str, serde_json::Value) {
    match value.value {
        Some(Value::StringValue(text)) => ("string", text.into()),
        Some(Value::BoolValue(value)) => ("bool", value.into()),
        Some(Value::IntValue(value)) if value.unsigned_abs() > MAX_SAFE_INTEGER => ("int64", value.to_string().into()),
        Some(Value::IntValue(value)) => ("int64", value.into()),
        Some(Value::DoubleValue(value)) => ("float64", value.into()),
        Some(Value::BytesValue(value)) => ("binary", BASE64.encode(value).into()),
        value => ("string", text(&AnyValue { value }).into()),
    }
}
