//! Real Jaeger 2 with the configuration that is shipped, in memory, on free ports.

use crate::daemon::Daemon;
use crate::{part, ports};

/// A running Jaeger; it goes when this is dropped.
#[derive(Debug)]
pub struct Jaeger {
    /// Base URL of its pages and of its query API: `/api/traces/{id}`, `/api/v3/services` and so on.
    pub query: String,
    /// URL that takes OTLP over gRPC.
    pub otlp_grpc: String,
    /// URL that takes OTLP over HTTP, below `/v1/traces`.
    pub otlp_http: String,
    /// To pause it, stop it and start it again, without its traces.
    pub process: Daemon,
}

/// Starts Jaeger; `None`, said aloud, where it is missing and not required.
///
/// # Panics
///
/// Panics if it is required but missing, or does not start.
pub async fn start() -> Option<Jaeger> {
    // It asks no Prometheus unless someone looks at its Monitor tab.
    start_with(&[]).await
}

/// The same with more variables; k8s/jaeger/config.yaml says which there are.
///
/// # Panics
///
/// As [`start`].
pub async fn start_with(variables: &[(&str, &str)]) -> Option<Jaeger> {
    let program = part::find("jaeger")?;
    let [query, query_grpc, grpc, http, health] = std::array::from_fn(|_| ports::free().to_string());
    let ui_config = part::checkout("k8s/jaeger/ui.json").display().to_string();
    // Without its pages it shows a placeholder; only a browser needs them.
    let pages = part::path("jaeger-ui").map(|path| path.display().to_string()).unwrap_or_default();
    let mut all = vec![
        ("JAEGER_QUERY_HTTP", query.as_str()),
        ("JAEGER_QUERY_GRPC", &query_grpc),
        ("JAEGER_OTLP_GRPC", &grpc),
        ("JAEGER_OTLP_HTTP", &http),
        ("JAEGER_HEALTH", &health),
        ("JAEGER_UI_CONFIG", &ui_config),
        ("JAEGER_UI_ASSETS", &pages),
    ];
    all.extend(variables);
    let variables = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let arguments = vec!["--config".into(), part::checkout("k8s/jaeger/config.yaml").into()];
    let process = Daemon::start(program, arguments, variables, "Everything is ready").await;
    Some(Jaeger {
        query: format!("http://{query}"),
        otlp_grpc: format!("http://{grpc}"),
        otlp_http: format!("http://{http}"),
        process,
    })
}
