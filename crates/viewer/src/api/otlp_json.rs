//! Traces as OTLP/JSON, written as Jaeger writes it: what has its default value is left out.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

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
        spans.push(raw(&span(trace.id, stored))?);
    }
    groups
        .into_iter()
        .map(|(resource, scopes)| {
            let scopes = scopes.into_values().map(scope_spans).collect::<Result<_, _>>()?;
            group(&resource.decode(), ("resource", "scopeSpans"), scopes, &resource.schema_url)
        })
        .collect()
}

fn scope_spans((scope, spans): (&Scope, Vec<Box<RawValue>>)) -> Result<Box<RawValue>, serde_json::Error> {
    group(&scope.decode(), ("scope", "spans"), spans, &scope.schema_url)
}

/// What comes from one place: the place, the elements, the schema.
fn group(
    place: &impl Serialize,
    (place_key, elements_key): (&str, &str),
    elements: Vec<Box<RawValue>>,
    schema_url: &str,
) -> Result<Box<RawValue>, serde_json::Error> {
    let mut group: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    group.insert(place_key, raw(place)?);
    group.insert(elements_key, to_raw_value(&elements)?);
    if !schema_url.is_empty() {
        group.insert("schemaUrl", to_raw_value(schema_url)?);
    }
    to_raw_value(&group)
}

fn span(trace: TraceId, stored: &Stored) -> Span {
    let span = stored.decode(trace);
    Span { status: Some(span.status.unwrap_or_default()), ..span }
}

fn raw(message: &impl Serialize) -> Result<Box<RawValue>, serde_json::Error> {
    let mut value = serde_json::to_value(message)?;
    prune(&mut value);
    to_raw_value(&value)
}

/// Leaves out the fields that have their default value, but not which of its values an attribute has.
fn prune(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(prune),
        Value::Object(fields) => fields.retain(|key, value| {
            prune(value);
            match value {
                // JSON has no number for what is not finite.
                Value::Null if key == "doubleValue" => *value = "NaN".into(),
                _ if key.ends_with("Value") => {}
                Value::Null => return false,
                Value::Number(number) => return number.as_u64() != Some(0),
                Value::String(text) => return !(text.is_empty() || text == "0" && key.ends_with("UnixNano")),
                Value::Array(values) => return !values.is_empty(),
                _ => {}
            }
            true
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_left_out_but_not_those_of_attributes() {
        let attribute = |value| KeyValue { value: Some(AnyValue { value }), ..Default::default() };
        let values =
            [Any::StringValue(String::new()), Any::BoolValue(false), Any::IntValue(0), Any::DoubleValue(f64::NAN)];
        let attributes = values.map(Some).into_iter().chain([None]).map(attribute).collect();
        let span = Span { name: "0".to_owned(), attributes, status: Some(Default::default()), ..Default::default() };
        let written: Value = serde_json::from_str(raw(&span).unwrap().get()).unwrap();
        let values = json!([
            { "value": { "stringValue": "" } },
            { "value": { "boolValue": false } },
            { "value": { "intValue": "0" } },
            { "value": { "doubleValue": "NaN" } },
            { "value": {} },
        ]);
        assert_eq!(written, json!({ "name": "0", "attributes": values, "status": {} }));
    }
}
