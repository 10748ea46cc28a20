//! The three listeners and what stands before their routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use rpc::Lifecycle;
use rpc::admin::AdminServer;
use rpc::http::{Ending, Limits};
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::config::Config;
use crate::otlp::{self, Sink};
use crate::store::Store;
use crate::{Error, api, metrics, ui};

/// OTLP messages that are read at once: with the largest message this bounds the memory for them.
const MESSAGES: usize = 16;
/// Connections to each port.
const CONNECTIONS: usize = 1000;
/// How long a message may take to arrive and be stored.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests may go on after draining began.
const DRAIN: Duration = Duration::from_secs(3);

/// A viewer that has its ports and does not answer yet, but for the admin port.
#[derive(Debug)]
pub struct Viewer {
    config: Config,
    lifecycle: Lifecycle,
    ui: TcpListener,
    otlp_grpc: TcpListener,
    otlp_http: TcpListener,
    admin: AdminServer,
}

impl Viewer {
    /// Takes the viewer's ports; port 0 takes a free one.
    pub async fn bind(mut config: Config, lifecycle: Lifecycle) -> Result<Self, Error> {
        let ui = rpc::listen(config.listen).await?;
        let otlp_grpc = rpc::listen(config.otlp_grpc).await?;
        let otlp_http = rpc::listen(config.otlp_http).await?;
        let admin = rpc::admin::serve(config.admin, lifecycle.clone()).await?;
        (config.listen, config.admin) = (ui.local_addr()?, admin.address());
        (config.otlp_grpc, config.otlp_http) = (otlp_grpc.local_addr()?, otlp_http.local_addr()?);
        Ok(Self { config, lifecycle, ui, otlp_grpc, otlp_http, admin })
    }

    /// Its configuration, with the ports that it has.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Serves until the lifecycle drains and then at most three seconds more.
    pub async fn serve(self) -> Result<(), Error> {
        let Self { config, lifecycle, ui, otlp_grpc, otlp_http, admin: _admin } = self;
        let size = |bytes: bytesize::ByteSize| usize::try_from(bytes.as_u64()).unwrap_or(usize::MAX);
        let store = Store::new(size(config.memory));
        metrics::publish(store.stats());
        let store = Arc::new(RwLock::new(store));
        let sink = Sink { store: store.clone(), max_message: size(config.max_message) };
        let pages = pages(store, config.listen, config.hosts).await;
        let limits = limits(PATIENCE);
        lifecycle.set_serving();
        tracing::info!(ui = %config.listen, otlp_grpc = %config.otlp_grpc, otlp_http = %config.otlp_http, memory = %config.memory, "serving");
        let serve = |listener, routes: Router| {
            let ending = Ending { lifecycle: lifecycle.clone(), lame_duck: Duration::ZERO, drain: DRAIN };
            async move { rpc::http::serve(listener, None, &connections(), ending, routes).await }
        };
        tokio::join!(
            serve(ui, pages),
            serve(otlp_grpc, otlp::grpc::router(sink.clone()).layer(limits.clone())),
            serve(otlp_http, otlp::http::router(sink).layer(limits)),
        );
        Ok(())
    }
}

/// A viewer has few clients, and one of them may be a collector that sends all that it has at one time.
fn connections() -> Limits {
    Limits { connections: CONNECTIONS, header_timeout: PATIENCE, ..Limits::default() }
}

/// The limits on messages, which are one for both ways in if their routes have clones of it. What is late is answered 503, which an exporter
/// tries again, and which a gRPC client takes for `UNAVAILABLE`.
fn limits(patience: Duration) -> (TimeoutLayer, GlobalConcurrencyLimitLayer) {
    let time = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, patience);
    (time, GlobalConcurrencyLimitLayer::new(MESSAGES))
}

/// The UI and its API, for browsers.
pub(crate) async fn pages(store: Arc<RwLock<Store>>, address: SocketAddr, hosts: Vec<String>) -> Router {
    let no_sniff = HeaderValue::from_static("nosniff");
    let routes = api::router(store).merge(ui::router().await);
    let routes = routes
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, no_sniff));
    if !address.ip().is_loopback() {
        return routes;
    }
    let hosts: Arc<[String]> = hosts.into();
    routes.layer(from_fn_with_state(hosts, guard))
}

/// Lets only requests pass that mean this machine: a page of `evil.example` whose name was made to point here does not;
/// nor do those that pages of other sites make behind their reader's back.
async fn guard(State(hosts): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    if is_welcome(&request, &hosts) {
        return next.run(request).await;
    }
    let text = "this viewer is for this machine: open it as http://localhost, or add the name to `hosts`\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

fn is_welcome(request: &Request, hosts: &[String]) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = header("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let behind = header("sec-fetch-site") == Some("cross-site") && header("sec-fetch-mode") != Some("navigate");
    !behind && host.is_none_or(|host| is_local(host, hosts))
}

fn is_local(host: &str, hosts: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<std::net::IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests;
