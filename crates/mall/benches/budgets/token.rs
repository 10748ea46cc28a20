//! What a verified token costs when it is seen again: the benchmark of the crate auth.

use crate::report::{Goal, Row};
use crate::{median, other};

const ROUNDS: usize = 5;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let outputs = (0..ROUNDS).map(|_| other::output("token")).collect::<Result<Vec<_>, _>>()?;
    ["user", "service"]
        .map(|whose| {
            let label = format!("a {whose}'s token seen again");
            let figures = outputs.iter().map(|output| other::figure("token", output, &label));
            let nanos = median(figures.collect::<Result<Vec<_>, _>>()?);
            Ok(Row::new(label, Goal::AtMost(2.0), nanos / 1e3, "us"))
        })
        .into_iter()
        .collect()
}
