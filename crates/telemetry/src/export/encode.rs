//! Spans as an `ExportTraceServiceRequest`, written straight into bytes of Protobuf.
//!
//! opentelemetry-otlp makes messages of a copy of each span first, in which every key and every value is an allocation:
//! that was two thirds of what a span cost a service. What is written here is compared with what it would write.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry::trace::{Link, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;

/// Writes batches of one resource.
#[derive(Debug)]
pub(super) struct Encoder {
    /// The fields `resource` and `schema_url` of every `ResourceSpans`.
    resource: Vec<u8>,
    schema_url: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(resource: &Resource) -> Self {
        let mut encoder = Self { resource: Vec::new(), schema_url: Vec::new() };
        message(&mut encoder.resource, 1, |out| {
            for (key, value) in resource {
                key_value(out, 1, key.as_str(), value);
            }
        });
        string(&mut encoder.schema_url, 3, resource.schema_url().unwrap_or_default());
        encoder
    }

    /// One request for the whole batch.
    pub(super) fn encode(&self, batch: &[SpanData]) -> Bytes {
        // What a span takes, roughly: more is asked for where that is not enough.
        let mut out = Vec::with_capacity(1024 + 512 * batch.len());
        message(&mut out, 1, |out| {
            out.extend_from_slice(&self.resource);
            for spans in batch.chunk_by(|one, other| one.instrumentation_scope == other.instrumentation_scope) {
                message(out, 2, |out| {
                    let Some(SpanData { instrumentation_scope: of, .. }) = spans.first() else { return };
                    message(out, 1, |out| scope(out, of));
                    for one in spans {
                        message(out, 2, |out| span(out, one));
                    }
                    string(out, 3, of.schema_url().unwrap_or_default());
                });
            }
            out.extend_from_slice(&self.schema_url);
        });
        out.into()
    }
}

fn scope(out: &mut Vec<u8>, scope: &InstrumentationScope) {
    string(out, 1, scope.name());
    string(out, 2, scope.version().unwrap_or_default());
    attributes(out, 3, scope.attributes());
}

fn span(out: &mut Vec<u8>, span: &SpanData) {
    bytes(out, 1, &span.span_context.trace_id().to_bytes());
    bytes(out, 2, &span.span_context.span_id().to_bytes());
    string(out, 3, &span.span_context.trace_state().header());
    if span.parent_span_id != SpanId::INVALID {
        bytes(out, 4, &span.parent_span_id.to_bytes());
    }
    string(out, 5, &span.name);
    number(out, 6, kind(&span.span_kind));
    fixed64(out, 7, nanos(span.start_time));
    fixed64(out, 8, nanos(span.end_time));
    attributes(out, 9, &span.attributes);
    number(out, 10, span.dropped_attributes_count.into());
    for event in &span.events.events {
        message(out, 11, |out| {
            fixed64(out, 1, nanos(event.timestamp));
            string(out, 2, &event.name);
            attributes(out, 3, &event.attributes);
            number(out, 4, event.dropped_attributes_count.into());
        });
    }
    number(out, 12, span.events.dropped_count.into());
    for one in &span.links.links {
        message(out, 13, |out| link(out, one));
    }
    number(out, 14, span.links.dropped_count.into());
    message(out, 15, |out| match &span.status {
        Status::Unset => {}
        Status::Ok => number(out, 3, 1),
        Status::Error { description } => {
            string(out, 2, description);
            number(out, 3, 2);
        }
    });
    fixed32(out, 16, flags(span.span_context.trace_flags().to_u8(), span.parent_span_is_remote));
}

fn link(out: &mut Vec<u8>, link: &Link) {
    bytes(out, 1, &link.span_context.trace_id().to_bytes());
    bytes(out, 2, &link.span_context.span_id().to_bytes());
    string(out, 3, &link.span_context.trace_state().header());
    attributes(out, 4, &link.attributes);
    number(out, 5, link.dropped_attributes_count.into());
    fixed32(out, 6, flags(link.span_context.trace_flags().to_u8(), link.span_context.is_remote()));
}

/// The trace's flags, and whether the span they come with is another process's: that is known, and so it is or it is not.
fn flags(trace: u8, remote: bool) -> u32 {
    u32::from(trace) | 0x100 | if remote { 0x200 } else { 0 }
}

fn kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| since.as_nanos().try_into().ok()).unwrap_or_default()
}

fn attributes<'a>(out: &mut Vec<u8>, field: u8, attributes: impl IntoIterator<Item = &'a KeyValue>) {
    for attribute in attributes {
        key_value(out, field, attribute.key.as_str(), &attribute.value);
    }
}

fn key_value(out: &mut Vec<u8>, field: u8, key: &str, value: &Value) {
    message(out, field, |out| {
        string(out, 1, key);
        message(out, 2, |out| any(out, value));
    });
}

/// An `AnyValue`, whose fields are written though they are empty: they tell of what type it is.
fn any(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => bytes(out, 1, text.as_str().as_bytes()),
        Value::Bool(value) => present(out, 2, (*value).into()),
        Value::I64(value) => present(out, 3, value.cast_unsigned()),
        Value::F64(value) => fixed64(out, 4, value.to_bits()),
        Value::Array(values) => message(out, 5, |out| array(out, values)),
        _ => {}
    }
}

fn array(out: &mut Vec<u8>, values: &Array) {
    let mut element = |value: Value| message(out, 1, |out| any(out, &value));
    match values {
        Array::Bool(values) => values.iter().for_each(|value| element((*value).into())),
        Array::I64(values) => values.iter().for_each(|value| element((*value).into())),
        Array::F64(values) => values.iter().for_each(|value| element((*value).into())),
        Array::String(values) => values.iter().for_each(|value| element(value.clone().into())),
        _ => {}
    }
}

// Protobuf's wire format: https://protobuf.dev/programming-guides/encoding

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

fn tag(out: &mut Vec<u8>, field: u8, kind: u8) {
    varint(out, u64::from(field) << 3 | u64::from(kind));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A field that is a message: what `write` writes, behind its length.
fn message(out: &mut Vec<u8>, field: u8, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, LENGTH);
    let start = out.len();
    // Room for a length of one byte, which most have; the others are moved.
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if let Ok(short) = u8::try_from(length)
        && short < 0x80
    {
        out[start] = short;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    varint(&mut prefix, length as u64);
    out.splice(start..=start, prefix);
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    tag(out, field, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A text, left out where it is empty.
fn string(out: &mut Vec<u8>, field: u8, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

/// A number, left out where it is 0.
fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        present(out, field, value);
    }
}

fn present(out: &mut Vec<u8>, field: u8, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn fixed32(out: &mut Vec<u8>, field: u8, value: u32) {
    tag(out, field, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}
