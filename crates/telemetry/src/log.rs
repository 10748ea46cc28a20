//! Logs: one line an event on the standard error, with the service's name and the current trace and span.

use std::fmt;
use std::io::IsTerminal as _;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;
use crate::{Config, Error};

mod json;
mod text;

/// The target of OpenTelemetry's own logs: it complains of every batch, we do once a minute.
const OPENTELEMETRY: &str = "opentelemetry";

/// Makes the process log as configured.
pub(crate) fn init(config: &Config) -> Result<(), Error> {
    let rust_log = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty());
    let filter = filter(rust_log.as_deref().unwrap_or(&config.log.level))?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let format = Format { service: config.name.clone(), format: config.log.format };
    let layer = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(std::io::stderr).event_format(format);
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(|_| Error::Twice)
}

fn filter(level: &str) -> Result<Targets, Error> {
    let filter: Targets = level.parse().map_err(|source| Error::Level { level: level.to_owned(), source })?;
    // Unless somebody asks for them by name.
    let asked = filter.iter().any(|(target, _)| target.starts_with(OPENTELEMETRY));
    Ok(if asked { filter } else { filter.with_target(OPENTELEMETRY, LevelFilter::OFF) })
}

struct Format {
    service: String,
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let span = Context::map_current(|context| context.span().span_context().clone());
        let line = Line { service: &self.service, event, span: span.is_valid().then_some(&span) };
        match self.format {
            LogFormat::Text => text::write(&line, &mut writer)?,
            LogFormat::Json => json::write(&line, &mut writer)?,
        }
        writeln!(writer)
    }
}

/// What a log line tells, in either form.
struct Line<'a> {
    service: &'a str,
    event: &'a Event<'a>,
    span: Option<&'a SpanContext>,
}

/// The time in UTC, to the microsecond.
fn now() -> String {
    let mut time = String::with_capacity(27);
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

/// An error and its causes, each after a colon.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
