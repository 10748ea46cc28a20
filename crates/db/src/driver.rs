//! What PostgreSQL and SQLite do differently, below the traced connection.

use std::future::Future;
use std::sync::Arc;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel_async::pooled_connection::PoolableConnection;

use crate::{ConnectError, Error, Migrations};

/// A database's own connection; the two implementations are all there are.
pub trait Driver: PoolableConnection<Backend: Backend<QueryBuilder: Default> + Default> + 'static {
    /// The database's name in spans and metrics.
    #[doc(hidden)]
    const SYSTEM: &'static str;
    /// The statement that begins a transaction.
    #[doc(hidden)]
    const BEGIN: &'static str;
    /// Whether writers take turns.
    #[doc(hidden)]
    const ONE_WRITER: bool;
    /// What is needed to make a connection.
    #[doc(hidden)]
    type Settings: Send + Sync + 'static;

    #[doc(hidden)]
    fn open(settings: &Self::Settings) -> impl Future<Output = Result<Self, ConnectError>> + Send;

    /// Begins a transaction that can write; the connection is in none.
    #[doc(hidden)]
    fn begin(&mut self) -> impl Future<Output = QueryResult<()>> + Send;

    /// Ends the running statement, which goes on when only the connection is closed; needs not be waited for.
    #[doc(hidden)]
    fn cancel(&self, _: &Self::Settings) {}

    /// Runs what is pending of `migrations`, while nobody else does; answers the versions.
    #[doc(hidden)]
    fn migrate(self, migrations: Arc<Migrations>) -> impl Future<Output = Result<Vec<String>, Error>> + Send;
}
