//! The chassis and the channel over real connections.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod balance;
mod chassis;
mod failing;
mod overload;
mod stopping;
mod tls;
mod told;
