//! The budgets, measured: `make bench` prints one table of them.
//!
//! Arguments name the groups to measure, all of them by default but those of `make compare`, which need the peers. With `BENCH_STRICT=1` a missed budget is a failure.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod allocations;
mod chaos;
mod gateway;
mod layers;
mod memory;
mod other;
mod overload;
mod peers;
mod report;
mod sampling;
mod scrape;
mod shop;
mod side;
mod signals;
mod startup;
mod system;
mod token;
mod traffic;
mod viewer;
mod wire;

use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use crate::report::Row;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// Measures one group of budgets.
type Measure = fn() -> anyhow::Result<Vec<Row>>;

const GROUPS: [(&str, Measure); 18] = [
    ("startup", startup::measure),
    ("memory", memory::measure),
    ("gateway", gateway::measure),
    ("shop", shop::measure),
    ("overload", overload::measure),
    ("sampling", sampling::measure),
    ("signals", signals::measure),
    ("scrape", scrape::measure),
    ("chaos", chaos::measure),
    ("layers", layers::measure),
    ("token", token::measure),
    ("allocations", allocations::measure),
    ("viewer", viewer::measure),
    ("peer-gateway", peers::gateway::measure),
    ("peer-rpc", peers::rpc::measure),
    ("peer-tracing", peers::tracing::measure),
    ("peer-viewer", peers::viewer::measure),
    ("peer-start", peers::start::measure),
];

/// The groups of `make compare`.
const PEERS: &str = "peer-";

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = chosen.iter().find(|name| GROUPS.iter().all(|(group, _)| group != name)) {
        eprintln!("there is no group `{unknown}`: there are {}", GROUPS.map(|(group, _)| group).join(", "));
        return ExitCode::from(2);
    }
    let is_chosen = |group: &str| match chosen.is_empty() {
        true => !group.starts_with(PEERS),
        false => chosen.iter().any(|it| it == group),
    };
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for (group, measure) in GROUPS.into_iter().filter(|(group, _)| is_chosen(group)) {
        let start = Instant::now();
        eprintln!("measuring {group}; load average {}", system::load_average());
        match caught(measure) {
            Ok(measured) => rows.extend(measured),
            Err(error) => failed.push(format!("{group}: {error:#}")),
        }
        eprintln!("measured {group} in {:.0} s", start.elapsed().as_secs_f64());
    }
    println!("\n{}", report::table(&rows));
    for failure in &failed {
        println!("not measured: {failure}");
    }
    let strict = std::env::var_os("BENCH_STRICT").is_some_and(|value| value == "1");
    if failed.is_empty() && (!strict || rows.iter().all(Row::is_met)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is measured may panic, as a mall that does not start does; the other groups are measured all the same.
fn caught(measure: Measure) -> anyhow::Result<Vec<Row>> {
    panic::catch_unwind(measure).unwrap_or_else(|_| anyhow::bail!("it panicked, see above"))
}

/// Runs a measurement on one thread, which is thus the only one that a client takes.
fn on_one_thread(measurement: impl Future<Output = anyhow::Result<Vec<Row>>>) -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measurement)
}

/// The value that 99 of 100 do not exceed.
fn p99(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get((values.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The middle one of several measurements.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
