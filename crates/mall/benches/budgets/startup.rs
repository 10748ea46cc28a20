//! How long `mall up` takes from its start to the line that says it is ready.

use std::path::Path;
use std::time::Instant;

use testkit::process::Mall;

use crate::report::{Goal, Row, number};
use crate::{MALL, median, on_one_thread};

const ROUNDS: usize = 9;
const GOAL: Goal = Goal::AtMost(800.0);

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let used = tempfile::tempdir()?;
        // Makes the data, and has the disk warm.
        start(used.path()).await;
        let (mut with_nothing, mut with_data) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let empty = tempfile::tempdir()?;
            with_nothing.push(start(&empty.path().join("data")).await);
            with_data.push(start(used.path()).await);
        }
        Ok(vec![row("up ready, the first time", with_nothing), row("up ready, with data", with_data)])
    })
}

/// Milliseconds.
async fn start(data: &Path) -> f64 {
    let start = Instant::now();
    let _mall = Mall::of(MALL).data(data).start().await;
    start.elapsed().as_secs_f64() * 1e3
}

fn row(budget: &str, times: Vec<f64>) -> Row {
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let note = format!("of {ROUNDS}; the slowest took {} ms", number(slowest));
    Row::new(budget, GOAL, median(times), "ms").note(note)
}
