//! Every attribute, metric and span name that mall writes: OpenTelemetry semantic conventions 1.42, and our own under `mall.`.

pub use opentelemetry_semantic_conventions::SCHEMA_URL;
pub use opentelemetry_semantic_conventions::attribute::{
    DB_CLIENT_CONNECTION_POOL_NAME, DB_CLIENT_CONNECTION_STATE, DB_COLLECTION_NAME, DB_NAMESPACE, DB_OPERATION_NAME,
    DB_QUERY_SUMMARY, DB_QUERY_TEXT, DB_RESPONSE_STATUS_CODE, DB_SYSTEM_NAME, ERROR_TYPE, HOST_NAME,
    HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT,
    NETWORK_PROTOCOL_VERSION, PROCESS_PID, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, RPC_SYSTEM_NAME, SERVER_ADDRESS,
    SERVER_PORT, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, URL_PATH, URL_SCHEME,
};
pub use opentelemetry_semantic_conventions::metric::{
    DB_CLIENT_CONNECTION_COUNT, DB_CLIENT_CONNECTION_PENDING_REQUESTS, DB_CLIENT_CONNECTION_TIMEOUTS,
    DB_CLIENT_CONNECTION_WAIT_TIME, DB_CLIENT_OPERATION_DURATION, HTTP_SERVER_ACTIVE_REQUESTS,
    HTTP_SERVER_REQUEST_DURATION, RPC_CLIENT_CALL_DURATION, RPC_SERVER_CALL_DURATION,
};

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

// Metrics of our own.

/// gRPC calls in flight in this service; the conventions have no name for it.
pub const RPC_SERVER_ACTIVE_CALLS: &str = "mall.rpc.server.active_calls";
/// gRPC calls in flight to peers; the conventions have no name for it.
pub const RPC_CLIENT_ACTIVE_CALLS: &str = "mall.rpc.client.active_calls";
/// Spans handed over to the collector.
pub const SPANS_SENT: &str = "mall.telemetry.spans.sent";
/// Spans lost, by [`DROP_REASON`].
pub const SPANS_DROPPED: &str = "mall.telemetry.spans.dropped";
/// Why spans were lost: `queue_full`, `failed`, `timeout`, `shutdown`.
pub const DROP_REASON: &str = "reason";

/// Work that is due in the database and that no process has taken up, by [`RECOVERY_KIND`].
pub const RECOVERY_WAITING: &str = "mall.recovery.waiting";
/// For how long the oldest of it has been due, in seconds, by [`RECOVERY_KIND`].
pub const RECOVERY_AGE: &str = "mall.recovery.age";
/// What kind of work it is: the name of its spans.
pub const RECOVERY_KIND: &str = "kind";
/// Callbacks of a payment provider that were refused, by [`REFUSAL_REASON`].
pub const CALLBACKS_REFUSED: &str = "mall.pay.callbacks.refused";
/// Why a callback was refused: `signature`, `invalid`, `mismatch`, `unknown`, `state`.
pub const REFUSAL_REASON: &str = "reason";

/// The conventions' buckets for durations of calls and requests, in seconds.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// The conventions' buckets for durations of database statements, in seconds.
pub const DB_DURATION_BUCKETS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

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
