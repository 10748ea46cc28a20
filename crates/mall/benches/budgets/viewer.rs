//! The viewer's store alone: the benchmark of the crate viewer.

use anyhow::Context as _;

use crate::other::{self, number_after};
use crate::report::{Goal, Row};

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let output = other::output("store")?;
    let first = |label: &str| other::figure("store", &output, label);
    let slowest = output.lines().filter_map(|line| Some((number_after(line, "viewer search")?, line)));
    let (search, line) =
        slowest.max_by(|a, b| a.0.total_cmp(&b.0)).context("the benchmark `store` tells of no search")?;
    let which = line.split_once(" for ").map_or("", |(_, what)| what.split(" of ").next().unwrap_or(what));
    Ok(vec![
        Row::new("viewer, of one core, spans into the store", Goal::AtLeast(50_000.0), first("viewer ingest")?, "/s"),
        Row::new("viewer, the slowest search over 20,000 traces", Goal::AtMost(50.0), search, "ms").note(which),
        Row::new(
            "viewer, memory of its limit after 1,000,000 spans",
            Goal::AtMost(120.0),
            first("viewer memory")?,
            "%",
        ),
    ])
}
