//! One pool over PostgreSQL or SQLite, whose queries are written once and traced.
//!
//! A query is the body of [`with_conn!`], several that belong together are the body of [`in_transaction!`].
//! Each statement is a client span under the current one, with its text and never its values.
#![warn(missing_docs)]

mod config;
mod connection;
mod driver;
mod error;
mod metrics;
mod migrate;
mod pool;
mod postgres;
mod running;
mod skip_locked;
mod sqlite;
mod statement;
mod text;
mod tls;
mod url;

pub use config::PoolConfig;
pub use connection::Connection;
pub use driver::Driver;
pub use error::{ConnectError, Error, QueryError};
pub use migrate::Migrations;
pub use pool::{Connections, Guard, Pool};
pub use skip_locked::SkipLocked;
pub use sqlite::AsyncSqliteConnection;
pub use url::{Url, UrlError};

#[doc(hidden)]
pub mod __private {
    pub use diesel_async::AsyncConnection;
}

/// Runs `$body` with `$conn` a connection from `$pool`: the body is expanded once for each database.
///
/// The enclosing function's error is made from [`Error`] and from diesel's error.
///
/// ```ignore
/// let row: Option<Row> = with_conn!(self.pool, conn => {
///     users::table.find(id).select(Row::as_select()).get_result(&mut conn).await.optional()?
/// });
/// ```
///
/// A row is asked for by its key with `get_result`: `first` adds a LIMIT, which SQLite's planner looks at, so that it parses
/// the statement anew each time.
#[macro_export]
macro_rules! with_conn {
    ($pool:expr, $conn:ident => $body:expr) => {
        match &$pool {
            $crate::Pool::Postgres(pool) => {
                let mut $conn = pool.get().await?;
                $body
            }
            $crate::Pool::Sqlite(pool) => {
                let mut $conn = pool.get().await?;
                $body
            }
        }
    };
}

/// Like [`with_conn!`], in one transaction that commits on `Ok` and rolls back on `Err`.
///
/// SQLite takes its write lock at the start: a read that becomes a write would fail at once under contention.
///
/// ```ignore
/// in_transaction!(self.pool, conn => {
///     diesel::update(from).set(balance.eq(balance - 5)).execute(conn).await?;
///     diesel::update(to).set(balance.eq(balance + 5)).execute(conn).await?;
///     Ok(())
/// })
/// ```
#[macro_export]
macro_rules! in_transaction {
    ($pool:expr, $conn:ident => $body:block) => {
        match &$pool {
            $crate::Pool::Postgres(pool) => {
                let mut conn = pool.get().await?;
                $crate::__private::AsyncConnection::transaction(&mut *conn, async |$conn| $body).await
            }
            $crate::Pool::Sqlite(pool) => {
                let mut conn = pool.get().await?;
                $crate::__private::AsyncConnection::transaction(&mut *conn, async |$conn| $body).await
            }
        }
    };
}
