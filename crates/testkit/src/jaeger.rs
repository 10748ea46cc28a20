//! Real Jaeger 2, in memory, on free ports.

use serde_json::Value;

use crate::part::{self, Part};

/// A running Jaeger; it goes when this is dropped.
#[derive(Debug)]
pub struct Jaeger {
    /// Base URL of its query API: `/api/traces/{id}`, `/api/v3/services` and so on.
    pub query: String,
    /// URL that takes OTLP over gRPC.
    pub otlp_grpc: String,
    /// URL that takes OTLP over HTTP, below `/v1/traces`.
    pub otlp_http: String,
    _part: Part,
}

/// Starts Jaeger; `None`, said aloud, where it is missing and not required.
pub async fn start() -> Option<Jaeger> {
    let program = part::find("jaeger")?;
    let (mut command, directory) = part::command(&program);
    command.arg("--config").arg(concat!("yaml:", include_str!("jaeger/config.yaml")));
    let (mut query, mut otlp_grpc, mut otlp_http) = (String::new(), String::new(), String::new());
    let (part, ()) = Part::start(&command, &directory, |line| {
        let entry: Value = serde_json::from_str(line).unwrap_or_default();
        let url = |key: &str| format!("http://{}", entry[key].as_str().unwrap_or_default());
        match (entry["otelcol.component.id"].as_str(), entry["msg"].as_str()) {
            (Some("jaeger_query"), Some("Query server started")) => query = url("http_addr"),
            (Some("otlp"), Some("Starting GRPC server")) => otlp_grpc = url("endpoint"),
            (Some("otlp"), Some("Starting HTTP server")) => otlp_http = url("endpoint"),
            (_, Some(text)) if text.starts_with("Everything is ready") => return Some(()),
            _ => {}
        }
        None
    })
    .await;
    Some(Jaeger { query, otlp_grpc, otlp_http, _part: part })
}
