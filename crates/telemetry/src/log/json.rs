//! Lines for machines: one JSON object, the event's own fields apart in `fields`.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing_subscriber::fmt::format::Writer;

use super::fields::Fields;
use super::{Line, is_harmful, now};

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
    let fields = Fields::of(line.event);
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
