//! How often the hot path asks for memory: the benchmark of the crate user.

use crate::other;
use crate::report::{Goal, Row};

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let output = other::output("allocations")?;
    let row = |(label, most)| {
        let figure = other::figure("allocations", &output, label)?;
        Ok(Row::new(format!("{label}, allocations, its client's too"), Goal::AtMost(most), figure, ""))
    };
    [("a call to user.rpc", 135.0), ("a request to user.api", 180.0)].map(row).into_iter().collect()
}
