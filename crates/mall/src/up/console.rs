//! Everybody's log lines on one standard error, each behind the coloured name of its service.

use std::io::Write as _;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

const COLOURS: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Magenta, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Blue, AnsiColor::BrightCyan];

/// Where lines go; colours are left out when that is no terminal.
#[derive(Clone, Debug)]
pub(super) struct Console {
    names: Arc<[&'static str]>,
    width: usize,
}

impl Console {
    pub(super) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        let names: Arc<[_]> = names.collect();
        Self { width: names.iter().map(|name| name.len()).max().unwrap_or_default(), names }
    }

    /// A line of the supervisor's own.
    pub(super) fn say(&self, text: &str) {
        self.line("mall", Style::new().bold(), text.as_bytes());
    }

    /// Passes on what a service writes, until it closes the stream.
    pub(super) async fn follow(self, name: &'static str, stream: impl AsyncRead + Unpin) {
        let index = self.names.iter().position(|other| *other == name).unwrap_or_default();
        let style = COLOURS[index % COLOURS.len()].on_default();
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            self.line(name, style, line.trim_ascii_end());
            line.clear();
        }
    }

    fn line(&self, name: &str, style: Style, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let width = self.width;
        // A terminal that is gone must not end the services.
        let _ = writeln!(anstream::stderr().lock(), "{style}{name:width$} |{style:#} {text}");
    }
}
