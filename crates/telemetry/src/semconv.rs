//! Every attribute, metric and span name that mall writes: OpenTelemetry semantic conventions 1.42, and our own under `mall.`.

/// The schema the names below belong to; set on the tracer and the meter.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// The value for a method, route or code that is not one of a known, bounded set.
pub const OTHER: &str = "_OTHER";

// Attributes of the process (resource).

/// The service's logical name: `user.rpc`.
pub const SERVICE_NAME: &str = "service.name";
/// The version of the binary.
pub const SERVICE_VERSION: &str = "service.version";
/// A UUID that no other process has.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
/// The host's name.
pub const HOST_NAME: &str = "host.name";
/// The operating system's number of the process.
pub const PROCESS_PID: &str = "process.pid";

// Attributes of more than one kind of span.

/// What went wrong, of a bounded set: a status code's name, or the kind of an error.
pub const ERROR_TYPE: &str = "error.type";
/// The host that a call is meant for.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port that a call is meant for.
pub const SERVER_PORT: &str = "server.port";
/// The address of the other end of the connection.
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
/// The port of the other end of the connection.
pub const NETWORK_PEER_PORT: &str = "network.peer.port";

/// The version of HTTP: `1.1`, `2`.
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";

// Attributes of a gRPC call.

/// The RPC system, always [`GRPC`].
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// The value of [`RPC_SYSTEM_NAME`].
pub const GRPC: &str = "grpc";
/// The full method: `mall.user.v1.UserService/Login`, or [`OTHER`].
pub const RPC_METHOD: &str = "rpc.method";
/// The name of the gRPC code: `OK`, `NOT_FOUND`.
pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
/// The span name of a call to a method the server does not have.
pub const UNKNOWN_CALL: &str = "unknown";

// Attributes of an HTTP request.

/// The method, or [`OTHER`].
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
/// The route's template: `/api/product/{id}`.
pub const HTTP_ROUTE: &str = "http.route";
/// The status code as a number.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// `http` or `https`.
pub const URL_SCHEME: &str = "url.scheme";
/// The path without its query; only of requests that have a route.
pub const URL_PATH: &str = "url.path";
/// The span name's method where it is not a known one.
pub const UNKNOWN_HTTP: &str = "HTTP";

// Attributes of a database statement.

/// `postgresql` or `sqlite`.
pub const DB_SYSTEM_NAME: &str = "db.system.name";
/// The database's name.
pub const DB_NAMESPACE: &str = "db.namespace";
/// The table.
pub const DB_COLLECTION_NAME: &str = "db.collection.name";
/// The statement's first word: `SELECT`.
pub const DB_OPERATION_NAME: &str = "db.operation.name";
/// The statement with placeholders, never with values.
pub const DB_QUERY_TEXT: &str = "db.query.text";
/// The operation and its tables, short and of a bounded set: `SELECT users`.
pub const DB_QUERY_SUMMARY: &str = "db.query.summary";
/// The database's own code of an error: SQLSTATE.
pub const DB_RESPONSE_STATUS_CODE: &str = "db.response.status_code";
/// How many rows came back.
pub const DB_RESPONSE_RETURNED_ROWS: &str = "db.response.returned_rows";
/// The name of a pool of connections.
pub const DB_CLIENT_CONNECTION_POOL_NAME: &str = "db.client.connection.pool.name";
/// `idle` or `used`, of the connections in a pool.
pub const DB_CLIENT_CONNECTION_STATE: &str = "db.client.connection.state";
/// The value of [`DB_SYSTEM_NAME`] for PostgreSQL.
pub const POSTGRESQL: &str = "postgresql";
/// The value of [`DB_SYSTEM_NAME`] for SQLite.
pub const SQLITE: &str = "sqlite";
/// The span name of waiting for a connection.
pub const DB_WAIT: &str = "db wait for connection";

// Metrics. Durations are histograms in seconds.

/// How long this service took to answer a gRPC call.
pub const RPC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";
/// How long a gRPC call to a peer took.
pub const RPC_CLIENT_CALL_DURATION: &str = "rpc.client.call.duration";
/// How long this service took to answer an HTTP request.
pub const HTTP_SERVER_REQUEST_DURATION: &str = "http.server.request.duration";
/// HTTP requests in flight.
pub const HTTP_SERVER_ACTIVE_REQUESTS: &str = "http.server.active_requests";
/// gRPC calls in flight in this service; the conventions have no name for it.
pub const RPC_SERVER_ACTIVE_CALLS: &str = "mall.rpc.server.active_calls";
/// gRPC calls in flight to peers; the conventions have no name for it.
pub const RPC_CLIENT_ACTIVE_CALLS: &str = "mall.rpc.client.active_calls";
/// How long a database statement took.
pub const DB_CLIENT_OPERATION_DURATION: &str = "db.client.operation.duration";
/// How long a caller waited for a connection.
pub const DB_CLIENT_CONNECTION_WAIT_TIME: &str = "db.client.connection.wait_time";
/// Connections in the pool by state.
pub const DB_CLIENT_CONNECTION_COUNT: &str = "db.client.connection.count";
/// Callers that wait for a connection.
pub const DB_CLIENT_CONNECTION_PENDING_REQUESTS: &str = "db.client.connection.pending_requests";
/// Callers that waited in vain.
pub const DB_CLIENT_CONNECTION_TIMEOUTS: &str = "db.client.connection.timeouts";
/// Spans handed over to the collector.
pub const SPANS_SENT: &str = "mall.telemetry.spans.sent";
/// Spans lost, by [`DROP_REASON`].
pub const SPANS_DROPPED: &str = "mall.telemetry.spans.dropped";
/// Why spans were lost: `queue_full`, `failed`, `timeout`, `shutdown`.
pub const DROP_REASON: &str = "reason";

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
