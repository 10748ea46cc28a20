//! The pool on real databases: queries, waiting, failure and recovery, migrations, TLS, spans.

mod accounts;
mod errors;
mod migrations;
mod pool;
mod recovery;
mod spans;
mod sqlite;
mod tls;
