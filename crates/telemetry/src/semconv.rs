//! Every attribute, metric and span that mall writes: OpenTelemetry semantic conventions 1.42, and our own.
//!
//! docs/telemetry.md is written from the tables here, and what a running mall writes is checked against them.

pub mod attribute;
pub mod metric;
pub mod span;

pub use attribute::*;
pub use metric::Metric;
pub use opentelemetry_semantic_conventions::SCHEMA_URL;

// Values and span names.

/// The value for a method, route or code that is not one of a known, bounded set.
pub const OTHER: &str = "_OTHER";
/// The value of [`RPC_SYSTEM_NAME`].
pub const GRPC: &str = "grpc";
/// The value of [`DB_SYSTEM_NAME`] for PostgreSQL.
pub const POSTGRESQL: &str = "postgresql";
/// The value of [`DB_SYSTEM_NAME`] for SQLite.
pub const SQLITE: &str = "sqlite";
/// The span name of a call to a method the server does not have.
pub const UNKNOWN_CALL: &str = "unknown";
/// The span name's method where it is not a known one.
pub const UNKNOWN_HTTP: &str = "HTTP";
/// The span name of waiting for a connection.
pub const DB_WAIT: &str = "db wait for connection";

// Headers.

/// W3C trace context: the caller's span.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context: what tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";
/// W3C baggage: what the caller wants every callee to know.
pub const BAGGAGE: &str = "baggage";
/// W3C trace context level 2: the span that answered, on every HTTP answer.
pub const TRACERESPONSE: &str = "traceresponse";
/// The trace's id alone, on every HTTP answer: for people.
pub const X_TRACE_ID: &str = "x-trace-id";
