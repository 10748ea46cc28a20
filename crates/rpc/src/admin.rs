//! The admin port of every process: `/livez`, `/readyz` and `/metrics` over HTTP.
//!
//! Readiness is that of this process alone: a database that all replicas share must not take all of them out at once.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::task::AbortHandle;

use crate::http::{Ending, Limits};
use crate::lifecycle::{Lifecycle, State};
use crate::{Error, http, listen};

/// Connections at one time, and how long each has to ask: whoever keeps many must not keep probes away.
const CONNECTIONS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(5);

/// A running admin port; it closes when this is dropped.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    task: AbortHandle,
}

impl AdminServer {
    /// Where it listens, with the port that the system chose if that was left to it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens the admin port at `address`; it answers from the start to the end of the process.
pub async fn serve(address: SocketAddr, lifecycle: Lifecycle) -> Result<AdminServer, Error> {
    let listener = listen(address).await?;
    let address = listener.local_addr()?;
    // To its very end: how it ends is what its clients ask.
    let ending = Ending { lifecycle: Lifecycle::new(), lame_duck: Duration::ZERO, drain: Duration::ZERO };
    let limits = Limits { connections: CONNECTIONS, header_timeout: PATIENCE, http2: false, ..Limits::default() };
    let serving = async move { http::serve(listener, None, &limits, ending, routes(lifecycle)).await };
    let task = tokio::spawn(serving).abort_handle();
    Ok(AdminServer { address, task })
}

fn routes(lifecycle: Lifecycle) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness(lifecycle.state())))
        .route("/metrics", get(metrics))
}

fn readiness(state: State) -> (StatusCode, &'static str) {
    match state {
        State::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        State::Serving => (StatusCode::OK, "ok\n"),
        State::LameDuck => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        State::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics_text())
}
