//! `mall config`: what a service would run with, and why.

use std::io::Write as _;

use serde_json::Value;

use crate::config::{Document, Sources};
use crate::services::Service;

pub(crate) fn run(service: &Service, sources: &Sources) -> anyhow::Result<()> {
    let document = service.document(sources)?;
    let process = service.configure(sources)?;
    let mut rows = Vec::new();
    flatten("", &process.section.show()?, &document, &mut rows);
    let configured = rows.len();
    flatten("telemetry", &serde_json::to_value(&process.telemetry)?, &document, &mut rows);
    let mut effective = Vec::new();
    flatten("telemetry", &serde_json::to_value(process.telemetry.with_env()?)?, &document, &mut effective);
    for row in &mut effective {
        if !rows[configured..].contains(row) {
            row.origin = "environment variable OTEL_*".to_owned();
        }
    }
    rows.splice(configured.., effective);

    let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(|row| &row.key), width(|row| &row.value).min(48));
    let mut out = std::io::stdout().lock();
    for Row { key, value, origin } in &rows {
        writeln!(out, "{key:keys$}  {value:values$}  {origin}")?;
    }
    Ok(())
}

#[derive(PartialEq)]
struct Row {
    key: String,
    value: String,
    origin: String,
}

fn flatten(path: &str, value: &Value, document: &Document, rows: &mut Vec<Row>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, document, rows);
            }
        }
        value => {
            let origin = document.origin(path).map_or_else(|| "default".to_owned(), ToString::to_string);
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rows.push(Row { key: path.to_owned(), value, origin });
        }
    }
}
