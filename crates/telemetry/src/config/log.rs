//! How logs look.

use serde::{Deserialize, Serialize};

/// How logs look; they are written to the standard error.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` for people, `json` for machines (text).
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or for each target: `info,user=debug` (info); RUST_LOG overrides it. The
    /// process reads it again at SIGHUP.
    pub level: String,
    /// Lines that one place in the code may write in a second (100); more are counted, and told of in one line. 0: any number.
    pub burst: u32,
    /// Whether lines are sent to the collector of the spans too (false).
    pub otlp: bool,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned(), burst: 100, otlp: false }
    }
}
