//! The configuration of a gateway.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How a gateway listens, whom it calls, and the limits it keeps.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where REST is served, over HTTP/1.1 and HTTP/2.
    pub listen: SocketAddr,
    /// Serves HTTPS, and nothing else; plain HTTP without it.
    pub tls: Option<rpc::tls::Server>,
    /// Where `/livez`, `/readyz` and `/metrics` are served over HTTP.
    pub admin: SocketAddr,
    /// The gRPC service behind the API. Its `timeout` counts from when a request's body has arrived; a client may ask
    /// for less with `grpc-timeout`.
    pub upstream: rpc::client::Config,
    /// How long requests are still served after the word to stop, while the process already says that it is not ready and
    /// each HTTP/1 answer closes its connection: the time that whoever sends them here needs to hear of it. None by
    /// default, for nobody needs it on a laptop.
    #[serde(with = "humantime_serde")]
    pub lame_duck: Duration,
    /// How long requests in flight may take to finish after that.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// What one client, and all of them together, may take.
    pub limits: Limits,
    /// Pages of other origins that may call.
    pub cors: Cors,
    /// Proxies, as `10.0.0.0/8`, whose `x-forwarded-for` is believed; nobody's by default.
    pub trusted_proxies: Vec<IpNet>,
}

/// What one client, and all of them together, may take.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at one time; one more waits to be accepted.
    pub connections: usize,
    /// Requests that one HTTP/2 connection may have open.
    pub streams: u32,
    /// Bytes of a request's body, after it is decompressed; more is 413.
    pub body_bytes: usize,
    /// Bytes of all request bodies held at one time; more is 503.
    pub total_body_bytes: usize,
    /// Bytes of a request's headers and path; more is 431.
    pub header_bytes: usize,
    /// Headers of a request; more is 431, and more than 100 is a 431 without a body.
    pub headers: usize,
    /// The time until a connection has agreed on TLS, and until it has sent the head of its next request; a later one is
    /// closed.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// The time for a request's body to arrive; a later one is answered 408.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// How long a quiet HTTP/2 connection is left alone before it is pinged.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// How long a ping may go unanswered before the connection is closed.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
}

/// Pages of other origins that may call; none by default.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Origins such as `https://shop.example`; empty turns CORS off.
    pub origins: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8000)),
            tls: None,
            admin: SocketAddr::from(([0, 0, 0, 0], 18000)),
            upstream: rpc::client::Config::default(),
            lame_duck: Duration::ZERO,
            drain: Duration::from_secs(5),
            limits: Limits::default(),
            cors: Cors::default(),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Limits {
    /// Those on connections.
    pub(crate) fn of_connections(&self) -> rpc::http::Limits {
        rpc::http::Limits {
            connections: self.connections,
            http2: true,
            streams: self.streams,
            header_bytes: self.header_bytes,
            headers: self.headers,
            header_timeout: self.header_timeout,
            keepalive_interval: self.keepalive_interval,
            keepalive_timeout: self.keepalive_timeout,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams: 128,
            body_bytes: 1024 * 1024,
            total_body_bytes: 64 * 1024 * 1024,
            header_bytes: 16 * 1024,
            headers: 64,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}
