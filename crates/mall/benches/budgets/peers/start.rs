//! From the command to the first whole trace: `mall up`, one request, and its trace in the viewer.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use testkit::process::{Mall, json};

use crate::report::{Goal, Row, number};
use crate::{MALL, median, on_one_thread};

const ROUNDS: usize = 7;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let used = tempfile::tempdir()?;
        first_trace(used.path()).await?;
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let empty = tempfile::tempdir()?;
            cold.push(first_trace(&empty.path().join("data")).await?);
            warm.push(first_trace(used.path()).await?);
        }
        let row = |budget: &str, times: &[(f64, f64)]| {
            let note = format!("ready after {} ms", number(median(times.iter().map(|times| times.0))));
            Row::new(budget, Goal::AtMost(3000.0), median(times.iter().map(|times| times.1)), "ms").note(note)
        };
        Ok(vec![
            row("start, the first whole trace, with nothing", &cold),
            row("start, the first whole trace, with data", &warm),
        ])
    })
}

/// Milliseconds until it is ready, and until the trace of a first request is whole.
async fn first_trace(data: &Path) -> anyhow::Result<(f64, f64)> {
    let began = Instant::now();
    let mall = Mall::of(MALL).data(data).start().await;
    let ready = began.elapsed().as_secs_f64() * 1e3;
    let answer = mall.get(&format!("{}/api/product/1", mall.url("product.api"))).await;
    let id = answer.headers().get("x-trace-id").context("the answer names no trace")?.to_str()?.to_owned();
    let url = format!("{}/api/traces/{id}", mall.url("viewer"));
    loop {
        let spans = json(&mall.get(&url).await)["data"][0]["spans"].as_array().map_or(0, Vec::len);
        // The request, the call as its caller and its callee see it, and the statement.
        if spans >= 4 {
            return Ok((ready, began.elapsed().as_secs_f64() * 1e3));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
