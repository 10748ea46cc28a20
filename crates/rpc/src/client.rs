//! The channel to a peer: it finds the peer's endpoints, connects when first used and again whenever a connection ends,
//! spreads the calls, and carries the trace and the time that is left.

use std::error::Error as StdError;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use discovery::{Endpoints, Target};
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tower::{Layer as _, Service};

use self::balance::Balance;
use self::breaker::Breakers;
use self::failure::Failure;
use self::method::Method;
use self::peer::Tried;
use crate::tls::{self, Connector};
use crate::{Error, deadline};

mod balance;
mod breaker;
mod cost;
mod failure;
mod method;
mod outgoing;
mod peer;
mod retry;

/// Where a peer is and how long it may take.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the peer is: `direct:///HOST:PORT[,HOST:PORT..]`, `dns:///NAME:PORT` or `k8s://NAMESPACE/SERVICE:PORT`.
    pub target: Target,
    /// Speaks TLS, to a peer that does.
    pub tls: Option<tls::Client>,
    /// The most time for one call; less when the caller's own deadline is nearer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The time to make a connection; and how long a call waits for one, or for a first endpoint to be known.
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
            target: SocketAddr::from(([127, 0, 0, 1], 9000)).into(),
            tls: None,
            timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(5),
        }
    }
}

/// What a generated client is built on; clones share the connections.
pub type Channel = telemetry::Traced<Bounded, telemetry::grpc::ClientLayer>;

/// A channel to the peer at `config.target`, inside a tokio runtime. Nothing is connected until the first call; the files of
/// TLS are read now.
pub fn connect(config: &Config) -> Result<Channel, Error> {
    connect_to(discovery::watch(&config.target), config)
}

/// A channel to these endpoints of the peer.
pub fn connect_to(endpoints: Endpoints, config: &Config) -> Result<Channel, Error> {
    let layer = telemetry::grpc::ClientLayer::new(&config.target.authority());
    let tls = config.tls.as_ref().map(|tls| Connector::new(tls, &host(&config.target))).transpose()?;
    let balance = Balance::new(config, tls, endpoints, layer.target().to_vec());
    let breakers = Arc::new(Breakers::new(layer.target()));
    Ok(layer.layer(Bounded { balance, breakers, most: config.timeout }))
}

/// The name that a peer's certificate has, where nothing else is said.
fn host(target: &Target) -> String {
    let authority = target.authority();
    let first = authority.split(',').next().unwrap_or_default();
    first.rsplit_once(':').map_or(first, |(host, _)| host).trim_matches(['[', ']']).to_owned()
}

/// Ends a call at its deadline, tells the peer when that is, refuses one that would fail as others did, and puts a broken
/// connection in plain words.
#[derive(Clone, Debug)]
pub struct Bounded {
    balance: Arc<Balance>,
    breakers: Arc<Breakers>,
    most: Duration,
}

impl Service<Request<Body>> for Bounded {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let now = Instant::now();
        // The very instant at which the caller gives up: of two timers with it, the inner one is heard first.
        let most = now + self.most;
        let until = deadline::current().map_or(most, |deadline| deadline.min(most));
        if until <= now {
            return Box::pin(std::future::ready(Err(deadline::exceeded())));
        }
        let Self { balance, breakers, most } = self.clone();
        let method = Method::at(request.uri().path());
        // A call in a hurry may well fail where others do not.
        let tells = until - now >= most / 2;
        Box::pin(async move {
            let breaker = method.and_then(|method| breakers.of(method));
            if breaker.is_some_and(|breaker| !breaker.permits()) {
                return Err(failing());
            }
            let mut tried = Tried::new(method.is_some());
            let answer = tokio::time::timeout_at(until, balance.send(method, request, until, &mut tried)).await;
            tried.annotate();
            if let Some((breaker, verdict)) = breaker.zip(verdict(&answer, tells)) {
                if verdict { breaker.succeeded() } else { breaker.failed() }
            }
            answer.map_or_else(|_| Err(deadline::exceeded()), |answer| answer.map_err(broken))
        })
    }
}

/// Whether the end of a call speaks for its peer; nothing where it says nothing of it. A deadline says something where the
/// call was not in more of a hurry than any peer could be.
fn verdict(answer: &Result<Result<Response<Body>, Failure>, Elapsed>, had_time: bool) -> Option<bool> {
    match answer {
        Ok(Err(Failure::Message(_))) => None,
        Ok(Err(_)) => Some(false),
        Err(_) => had_time.then_some(false),
        Ok(Ok(answer)) if peer::is_unavailable(answer) => Some(false),
        Ok(Ok(answer)) => match peer::code(answer) {
            Some(Code::DeadlineExceeded) => had_time.then_some(false),
            // It does others.
            Some(Code::ResourceExhausted) => None,
            _ => Some(true),
        },
    }
}

/// A status that whoever called need not answer with another try: those that may help were made.
fn tried(mut status: Status) -> Status {
    status.metadata_mut().insert(retry::PUSHBACK, MetadataValue::from_static("-1"));
    status
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
    tried(Status::unavailable("a service that this needs cannot be reached, try again"))
}

fn failing() -> Status {
    tried(Status::unavailable("a service that this needs fails all the time, try again"))
}

/// What a failed call is told. The transport's own words name addresses and system calls: they are for the log.
fn broken(failure: Failure) -> Status {
    if let Failure::Message(status) = failure {
        return status;
    }
    tracing::warn!(error = &failure as &dyn StdError, "a peer cannot be reached");
    unavailable()
}
