//! Lines as log records of OpenTelemetry, which a queue takes to the collector.
//!
//! opentelemetry-appender-tracing does this as well, but tells of an error without its causes.

use std::time::SystemTime;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use serde_json::Value;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fields::Fields;
use crate::span::cut;

/// What sends lines: its own lines would make more of them without end.
const SENDERS: [&str; 6] = ["h2", "hyper", "hyper_util", "tonic", "tower", "opentelemetry"];

/// Makes a record of every line; the logger adds the current trace and span.
pub(super) struct Records {
    logger: SdkLogger,
}

impl Records {
    pub(super) fn new(provider: &SdkLoggerProvider) -> Self {
        Self { logger: provider.logger("mall") }
    }
}

impl<S: Subscriber> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if is_of_sender(metadata) {
            return;
        }
        let fields = Fields::of(event);
        let mut record = self.logger.create_log_record();
        record.set_timestamp(SystemTime::now());
        record.set_target(metadata.target());
        record.set_severity_text(metadata.level().as_str());
        record.set_severity_number(severity(metadata.level()));
        record.set_body(cut(&fields.message).to_owned().into());
        record.add_attributes(fields.rest.into_iter().map(|(key, value)| (key, any(value))));
        // The logger keeps nothing where spans are suppressed, which lines are not.
        let suppressed = opentelemetry::Context::is_current_telemetry_suppressed();
        let _plain = suppressed.then(|| opentelemetry::Context::new().attach());
        self.logger.emit(record);
    }
}

fn is_of_sender(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    SENDERS.contains(&root) || root.starts_with("opentelemetry")
}

fn severity(level: &Level) -> Severity {
    match *level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        Level::TRACE => Severity::Trace,
    }
}

fn any(value: Value) -> AnyValue {
    match value {
        Value::Bool(value) => value.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => value.into(),
            (None, Some(value)) => value.into(),
            (None, None) => number.to_string().into(),
        },
        Value::String(text) => cut(&text).to_owned().into(),
        other => other.to_string().into(),
    }
}
