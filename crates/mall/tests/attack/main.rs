//! Clients that mean harm, over raw sockets on this machine: each is bounded in what it costs, and others are served meanwhile.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test may")]

mod authorization;
mod frames;
mod gateway;
mod http2;
mod login;
mod victim;
