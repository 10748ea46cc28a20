//! The order service over real tonic and a real product.rpc, on SQLite and on PostgreSQL: one body for both.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod create;
mod lists;
mod recovery;
mod states;
mod support;
