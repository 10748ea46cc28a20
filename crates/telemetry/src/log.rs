//! Logs: one line an event on the standard error, with the service's name and the current trace and span; the same by OTLP
//! where that is asked for.

use std::fmt;
use std::io::IsTerminal as _;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::filter::{Bursts, Levels};
use self::otlp::Records;
use crate::config::LogFormat;
use crate::{Config, Error};

mod fields;
mod filter;
mod json;
mod otlp;
mod text;

/// The log at work.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Changes the levels while the process runs.
    pub(crate) levels: reload::Handle<Levels, Registry>,
    /// Tells of what it suppressed.
    pub(crate) bursts: Bursts,
}

/// Makes the process log as configured, and by OTLP as well if there is a provider.
pub(crate) fn init(config: &Config, provider: Option<&SdkLoggerProvider>) -> Result<Handle, Error> {
    let levels = levels(config)?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let bursts = Bursts::new(config.log.burst);
    let (subscriber, levels) = subscriber(config, levels, bursts.clone(), provider, ansi, std::io::stderr);
    subscriber.try_init().map_err(|_| Error::Twice)?;
    bursts.report();
    // Not the message: it may hold what somebody sent.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(location = panic.location().map(tracing::field::display), "panicked");
    }));
    Ok(Handle { levels, bursts })
}

/// The configured levels, or those of RUST_LOG; both are checked.
pub(crate) fn levels(config: &Config) -> Result<Levels, Error> {
    let level = &config.log.level;
    let configured = Levels::parse_strictly(level).ok_or_else(|| Error::Level(level.clone()))?;
    match std::env::var("RUST_LOG") {
        Ok(level) if !level.is_empty() => Levels::parse(&level).ok_or(Error::Level(level)),
        _ => Ok(configured),
    }
}

fn subscriber<W>(
    config: &Config,
    levels: Levels,
    bursts: Bursts,
    provider: Option<&SdkLoggerProvider>,
    ansi: bool,
    writer: W,
) -> (impl Subscriber + Send + Sync, reload::Handle<Levels, Registry>)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let format = Format { service: config.name.clone(), format: config.log.format };
    let lines = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(writer).event_format(format);
    let (levels, handle) = reload::Layer::new(levels);
    let subscriber = tracing_subscriber::registry().with(levels).with(bursts).with(provider.map(Records::new));
    (subscriber.with(lines), handle)
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

