//! What is kept of traces and of slow calls, and how a trace comes and goes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A form in which a trace is passed from caller to callee.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Propagator {
    /// W3C trace context: `traceparent` and `tracestate`.
    TraceContext,
    /// W3C baggage.
    Baggage,
    /// Zipkin's, in the one header `b3`.
    B3,
    /// Zipkin's, in several headers: `x-b3-traceid` and so on.
    B3Multi,
    /// Jaeger's: `uber-trace-id`, and baggage in `uberctx-NAME`.
    Jaeger,
}

/// How much one span holds; what is more is dropped, and its number told.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Attributes of a span, of an event and of a link (128).
    pub attributes: u32,
    /// Events of a span (128).
    pub events: u32,
    /// Links of a span (128).
    pub links: u32,
    /// Bytes of an attribute's text (4096); the rest of it is cut off.
    pub value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attributes: 128, events: 128, links: 128, value_bytes: 4096 }
    }
}

/// Which calls are slow.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slow {
    /// A call that took longer is slow (1s); 0s: none is.
    #[serde(with = "humantime_serde")]
    pub after: Duration,
    /// Calls for which another time holds, by the name of their span: `mall.user.v1.UserService/Login: 3s`.
    pub methods: BTreeMap<String, humantime_serde::Serde<Duration>>,
}

impl Default for Slow {
    fn default() -> Self {
        Self { after: Duration::from_secs(1), methods: BTreeMap::new() }
    }
}
