//! The tables of docs/telemetry.md are written from `semconv`, and are current.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::path::Path;

use telemetry::metric::{self, Kind, Metric};
use telemetry::semconv::{attribute, span};

/// With this variable the tables are written rather than compared.
const WRITE: &str = "MALL_WRITE_DOCS";

#[test]
fn the_tables_are_current() {
    let path = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../docs/telemetry.md");
    let old = std::fs::read_to_string(&path).unwrap();
    let mut new = old.clone();
    for (name, table) in
        [("resource", resource()), ("spans", spans()), ("metrics", metrics()), ("attributes", attributes())]
    {
        new = with_table(&new, name, &table);
    }
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, new).unwrap();
    } else {
        assert!(new == old, "docs/telemetry.md is not current: run `make docs-telemetry`");
    }
}

/// The page with a table between the marks that name it.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (start, end) = (format!("<!-- {name} -->\n"), "<!-- end -->");
    let (before, rest) = page.split_once(&start).unwrap_or_else(|| panic!("no {start}"));
    let (_, after) = rest.split_once(end).unwrap();
    format!("{before}{start}{table}{end}{after}")
}

fn code(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| format!("`{key}`")).collect()
}

fn about(key: &str) -> &'static str {
    attribute::ALL.iter().find(|(other, _)| *other == key).map_or("", |(_, about)| about)
}

fn resource() -> String {
    let rows = attribute::RESOURCE.iter().map(|key| format!("| `{key}` | {} |\n", about(key)));
    format!("| attribute | what it tells |\n|---|---|\n{}", rows.collect::<String>())
}

fn spans() -> String {
    let mut table = "| name | kind | what it stands for | attributes | error |\n|---|---|---|---|---|\n".to_owned();
    for span::Span { name, kind, required, optional, error, about } in span::ALL {
        let optional = code(optional).into_iter().map(|key| format!("[{key}]"));
        let attributes: Vec<_> = code(required).into_iter().chain(optional).collect();
        let attributes = attributes.join(" ");
        writeln!(table, "| `{name}` | {kind:?} | {about} | {attributes} | {error} |").unwrap();
    }
    table
}

fn metrics() -> String {
    let mut table = "| name | kind | unit | what it tells | attributes |\n|---|---|---|---|---|\n".to_owned();
    for Metric { name, unit, kind, attributes, about } in metric::ALL {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::UpDownCounter => "up-down counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        writeln!(table, "| `{name}` | {kind} | `{unit}` | {about} | {} |", code(attributes).join(" ")).unwrap();
    }
    table
}

fn attributes() -> String {
    let rows = attribute::ALL.iter().map(|(key, about)| format!("| `{key}` | {about} |\n"));
    format!("| attribute | what it tells |\n|---|---|\n{}", rows.collect::<String>())
}