/// What ends a line for some reader, steers a terminal, or turns the direction of text around.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;
    use crate::LogConfig;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Buffer {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What is written while `events` runs, in the span ab../cd.. .
    fn lines(format: LogFormat, ansi: bool, events: impl Fn()) -> Vec<String> {
        let config = Config {
            name: "user.rpc".to_owned(),
            log: LogConfig { format, ..LogConfig::default() },
            ..Config::default()
        };
        let buffer = Buffer::default();
        let levels = Levels::parse("info").unwrap();
        let (subscriber, _) = subscriber(&config, levels, Bursts::new(config.log.burst), None, ansi, buffer.clone());
        let span =
            SpanContext::new(TraceId::from(0xab), SpanId::from(0xcd), TraceFlags::SAMPLED, true, TraceState::default());
        let _current = Context::new().with_remote_span_context(span).attach();
        tracing::subscriber::with_default(subscriber, events);
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        text.split_terminator('\n').map(str::to_owned).collect()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    const HOSTILE: &str = "a\nERROR forged\r\u{1b}[2J\u{2028}\u{202e}\u{9b}b";

    #[test]
    fn a_text_line_names_service_trace_and_span() {
        let lines = lines(LogFormat::Text, false, || {
            tracing::info!(target: "users", id = 7, name = "a b", "registered");
            tracing::debug!("not at this level");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
        let ids = "trace_id=000000000000000000000000000000ab span_id=00000000000000cd";
        assert_eq!(rest, format!(r#" INFO user.rpc users: registered id=7 name="a b" {ids}"#));
    }

    #[test]
    fn a_json_line_names_service_trace_and_span() {
        let error = Outer(std::io::Error::other("inner"));
        let lines = lines(LogFormat::Json, false, || {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(target: "users", error, id = 7_u64, share = 0.5, ok = true, trace_id = "forged", "registered");
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((lines.len(), &line["level"], &line["service"]), (1, &"WARN".into(), &"user.rpc".into()));
        assert_eq!((&line["target"], &line["message"]), (&"users".into(), &"registered".into()));
        assert_eq!(line["trace_id"], "000000000000000000000000000000ab");
        assert_eq!(line["span_id"], "00000000000000cd");
        assert_eq!(
            line["fields"],
            serde_json::json!({"error": "outer: inner", "id": 7, "share": 0.5, "ok": true, "trace_id": "forged"})
        );
    }

    #[test]
    fn hostile_input_stays_on_its_line() {
        for (format, ansi) in [(LogFormat::Text, false), (LogFormat::Text, true), (LogFormat::Json, false)] {
            let lines = lines(format, ansi, || {
                let error = std::io::Error::other(HOSTILE);
                let error = &error as &dyn std::error::Error;
                tracing::info!(display = %HOSTILE, debug = ?HOSTILE, text = HOSTILE, error, "{HOSTILE}");
            });
            let [line] = lines.as_slice() else { panic!("{lines:?}") };
            assert!(!line.contains(['\r', '\u{9b}', '\u{2028}', '\u{202e}']), "{line:?}");
            assert!(!line.contains("\u{1b}[2J"), "{line:?}");
            if format == LogFormat::Json {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!((&line["message"], &line["fields"]["text"]), (&HOSTILE.into(), &HOSTILE.into()));
            }
        }
    }

    #[test]
    fn of_the_exporters_warnings_only_rejections_are_told() {
        let lines = lines(LogFormat::Text, false, || {
            tracing::warn!(name: "Export.RetryExhausted", target: "opentelemetry-otlp", "exhausted");
            tracing::warn!(name: "TonicLogsClient.PartialSuccess", target: "opentelemetry-otlp", "rejected");
        });
        assert!(lines.len() == 1 && lines[0].contains("rejected"), "{lines:?}");
    }

    #[test]
    fn a_burst_is_counted() {
        let config = Config { name: "user.rpc".to_owned(), ..Config::default() };
        let (buffer, bursts) = (Buffer::default(), Bursts::new(3));
        let (subscriber, _) =
            subscriber(&config, Levels::parse("info").unwrap(), bursts.clone(), None, false, buffer.clone());
        tracing::subscriber::with_default(subscriber, || {
            // All within one second, but for a machine that stops for so long: then there are three more.
            for number in 0..100 {
                tracing::info!(target: "users", number, "the same");
            }
            tracing::info!(target: "users", "another");
            bursts.tell();
            bursts.tell();
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let written = text.matches("the same number=").count();
        assert!((3..=6).contains(&written) && text.contains("another"), "{text}");
        let told =
            format!(r#"more lines of the same kind lines={} of="users" level=INFO line="the same""#, 100 - written);
        assert!(text.contains(&told) && text.matches("more lines").count() == 1, "{text}");
    }

    #[test]
    fn the_levels_change_while_it_runs() {
        let (config, buffer) = (Config::default(), Buffer::default());
        let (subscriber, handle) =
            subscriber(&config, Levels::parse("warn").unwrap(), Bursts::new(0), None, false, buffer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let line = |text| tracing::debug!(target: "changing", "{text}");
            line("before");
            handle.reload(Levels::parse("changing=debug").unwrap()).unwrap();
            line("between");
            handle.reload(Levels::parse("warn").unwrap()).unwrap();
            line("after");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("between") && text.lines().count() == 1, "{text}");
    }
}
