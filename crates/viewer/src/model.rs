//! What is stored and found: traces of spans, each with the resource and scope that it comes from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{self as common, AnyValue};
use opentelemetry_proto::tonic::resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// The id of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for TraceId {
    type Err = String;

    /// Takes hexadecimal of either case; zeros in front may be missing.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        let id = id.ok_or_else(|| format!("`{text}` is no trace id: it has 1 to 32 hexadecimal digits"))?;
        Ok(Self(id.to_be_bytes()))
    }
}

/// What sent spans: one process of a service.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    /// Its `service.name`.
    pub(crate) service: String,
    pub(crate) schema_url: String,
    /// As an OTLP `Resource`.
    pub(crate) encoded: Vec<u8>,
}

impl Resource {
    pub(crate) fn decode(&self) -> resource::v1::Resource {
        // It was decoded and encoded when it came in.
        resource::v1::Resource::decode(self.encoded.as_slice()).unwrap_or_default()
    }
}

/// What made spans within a process: a library.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// The index of its resource, in the batch or segment that holds it.
    pub(crate) resource: u32,
    pub(crate) schema_url: String,
    /// As an OTLP `InstrumentationScope`.
    pub(crate) encoded: Vec<u8>,
}

impl Scope {
    pub(crate) fn decode(&self) -> common::InstrumentationScope {
        common::InstrumentationScope::decode(self.encoded.as_slice()).unwrap_or_default()
    }
}

/// A trace that was found.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// In the order of their arrival, without repeats.
    pub(crate) spans: Vec<Stored>,
    /// How many more spans it would have, had it not been too large.
    pub(crate) cut: u32,
}

/// A span that was found.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) resource: Arc<Resource>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) body: Vec<u8>,
}

impl Stored {
    /// The span as it came in.
    pub(crate) fn decode(&self, trace: TraceId) -> Span {
        let id = |id: u64| if id == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
        Span {
            trace_id: trace.0.to_vec(),
            span_id: id(self.id),
            parent_span_id: id(self.parent),
            name: self.name.clone(),
            kind: self.kind,
            start_time_unix_nano: self.start,
            end_time_unix_nano: self.end,
            ..Span::decode(self.body.as_slice()).unwrap_or_default()
        }
    }
}

/// The name of a span's kind in Jaeger; empty if it has none.
pub(crate) fn kind_name(kind: i32) -> &'static str {
    match kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "",
    }
}

/// A value as plain JSON.
pub(crate) fn plain(value: &AnyValue) -> serde_json::Value {
    match &value.value {
        None => serde_json::Value::Null,
        Some(Value::StringValue(text)) => text.as_str().into(),
        Some(Value::BoolValue(value)) => (*value).into(),
        Some(Value::IntValue(value)) => (*value).into(),
        Some(Value::DoubleValue(value)) => (*value).into(),
        Some(Value::BytesValue(bytes)) => BASE64.encode(bytes).into(),
        Some(Value::ArrayValue(array)) => array.values.iter().map(plain).collect(),
        Some(Value::KvlistValue(list)) => list
            .values
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.as_ref().map_or(serde_json::Value::Null, plain)))
            .collect(),
        // Only profiles refer to strings by number.
        Some(Value::StringValueStrindex(_)) => serde_json::Value::Null,
    }
}

/// A value as text, the way it is searched for.
pub(crate) fn text(value: &AnyValue) -> String {
    match &value.value {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        _ => match plain(value) {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        },
    }
}
