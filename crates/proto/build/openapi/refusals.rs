//! What a call may be answered in place of a message, by HTTP status.
//!
//! Three sources say which: the gateway itself for every call, `mall.access.v1.allow`, and the comment of a method, which
//! names the gRPC codes that are its own (`NotFound when ..`). What is left is an operation's `default`.

use rest_over_grpc::handling::Code;
use serde_json::{Map, Value, json};

/// HTTP status, name, and what it says.
const REFUSALS: [(u16, &str, &str); 12] = [
    (
        400,
        "BadRequest",
        "The request is malformed, breaks a rule of a field, which `details` name, or has to wait for another state.",
    ),
    (401, "Unauthenticated", "The token, or what else says who calls, is missing, wrong or has ended."),
    (403, "PermissionDenied", "The token is good, but its owner may not do this."),
    (404, "NotFound", "What the request names is not there, or not for this caller."),
    (408, "RequestTimeout", "The request's body took too long to arrive."),
    (409, "Conflict", "What the request would make is there already, or another request came between."),
    (413, "ContentTooLarge", "The request's body is too large."),
    (415, "UnsupportedMediaType", "The request's body is not JSON in UTF-8, or is compressed otherwise than by gzip."),
    (429, "TooManyRequests", "Too many tries, or too many calls at one time; `retry-after` says when to try again."),
    (431, "RequestHeaderFieldsTooLarge", "The path and headers are too long, or there are too many."),
    (503, "Unavailable", "The service has too much to do or cannot be reached; try again."),
    (504, "DeadlineExceeded", "The call took longer than it may."),
];

/// What any call may come to, whatever it is.
const OF_ALL: [u16; 5] = [400, 429, 431, 503, 504];

/// What may come of sending a body.
const OF_BODIES: [u16; 3] = [408, 413, 415];

/// What may come of having to say who calls.
const OF_TOKENS: [u16; 2] = [401, 403];

/// The refusals of a method, to be named by its `responses`.
pub(super) fn of(comment: &str, has_body: bool, public: bool) -> impl Iterator<Item = (String, Value)> {
    let named: Vec<_> = named(comment).collect();
    let refused = move |status: &u16| {
        OF_ALL.contains(status)
            || (has_body && OF_BODIES.contains(status))
            || (!public && OF_TOKENS.contains(status))
            || named.contains(status)
    };
    REFUSALS
        .iter()
        .filter(move |(status, ..)| refused(status))
        .map(|(status, name, _)| (status.to_string(), json!({ "$ref": format!("#/components/responses/{name}") })))
}

/// All refusals, for the document's `components`.
pub(super) fn all() -> Map<String, Value> {
    let schema = json!({ "$ref": "#/components/schemas/google.rpc.Status" });
    let response =
        |description| json!({ "description": description, "content": { "application/json": { "schema": schema } } });
    REFUSALS.iter().map(|(_, name, description)| ((*name).to_owned(), response(*description))).collect()
}

/// The HTTP statuses of the gRPC codes that a comment names, as `NotFound`.
fn named(comment: &str) -> impl Iterator<Item = u16> {
    let codes = (0..).map_while(Code::from_i32);
    let is_named = |code: &Code| {
        let name = format!("{code:?}");
        comment.split(|c: char| !c.is_alphanumeric()).any(|word| word == name)
    };
    codes.filter(is_named).map(|code| code.to_http_status().as_u16())
}
