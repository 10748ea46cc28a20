//! The viewer's section of the configuration.

use std::net::{Ipv4Addr, SocketAddr};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// How the trace viewer listens and how much it keeps.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where Jaeger's UI and query API are; 127.0.0.1:5000.
    ///
    /// What is seen here is not protected by any login: on a loopback address only requests that name this machine
    /// (`localhost` or an address) or one of `hosts` are answered, so that no web page can read traces by DNS rebinding.
    pub listen: SocketAddr,
    /// Where spans arrive as OTLP over gRPC; 127.0.0.1:4317.
    pub otlp_grpc: SocketAddr,
    /// Where spans arrive as OTLP over HTTP; 127.0.0.1:4318.
    pub otlp_http: SocketAddr,
    /// Where /livez, /readyz and /metrics are; 127.0.0.1:15000.
    pub admin: SocketAddr,
    /// Bytes of memory for traces, of which the oldest go when it is full; less than 1 MiB is taken for that. 64 MiB.
    pub memory: ByteSize,
    /// The largest OTLP message that is taken, in bytes after decompression; 4 MiB.
    pub max_message: ByteSize,
    /// More names under which a browser may reach a viewer that listens on a loopback address; none.
    pub hosts: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: local(5000),
            otlp_grpc: local(4317),
            otlp_http: local(4318),
            admin: local(15000),
            memory: ByteSize::mib(64),
            max_message: ByteSize::mib(4),
            hosts: Vec::new(),
        }
    }
}
