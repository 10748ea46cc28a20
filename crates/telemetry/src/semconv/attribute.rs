//! The keys of attributes, and what each tells.

pub use opentelemetry_semantic_conventions::attribute::{
    CPU_MODE, DB_CLIENT_CONNECTION_POOL_NAME, DB_CLIENT_CONNECTION_STATE, DB_COLLECTION_NAME, DB_NAMESPACE,
    DB_OPERATION_NAME, DB_QUERY_SUMMARY, DB_QUERY_TEXT, DB_RESPONSE_STATUS_CODE, DB_SYSTEM_NAME, ERROR_TYPE, HOST_NAME,
    HTTP_REQUEST_METHOD, HTTP_REQUEST_RESEND_COUNT, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PEER_ADDRESS,
    NETWORK_PEER_PORT, NETWORK_PROTOCOL_VERSION, PROCESS_PID, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, RPC_SYSTEM_NAME,
    SERVER_ADDRESS, SERVER_PORT, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, TELEMETRY_SDK_LANGUAGE,
    TELEMETRY_SDK_NAME, TELEMETRY_SDK_VERSION, URL_PATH, URL_SCHEME,
};

/// Why something was dropped or refused; the metric says which reasons there are.
pub const REASON: &str = "reason";
/// How something ended; the metric says which ends there are.
pub const RESULT: &str = "result";
/// What kind of work it is: the name of its spans.
pub const RECOVERY_KIND: &str = "kind";
/// The state that an order came into.
pub const ORDER_STATE: &str = "state";
/// The trace was asked for by `debug` in the baggage, so that whoever samples later keeps it.
pub const DEBUG: &str = "mall.debug";
/// The fault that the caller asked for and that was made here.
pub const FAULT: &str = "mall.fault";

/// The attributes of the resource: of the process that everything else comes from.
pub const RESOURCE: &[&str] = &[
    SERVICE_NAME,
    SERVICE_VERSION,
    SERVICE_INSTANCE_ID,
    HOST_NAME,
    PROCESS_PID,
    TELEMETRY_SDK_LANGUAGE,
    TELEMETRY_SDK_NAME,
    TELEMETRY_SDK_VERSION,
];

/// Every attribute with what it tells.
pub const ALL: &[(&str, &str)] = &[
    (CPU_MODE, "`user` or `system`"),
    (DB_CLIENT_CONNECTION_POOL_NAME, "the database that the pool's connections lead to"),
    (DB_CLIENT_CONNECTION_STATE, "`used` or `idle`"),
    (DB_COLLECTION_NAME, "the table"),
    (DB_NAMESPACE, "the database"),
    (DB_OPERATION_NAME, "`SELECT`, `INSERT`, `UPDATE`, ..; several statements begin with `BATCH`"),
    (DB_QUERY_SUMMARY, "the operation and its table"),
    (DB_QUERY_TEXT, "the statement, with `?` or `$1` in place of every value"),
    (DB_RESPONSE_STATUS_CODE, "PostgreSQL's SQLSTATE of a failure"),
    (DB_SYSTEM_NAME, "`postgresql` or `sqlite`"),
    (DEBUG, "`true` on the first span that each process has of a trace which `debug` in the baggage asked for"),
    (ERROR_TYPE, "what went wrong, one word of a bounded set; absent where nothing did"),
    (FAULT, "the fault that `fault` in the baggage asked for and that was made here"),
    (HOST_NAME, "the machine or container"),
    (HTTP_REQUEST_METHOD, "`GET`, `POST`, ..; `_OTHER` for one that no standard knows"),
    (HTTP_REQUEST_RESEND_COUNT, "how often the call was sent again, to another endpoint; absent where it was not"),
    (HTTP_RESPONSE_STATUS_CODE, "the status; absent where the client went away before there was one"),
    (HTTP_ROUTE, "the template of the path; absent where no route fits"),
    (NETWORK_PEER_ADDRESS, "the address of the other end of the connection"),
    (NETWORK_PEER_PORT, "its port"),
    (NETWORK_PROTOCOL_VERSION, "`1.0`, `1.1` or `2`"),
    (ORDER_STATE, "the state that an order came into"),
    (PROCESS_PID, "the process id"),
    (REASON, "why it was dropped or refused"),
    (RECOVERY_KIND, "`order recovery` or `payment recovery`"),
    (RESULT, "how it ended"),
    (RPC_METHOD, "`package.Service/Method`; `_OTHER` for one that the server has not"),
    (RPC_RESPONSE_STATUS_CODE, "the gRPC code by its name; `CANCELLED` as well where the caller went away"),
    (RPC_SYSTEM_NAME, "`grpc`"),
    (SERVER_ADDRESS, "the server that is called, or the address at which it was reached"),
    (SERVER_PORT, "its port"),
    (SERVICE_INSTANCE_ID, "a random UUID of this process"),
    (SERVICE_NAME, "`user.api`, `user.rpc`, .."),
    (SERVICE_VERSION, "mall's version"),
    (TELEMETRY_SDK_LANGUAGE, "`rust`"),
    (TELEMETRY_SDK_NAME, "`opentelemetry`"),
    (TELEMETRY_SDK_VERSION, "the version of OpenTelemetry's crates"),
    (URL_PATH, "the path, at most 256 characters of it; only of a request that succeeded"),
    (URL_SCHEME, "`http` or `https`"),
];
