//! The channel to a peer: it connects when first used, again when the peer comes back, and carries the trace and the
//! time that is left.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::{Layer as _, Service};

use crate::{Error, deadline};

/// Where a peer is and how long it may take.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The peer's address, `http://HOST:PORT`.
    pub target: String,
    /// The most time for one call; less when the caller's own deadline is nearer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The time to make a connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long a quiet connection is left alone before it is pinged.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// How long a ping may go unanswered before the connection is given up.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target: "http://127.0.0.1:9000".to_owned(),
            timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(5),
        }
    }
}

/// What a generated client is built on; clones share the connection.
pub type Channel = telemetry::Traced<Bounded<tonic::transport::Channel>, telemetry::grpc::ClientLayer>;

/// A channel to the peer at `config.target`. Nothing is connected until the first call.
pub fn connect(config: &Config) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(config.target.clone())
        .map_err(|source| Error::Target { target: config.target.clone(), source })?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .keep_alive_while_idle(true);
    let bounded = Bounded { inner: endpoint.connect_lazy(), most: config.timeout };
    Ok(telemetry::grpc::ClientLayer::new(&config.target).layer(bounded))
}

/// Ends a call at its deadline, tells the peer when that is, and puts a broken connection in plain words.
#[derive(Clone, Debug)]
pub struct Bounded<S> {
    inner: S,
    most: Duration,
}

impl<S> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(broken)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let now = Instant::now();
        // The very instant at which the caller gives up: of two timers with it, the inner one is heard first.
        let most = now + self.most;
        let until = deadline::current().map_or(most, |deadline| deadline.min(most));
        let timeout = until.saturating_duration_since(now);
        if timeout.is_zero() {
            return Box::pin(std::future::ready(Err(deadline::exceeded())));
        }
        request.headers_mut().insert(deadline::GRPC_TIMEOUT, deadline::header(timeout));
        let answer = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(until, answer).await {
                Ok(answer) => answer.map_err(broken),
                Err(_) => Err(deadline::exceeded()),
            }
        })
    }
}

/// What is said of a call that failed because a call that it made failed: whether it is worth trying again. Why it failed
/// is for the log.
pub fn failed(status: &Status) -> Status {
    match status.code() {
        Code::DeadlineExceeded => deadline::exceeded(),
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::Cancelled => unavailable(),
        _ => {
            tracing::error!(error = status as &dyn StdError, "a peer failed");
            Status::internal("internal error")
        }
    }
}

fn unavailable() -> Status {
    Status::unavailable("a service that this needs cannot be reached, try again")
}

/// What a failed call is told. The transport's own words name addresses and system calls: they are for the log.
fn broken(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Status {
    let error = error.into();
    // The channel reads the timeout that it is to send, and may be the first to see it pass.
    let mut cause = Some(error.as_ref() as &(dyn StdError + 'static));
    while let Some(this) = cause {
        if this.is::<tonic::TimeoutExpired>() {
            return deadline::exceeded();
        }
        cause = this.source();
    }
    tracing::warn!(error = error.as_ref() as &dyn StdError, "a peer cannot be reached");
    unavailable()
}
