//! The gateway over real sockets, in front of a real gRPC service.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test may")]

mod docs;
mod drain;
mod errors;
mod headers;
mod input;
mod limits;
mod slow;
mod support;
mod tls;
mod trace;
