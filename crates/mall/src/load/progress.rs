//! How a load shows that it goes on: a bar on a terminal, and elsewhere a line now and then, both on standard error.

use std::io::Write as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::schedule::ENDLESS;
use super::tally::Tally;

/// How often there is a line.
const EVERY: Duration = Duration::from_secs(10);

pub(super) struct Progress {
    bar: ProgressBar,
    lines: Interval,
    start: Instant,
    /// How many operations the last line knew of.
    told: u64,
}

impl Progress {
    pub(super) fn new(count: u64, what: &str) -> anyhow::Result<Self> {
        let (bar, template) = match count {
            ENDLESS => (ProgressBar::no_length(), "{pos} {prefix}, {elapsed} {msg}"),
            count => (ProgressBar::new(count), "{bar:40} {pos} of {len} {prefix}, {elapsed} {msg}"),
        };
        let bar = bar.with_style(ProgressStyle::with_template(template)?).with_prefix(what.to_owned());
        let mut lines = interval_at(tokio::time::Instant::now() + EVERY, EVERY);
        lines.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self { bar, lines, start: Instant::now(), told: 0 })
    }

    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }

    pub(super) fn say(&self, text: &'static str) {
        self.bar.set_message(text);
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Waits until a line is due, which none is on a terminal.
    pub(super) async fn due(&mut self) {
        if !self.bar.is_hidden() {
            return std::future::pending().await;
        }
        self.lines.tick().await;
    }

    /// Writes the line.
    pub(super) fn tell(&mut self, tally: &Tally) {
        let line = line(tally, self.start.elapsed(), self.told);
        self.told = tally.operations();
        // Nobody may be there to read it.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

fn line(tally: &Tally, elapsed: Duration, told: u64) -> String {
    let operations = tally.operations();
    let rate = (operations - told) as f64 / EVERY.as_secs_f64();
    let elapsed = humantime::format_duration(Duration::from_secs(elapsed.as_secs()));
    let failed = match tally.errors() {
        0 => "0 failed".to_owned(),
        errors => format!("{errors} failed ({})", tally.codes()),
    };
    format!("{elapsed}: {operations} operations, {failed}, {rate:.1}/s")
}

#[cfg(test)]
mod tests {
    use super::super::tally::{Row, Sample};
    use super::*;

    #[test]
    fn a_line_says_how_many_failed_and_why() {
        let mut tally = Tally::new().unwrap();
        assert_eq!(line(&tally, Duration::from_millis(10_400), 0), "10s: 0 operations, 0 failed, 0.0/s");
        for (row, failure) in [(Row::Browse, None), (Row::Order, Some("connect")), (Row::Pay, Some("connect"))] {
            let failure = failure.map(ToOwned::to_owned);
            tally.add(Duration::ZERO, vec![Sample { row, took: Duration::ZERO, failure, trace: None }]);
        }
        let expected = "1m 10s: 3 operations, 2 failed (2 x connect), 0.2/s";
        assert_eq!(line(&tally, Duration::from_secs(70), 1), expected);
    }
}
