//! Lines for people: `TIME LEVEL service target: message key=value trace_id=.. span_id=..`.

use std::fmt::{self, Write as _};

use tracing::Level;
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::format::Writer;

use super::{Line, causes, is_harmful, now};

pub(super) fn write(line: &Line<'_>, writer: &mut Writer<'_>) -> fmt::Result {
    let metadata = line.event.metadata();
    let (faint, plain) = if writer.has_ansi_escapes() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    let colour = match *metadata.level() {
        _ if plain.is_empty() => "",
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    };
    let (time, level, service, target) = (now(), metadata.level(), line.service, metadata.target());
    write!(writer, "{faint}{time}{plain} {colour}{level:>5}{plain} {service} {faint}{target}:{plain}")?;
    let mut fields = Fields { message: String::new(), rest: String::new() };
    line.event.record(&mut fields);
    write!(writer, "{}{}", fields.message, fields.rest)?;
    if let Some(span) = line.span {
        write!(writer, " {faint}trace_id={} span_id={}{plain}", span.trace_id(), span.span_id())?;
    }
    Ok(())
}

/// The event's fields, each after a space.
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(Escaped(&mut self.message), " {value}")
        } else {
            write!(Escaped(&mut self.rest), " {}={value}", field.name())
        };
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, format_args!("{:?}", causes(value)));
    }
}

/// Writes harmful characters as escapes: what a caller sent can neither end a line nor steer a terminal.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if is_harmful(character) { self.0.extend(character.escape_default()) } else { self.0.push(character) }
        }
        Ok(())
    }
}
