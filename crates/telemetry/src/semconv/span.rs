//! The spans: what each stands for, and its attributes.

use opentelemetry::trace::SpanKind;

use super::attribute::*;

/// A kind of span that mall makes.
#[derive(Clone, Debug)]
pub struct Span {
    /// What its name is made of; a word in braces stands for an attribute's value.
    pub name: &'static str,
    /// Its kind.
    pub kind: SpanKind,
    /// The keys that every such span has.
    pub required: &'static [&'static str],
    /// The keys that some have.
    pub optional: &'static [&'static str],
    /// When its status is an error; it is unset otherwise.
    pub error: &'static str,
    /// What it stands for.
    pub about: &'static str,
}

/// Every kind of span.
pub const ALL: &[Span] = &[
    Span {
        name: "{http.request.method} {http.route}",
        kind: SpanKind::Server,
        required: &[HTTP_REQUEST_METHOD, URL_SCHEME, NETWORK_PROTOCOL_VERSION],
        optional: &[HTTP_ROUTE, URL_PATH, HTTP_RESPONSE_STATUS_CODE, ERROR_TYPE, DEBUG],
        error: "a status of 500 or more; `broken`: the answer broke off; `cancelled`: the client went away",
        about: "A request to a REST API, from its head to the end of the answer. Without a route its name is the method \
                alone.",
    },
    Span {
        name: "{rpc.method}",
        kind: SpanKind::Server,
        required: &[RPC_SYSTEM_NAME, RPC_METHOD, RPC_RESPONSE_STATUS_CODE],
        optional: &[SERVER_ADDRESS, SERVER_PORT, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT, ERROR_TYPE, DEBUG, FAULT],
        error: "UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS: the server's faults",
        about: "A gRPC call that a service answers. Its name is `unknown` where the service has no such method.",
    },
    Span {
        name: "{rpc.method}",
        kind: SpanKind::Client,
        required: &[RPC_SYSTEM_NAME, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, SERVER_ADDRESS],
        optional: &[SERVER_PORT, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT, HTTP_REQUEST_RESEND_COUNT, ERROR_TYPE],
        error: "every code but OK",
        about: "A gRPC call to a peer, as its caller sees it: one span, however many endpoints were tried.",
    },
    Span {
        name: "{db.query.summary}",
        kind: SpanKind::Client,
        required: &[DB_SYSTEM_NAME, DB_NAMESPACE, DB_OPERATION_NAME, DB_QUERY_SUMMARY],
        optional: &[
            DB_QUERY_TEXT,
            DB_COLLECTION_NAME,
            SERVER_ADDRESS,
            SERVER_PORT,
            DB_RESPONSE_STATUS_CODE,
            ERROR_TYPE,
        ],
        error: "any failure; `cancelled`: nobody waited for the answer any more",
        about: "One statement, to its last row.",
    },
    Span {
        name: super::DB_WAIT,
        kind: SpanKind::Internal,
        required: &[],
        optional: &[ERROR_TYPE],
        error: "`timeout`, `connect`; `cancelled`: nobody waited for it any more",
        about: "The wait for a connection of the pool, where it takes more than a millisecond.",
    },
    Span {
        name: "order recovery",
        kind: SpanKind::Internal,
        required: &[],
        optional: &[ERROR_TYPE],
        error: "`timeout`, `unfinished`",
        about: "order.rpc takes an order further that a crash or an absent peer left. The root of a trace of its own, linked \
                to the span that began the order.",
    },
    Span {
        name: "payment recovery",
        kind: SpanKind::Internal,
        required: &[],
        optional: &[ERROR_TYPE],
        error: "`timeout`, `unfinished`",
        about: "pay.rpc tells order.rpc of a payment that it could not tell before. The root of a trace of its own, linked \
                to the span that settled the payment.",
    },
];
