//! What a load prints at its end: a table, and what to know when reading it.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::drive::{MOST_UNDER_WAY, Run};
use super::tally::{Figures, LATE, Row, Tally, counts};
use crate::shop::Shop;

pub(super) fn text(run: &Run, shop: &Shop) -> String {
    let tally = &run.tally;
    let (operations, errors) = (tally.operations(), tally.errors());
    let mut text = table(tally, run.elapsed);
    let _ = writeln!(text, "\n{operations} operations in {:.1} s, {errors} failed", run.elapsed.as_secs_f64());
    if run.abandoned > 0 {
        let _ = writeln!(text, "{} more were under way and are not in the table", run.abandoned);
    }
    if let Some(late) = late(tally, run.was_full) {
        let _ = writeln!(text, "{late}");
    }
    for (row, figures) in tally.rows().filter(|(row, _)| !row.is_step()) {
        if let Some(trace) = &figures.slowest {
            let _ = writeln!(text, "the slowest {}: {}", row.label(), shop.trace_address(trace));
        }
    }
    text
}

/// The same as one line of JSON; times are in milliseconds.
pub(super) fn json(run: &Run) -> String {
    let row = |(row, Figures { times, errors, .. }): (Row, &Figures)| {
        let millis = |micros: u64| micros as f64 / 1000.0;
        json!({
            "operation": row.label().trim(),
            "step": row.is_step(),
            "count": times.len(),
            "errors": errors,
            "p50": millis(times.value_at_quantile(0.5)),
            "p90": millis(times.value_at_quantile(0.9)),
            "p99": millis(times.value_at_quantile(0.99)),
            "max": millis(times.max()),
        })
    };
    let tally = &run.tally;
    let json = json!({
        "operations": tally.operations(),
        "failed": tally.errors(),
        "abandoned": run.abandoned,
        "late": tally.late,
        "seconds": run.elapsed.as_secs_f64(),
        "rows": tally.rows().map(row).collect::<Vec<_>>(),
    });
    format!("{json}\n")
}

/// Times are in milliseconds, failed operations included.
fn table(tally: &Tally, elapsed: Duration) -> String {
    let mut text = format!(
        "{:10} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}  errors\n",
        "operation", "count", "rate/s", "p50 ms", "p90 ms", "p99 ms", "max ms"
    );
    for (row, figures) in tally.rows() {
        text.push_str(&line(row, figures, elapsed));
    }
    text
}

fn line(row: Row, Figures { times, errors, .. }: &Figures, elapsed: Duration) -> String {
    let rate = times.len() as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
    let mut line = format!("{:10} {:8} {rate:8.1}", row.label(), times.len());
    for micros in
        [times.value_at_quantile(0.5), times.value_at_quantile(0.9), times.value_at_quantile(0.99), times.max()]
    {
        let _ = write!(line, " {:9.2}", micros as f64 / 1000.0);
    }
    let _ = writeln!(line, "  {}", if errors.is_empty() { "none".to_owned() } else { counts(errors) });
    line
}

/// Says so when the figures are the client's as much as the mall's.
fn late(tally: &Tally, was_full: bool) -> Option<String> {
    if tally.late == 0 {
        return None;
    }
    let (late, of, worst) = (tally.late, tally.operations(), tally.latest.as_millis());
    let why = if was_full {
        format!("for {MOST_UNDER_WAY} were under way, and more are not begun: the mall is far behind")
    } else {
        "for this client did not keep up: give it more of a machine, or a lower --rate".to_owned()
    };
    let limit = LATE.as_millis();
    Some(format!("{late} of {of} operations began more than {limit} ms after they were due, at most {worst} ms, {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::tally::Sample;
    use super::*;

    fn tally(behind: u64) -> Tally {
        let mut tally = Tally::new().unwrap();
        for millis in 1..=100 {
            let failure = (millis == 100).then(|| "timeout".to_owned());
            let took = Duration::from_millis(millis);
            let sample = Sample { row: Row::Browse, took, failure, trace: None };
            tally.add(Duration::from_millis(behind), vec![sample]);
        }
        tally
    }

    #[test]
    fn a_table_has_percentiles_and_errors_by_code() {
        // Percentiles are exact to three digits.
        let expected = "\
operation     count   rate/s    p50 ms    p90 ms    p99 ms    max ms  errors
browse          100     10.0     50.02     90.05     99.01    100.03  1 x timeout
";
        assert_eq!(table(&tally(0), Duration::from_secs(10)), expected);
    }

    #[test]
    fn the_same_can_be_had_as_json() {
        let run = Run { tally: tally(0), elapsed: Duration::from_secs(10), was_full: false, abandoned: 0 };
        let json: serde_json::Value = serde_json::from_str(&json(&run)).unwrap();
        assert_eq!((&json["operations"], &json["failed"]), (&100.into(), &1.into()));
        let browse = &json["rows"][0];
        assert_eq!((&browse["operation"], &browse["step"]), (&"browse".into(), &false.into()));
        assert_eq!(browse["errors"], json!({ "timeout": 1 }));
        assert_eq!(browse["p50"], 50.015);
    }

    #[test]
    fn a_client_that_cannot_keep_up_says_so() {
        assert_eq!(late(&tally(10), false), None);
        let text = late(&tally(25), false).unwrap();
        assert!(text.starts_with("100 of 100 operations began more than 10 ms after they were due, at most 25 ms"));
        assert!(text.contains("--rate"), "{text}");
        assert!(late(&tally(25), true).unwrap().contains("the mall is far behind"));
    }
}
