//! Traces as OTLP/JSON, written as Jaeger writes it: what has its default value is left out.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use indexmap::IndexMap;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::model::{Resource, Scope, Stored, Trace, TraceId};

/// Spans that are written already, by resource and scope.
type Groups<'a> = IndexMap<&'a Resource, IndexMap<(&'a str, &'a [u8]), (&'a Scope, Vec<Box<RawValue>>)>>;

/// The trace as a list of `ResourceSpans`.
pub(super) fn resource_spans(trace: &Trace) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
    let mut groups = Groups::new();
    for stored in &trace.spans {
        let scopes = groups.entry(&*stored.resource).or_default();
        let scope = &*stored.scope;
        let (_, spans) = scopes.entry((&scope.schema_url, &scope.encoded)).or_insert((scope, Vec::new()));
        // One span at a time: as a tree of values it is many times larger.
        spans.push(to_raw_value(&span(trace.id, stored))?);
    }
    groups
        .into_iter()
        .map(|(resource, scopes)| {
            let scopes = scopes.into_values().map(scope_spans).collect::<Result<_, _>>()?;
            let decoded = resource.decode();
            let mut fields = Object::default();
            fields.list("attributes", decoded.attributes.iter().map(key_value));
            fields.number("droppedAttributesCount", decoded.dropped_attributes_count);
            group(fields, ("resource", "scopeSpans"), scopes, &resource.schema_url)
        })
        .collect()
}

fn scope_spans((scope, spans): (&Scope, Vec<Box<RawValue>>)) -> Result<Box<RawValue>, serde_json::Error> {
    let decoded = scope.decode();
    let mut fields = Object::default();
    fields.text("name", decoded.name);
    fields.text("version", decoded.version);
    fields.list("attributes", decoded.attributes.iter().map(key_value));
    fields.number("droppedAttributesCount", decoded.dropped_attributes_count);
    group(fields, ("scope", "spans"), spans, &scope.schema_url)
}

/// What comes from one place: the place, the elements, the schema.
fn group(
    place: Object,
    (place_key, elements_key): (&str, &str),
    elements: Vec<Box<RawValue>>,
    schema_url: &str,
) -> Result<Box<RawValue>, serde_json::Error> {
    let mut group: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    group.insert(place_key, to_raw_value(&place.0)?);
    group.insert(elements_key, to_raw_value(&elements)?);
    if !schema_url.is_empty() {
        group.insert("schemaUrl", to_raw_value(schema_url)?);
    }
    to_raw_value(&group)
}

fn span(trace: TraceId, stored: &Stored) -> Value {
    let span = stored.decode(trace);
    let mut fields = Object::default();
    fields.text("traceId", trace.to_string());
    fields.text("spanId", hex(&span.span_id));
    fields.text("traceState", span.trace_state);
    fields.text("parentSpanId", hex(&span.parent_span_id));
    fields.number("flags", span.flags);
    fields.text("name", span.name);
    fields.number("kind", span.kind);
    fields.nanos("startTimeUnixNano", span.start_time_unix_nano);
    fields.nanos("endTimeUnixNano", span.end_time_unix_nano);
    fields.list("attributes", span.attributes.iter().map(key_value));
    fields.number("droppedAttributesCount", span.dropped_attributes_count);
    fields.list("events", span.events.into_iter().map(event));
    fields.number("droppedEventsCount", span.dropped_events_count);
    fields.list("links", span.links.into_iter().map(link));
    fields.number("droppedLinksCount", span.dropped_links_count);
    let status = span.status.unwrap_or_default();
    let mut of_status = Object::default();
    of_status.text("message", status.message);
    of_status.number("code", status.code);
    fields.0.insert("status".to_owned(), of_status.0.into());
    fields.0.into()
}

fn event(event: Event) -> Value {
    let mut fields = Object::default();
    fields.nanos("timeUnixNano", event.time_unix_nano);
    fields.text("name", event.name);
    fields.list("attributes", event.attributes.iter().map(key_value));
    fields.number("droppedAttributesCount", event.dropped_attributes_count);
    fields.0.into()
}

fn link(link: Link) -> Value {
    let mut fields = Object::default();
    fields.text("traceId", hex(&link.trace_id));
    fields.text("spanId", hex(&link.span_id));
    fields.text("traceState", link.trace_state);
    fields.list("attributes", link.attributes.iter().map(key_value));
    fields.number("droppedAttributesCount", link.dropped_attributes_count);
    fields.number("flags", link.flags);
    fields.0.into()
}

fn key_value(attribute: &KeyValue) -> Value {
    json!({ "key": attribute.key, "value": attribute.value.as_ref().map_or_else(|| json!({}), any_value) })
}

fn any_value(value: &AnyValue) -> Value {
    match &value.value {
        None | Some(Any::StringValueStrindex(_)) => json!({}),
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(value)) => json!({ "boolValue": value }),
        Some(Any::IntValue(value)) => json!({ "intValue": value.to_string() }),
        Some(Any::DoubleValue(value)) if value.is_finite() => json!({ "doubleValue": value }),
        Some(Any::DoubleValue(value)) if value.is_nan() => json!({ "doubleValue": "NaN" }),
        Some(Any::DoubleValue(value)) => {
            json!({ "doubleValue": if *value > 0.0 { "Infinity" } else { "-Infinity" } })
        }
        Some(Any::BytesValue(bytes)) => json!({ "bytesValue": BASE64.encode(bytes) }),
        Some(Any::ArrayValue(array)) => {
            let mut fields = Object::default();
            fields.list("values", array.values.iter().map(any_value));
            json!({ "arrayValue": fields.0 })
        }
        Some(Any::KvlistValue(list)) => {
            let mut fields = Object::default();
            fields.list("values", list.values.iter().map(key_value));
            json!({ "kvlistValue": fields.0 })
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An object to which fields are added unless they have their default value.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn text(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.insert(key.to_owned(), value.into());
        }
    }

    fn number(&mut self, key: &str, value: impl Into<i64>) {
        let value = value.into();
        if value != 0 {
            self.0.insert(key.to_owned(), value.into());
        }
    }

    /// 64-bit numbers are written as text.
    fn nanos(&mut self, key: &str, value: u64) {
        if value != 0 {
            self.0.insert(key.to_owned(), value.to_string().into());
        }
    }

    fn list(&mut self, key: &str, values: impl Iterator<Item = Value>) {
        let values: Vec<Value> = values.collect();
        if !values.is_empty() {
            self.0.insert(key.to_owned(), values.into());
        }
    }
}
