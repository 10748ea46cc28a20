//! The pool on real databases: queries, waiting, failure and recovery, migrations, TLS, spans.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may what it calls")]

mod accounts;
mod errors;
mod migrations;
mod pool;
mod recovery;
mod spans;
mod sqlite;
mod tls;
