//! What a verified token costs when it is seen again: the benchmark of the crate auth.

use anyhow::Context as _;

use crate::report::{Goal, Row};
use crate::{median, other};

const ROUNDS: usize = 5;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let outputs = (0..ROUNDS).map(|_| other::output("token")).collect::<Result<Vec<_>, _>>()?;
    ["user", "service"]
        .map(|whose| {
            let label = format!("a {whose}'s token seen again");
            let figure = |output: &String| output.lines().find_map(|line| other::number_after(line, &label));
            let figures = outputs.iter().map(figure).collect::<Option<Vec<_>>>();
            let figures = figures.with_context(|| format!("the benchmark `token` does not tell of {label}"))?;
            Ok(Row::new(label, Goal::AtMost(2.0), median(figures) / 1e3, "us"))
        })
        .into_iter()
        .collect()
}
