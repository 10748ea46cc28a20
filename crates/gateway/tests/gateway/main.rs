//! The gateway over real sockets, in front of a real gRPC service.

mod docs;
mod drain;
mod errors;
mod headers;
mod input;
mod limits;
mod slow;
mod support;
mod trace;
