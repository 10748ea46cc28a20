//! What a span costs through each layer: the benchmark of the crate telemetry.

use anyhow::ensure;

use crate::other;
use crate::report::{Goal, Row, number};

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let output = other::output("span")?;
    // After the name of the layer: nanoseconds that a call waits, and of CPU for all that follows from it.
    let figures = output.lines().filter_map(|line| {
        let rest = line.strip_prefix("sampler 1 ")?.trim();
        let numbers: Vec<f64> = rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let layer = rest.trim_end_matches(|end: char| end.is_ascii_digit() || end == ' ');
        let &[call, process] = numbers.as_slice() else { return None };
        let note = format!("{} us of CPU with encoding and sending", number(process / 1e3));
        Some(Row::new(format!("a span, {}", layer.trim()), Goal::AtMost(3.0), call / 1e3, "us").note(note))
    });
    let rows: Vec<_> = figures.collect();
    ensure!(!rows.is_empty(), "the benchmark `span` tells of no layer");
    Ok(rows)
}
