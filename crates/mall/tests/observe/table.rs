//! The metrics that docs/telemetry.md documents, as Prometheus names them.

use crate::rules::checkout;

/// One metric of ours.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Without the endings of a counter or a histogram.
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    endings: &'static [&'static str],
}

impl Metric {
    /// The names of its series.
    pub(crate) fn series(&self) -> impl Iterator<Item = String> {
        self.endings.iter().map(|ending| format!("{}{ending}", self.name))
    }
}

/// All rows of the table.
pub(crate) fn metrics() -> Vec<Metric> {
    let page = std::fs::read_to_string(checkout("docs/telemetry.md")).unwrap();
    let table = page.split_once("<!-- metrics -->").unwrap().1.split_once("<!-- end -->").unwrap().0;
    let metrics: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).map(metric).collect();
    assert!(metrics.len() > 20, "{metrics:#?}");
    metrics
}

fn metric(row: &str) -> Metric {
    let cells: Vec<_> = row.trim_matches('|').split(" | ").map(|cell| cell.trim_matches([' ', '`'])).collect();
    let [name, kind, unit, _, attributes] = cells[..] else { panic!("not five cells: {row}") };
    let unit = match unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    let endings: &[_] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_count", "_sum"],
        _ => &[""],
    };
    let labels = attributes.split_whitespace().map(|label| label.trim_matches('`').replace('.', "_")).collect();
    Metric { name: name.replace('.', "_") + unit, labels, endings }
}

#[test]
fn rows_are_read() {
    let row = "| `db.wait` | histogram | `s` | How long: `x` | `db.name` `error.type` |";
    let Metric { name, labels, .. } = metric(row);
    assert_eq!((name.as_str(), labels), ("db_wait_seconds", vec!["db_name".to_owned(), "error_type".to_owned()]));
    let row = "| `sent` | counter | `{span}` | Spans |  |";
    assert_eq!(metric(row).series().collect::<Vec<_>>(), ["sent_total"]);
    assert_eq!(metric(row).labels, Vec::<String>::new());
}
