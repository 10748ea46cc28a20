//! Lines for machines: one JSON object, the event's own fields apart in `fields`.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::format::Writer;

use super::{Line, causes, is_harmful, now};

#[derive(Serialize)]
struct Object<'a> {
    timestamp: String,
    level: &'static str,
    service: &'a str,
    target: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
}

pub(super) fn write(line: &Line<'_>, writer: &mut Writer<'_>) -> fmt::Result {
    let metadata = line.event.metadata();
    let mut fields = Fields::default();
    line.event.record(&mut fields);
    let object = Object {
        timestamp: now(),
        level: metadata.level().as_str(),
        service: line.service,
        target: metadata.target(),
        message: fields.message,
        fields: fields.rest,
        trace_id: line.span.map(|span| span.trace_id().to_string()),
        span_id: line.span.map(|span| span.span_id().to_string()),
    };
    for character in serde_json::to_string(&object).map_err(|_| fmt::Error)?.chars() {
        // JSON wants only some of them escaped. They can only stand in strings.
        if is_harmful(character) {
            write!(writer, "\\u{:04x}", u32::from(character))?
        } else {
            writer.write_char(character)?
        }
    }
    Ok(())
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.rest.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.add(field, text) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.message = value.to_owned() } else { self.add(field, value) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, causes(value));
    }
}
