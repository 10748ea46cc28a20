//! What the schema of a message says beyond its fields, by proto3's rules for JSON: more is read than is written.

use std::collections::HashSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

/// A whole number as text.
const WHOLE: &str = "^-?[0-9]+$";

/// The full names of `messages` and of all that is inside of them.
pub(super) fn reachable(messages: impl Iterator<Item = MessageDescriptor>) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut waiting: Vec<_> = messages.collect();
    while let Some(message) = waiting.pop() {
        if names.insert(message.full_name().to_owned()) {
            waiting.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
        }
    }
    names
}

/// A message that is read: nothing but its fields, numbers as text too, and null for a field that may be absent.
pub(super) fn read(schema: &mut Value, message: &MessageDescriptor) {
    schema["additionalProperties"] = false.into();
    for field in message.fields() {
        let property = &mut schema["properties"][field.json_name()];
        whole_number(if field.is_list() { &mut property["items"] } else { property }, &field);
        if field.supports_presence() {
            also(property, "null");
        }
    }
}

/// A message that is written: all its fields are there, except those that may be absent.
pub(super) fn written(schema: &mut Value, message: &MessageDescriptor) {
    let always = message.fields().filter(|field| !field.supports_presence());
    schema["required"] = always.map(|field| field.json_name().to_owned()).collect();
}

/// A field in a path or a query, which is text: only that may be said of it.
pub(super) fn parameter(schema: &mut Value, field: &FieldDescriptor) {
    if is_whole(field) && schema["type"] == "string" {
        schema["pattern"] = WHOLE.into();
    }
}

fn whole_number(schema: &mut Value, field: &FieldDescriptor) {
    if is_whole(field) {
        schema["pattern"] = WHOLE.into();
        also(schema, if schema["type"] == "string" { "integer" } else { "string" });
    }
}

fn is_whole(field: &FieldDescriptor) -> bool {
    matches!(
        field.kind(),
        Kind::Int32
            | Kind::Sint32
            | Kind::Sfixed32
            | Kind::Uint32
            | Kind::Fixed32
            | Kind::Int64
            | Kind::Sint64
            | Kind::Sfixed64
            | Kind::Uint64
            | Kind::Fixed64
    )
}

/// Adds a type to those that a schema has.
fn also(schema: &mut Value, kind: &str) {
    match &mut schema["type"] {
        Value::Array(kinds) => kinds.push(kind.into()),
        Value::String(first) => schema["type"] = json!([first, kind]),
        // A reference has no type of its own.
        _ => *schema = json!({ "anyOf": [schema.take(), { "type": kind }] }),
    }
}
