//! A connection that makes a span and a metric of each statement, on PostgreSQL and SQLite alike.
//!
//! Diesel's own instrumentation is not used: it prints values, loses the task on SQLite, and on PostgreSQL it does not see
//! the errors that come with the rows.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::connection::{CacheSize, Instrumentation, TransactionManagerStatus};
use diesel::query_builder::{AsQuery, QueryBuilder as _, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::{AsyncConnection, AsyncConnectionCore, SimpleAsyncConnection, TransactionManager};
use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::driver::Driver;
use crate::error::SQLITE_LOCKED;
use crate::running::{Execute, Load, Rows, Running, Turn};
use crate::statement::Call;
use crate::text::{Target, Text};

/// Where the writers of one process queue, since SQLite itself lets them race and some of them starve.
#[derive(Clone)]
pub(crate) struct Writers {
    pub(crate) queue: Arc<Semaphore>,
    pub(crate) wait: Duration,
}

/// A database connection whose statements are traced; queries are run on it with diesel-async's `RunQueryDsl`.
pub struct Connection<D> {
    inner: D,
    target: Arc<Target>,
    writers: Option<Writers>,
    /// The turn to write that an open transaction has.
    turn: Option<OwnedSemaphorePermit>,
    /// Set when a statement was abandoned or the database was lost.
    broken: Arc<AtomicBool>,
}

impl<D: Driver> Connection<D> {
    pub(crate) fn new(inner: D, target: Arc<Target>, writers: Option<Writers>) -> Self {
        Self { inner, target, writers, turn: None, broken: Arc::default() }
    }

    /// Whether it must be thrown away: closed, abandoned in a statement or in a transaction.
    pub(crate) fn is_broken(&mut self) -> bool {
        // In this order: an abandoned SQLite connection may still be in use by its thread.
        self.broken.load(Ordering::Relaxed) || self.inner.is_broken()
    }

    /// Ends at the server, too, what may still be running.
    pub(crate) fn cancel(&self, settings: &D::Settings) {
        if self.broken.load(Ordering::Relaxed) {
            self.inner.cancel(settings);
        }
    }

    fn usable(&self) -> QueryResult<()> {
        if self.broken.load(Ordering::Relaxed) { Err(DieselError::BrokenTransactionManager) } else { Ok(()) }
    }

    fn call(&self, text: Arc<Text>) -> Call {
        Call::start(&self.target, text, Arc::clone(&self.broken))
    }

    fn text<Q: QueryFragment<D::Backend> + QueryId>(&self, query: &Q) -> Arc<Text> {
        let backend = D::Backend::default();
        // The rule by which diesel keeps prepared statements.
        let id: Option<TypeId> =
            Q::query_id().filter(|_| matches!(query.is_safe_to_cache_prepared(&backend), Ok(true)));
        self.target.query(id, || {
            let mut builder = <D::Backend as diesel::backend::Backend>::QueryBuilder::default();
            // A query that cannot be written fails in a moment with a better error.
            query.to_sql(&mut builder, &backend).map(|()| builder.finish()).unwrap_or_default()
        })
    }

    /// The right to write, where the statement needs one and the connection has none.
    fn turn(&self, text: &Text) -> Option<Turn> {
        let writers = self.writers.as_ref().filter(|_| self.turn.is_none() && text.writes)?.clone();
        let turn = async move {
            match tokio::time::timeout(writers.wait, writers.queue.acquire_owned()).await {
                Ok(turn) => Ok(turn.ok()),
                Err(_) => {
                    let reason = Box::new(SQLITE_LOCKED.to_owned());
                    Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, reason))
                }
            }
        };
        Some(turn.boxed())
    }

    /// Whether a statement takes microseconds: it is about a row, and waits for no lock, as none does in a transaction that
    /// has its turn to write.
    fn at_once(&self, text: &Text) -> bool {
        text.by_key || self.turn.is_some() && text.is_of_a_row
    }

    fn depth(&mut self) -> QueryResult<u32> {
        self.usable()?;
        let depth = D::TransactionManager::transaction_manager_status_mut(&mut self.inner).transaction_depth()?;
        Ok(depth.map_or(0, u32::from))
    }
}

impl<D: Driver> SimpleAsyncConnection for Connection<D> {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.usable()?;
        let text = self.target.batch(query);
        let turn = self.turn(&text);
        let mut call = self.call(text);
        let done = async {
            if let Some(turn) = turn {
                call.turn = turn.await?;
            }
            self.inner.batch_execute(query).await
        };
        let done = done.await;
        call.finish(done.as_ref().err());
        done
    }
}

impl<D: Driver> AsyncConnectionCore for Connection<D> {
    type ExecuteFuture<'conn, 'query> = Execute<D::ExecuteFuture<'conn, 'query>>;
    type LoadFuture<'conn, 'query> = Load<D::LoadFuture<'conn, 'query>>;
    type Stream<'conn, 'query> = Rows<D::Stream<'conn, 'query>>;
    type Row<'conn, 'query> = D::Row<'conn, 'query>;
    type Backend = D::Backend;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        let query = source.as_query();
        let text = self.text(&query);
        let turn = self.turn(&text);
        let at_once = self.at_once(&text);
        let call = self.call(text);
        let inner = self.usable().is_ok().then(|| self.inner.load(query));
        Load { running: Running::new(inner, turn, call, at_once) }
    }

    fn execute_returning_count<'conn, 'query, T>(&'conn mut self, source: T) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        let text = self.text(&source);
        let turn = self.turn(&text);
        let at_once = self.at_once(&text);
        let call = self.call(text);
        let inner = self.usable().is_ok().then(|| self.inner.execute_returning_count(source));
        Execute { running: Running::new(inner, turn, call, at_once) }
    }
}

impl<D: Driver> AsyncConnection for Connection<D> {
    type TransactionManager = Transactions<D>;

    async fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::BadConnection("a connection comes from a pool".to_owned()))
    }

    fn transaction_state(&mut self) -> &mut <D::TransactionManager as TransactionManager<D>>::TransactionStateData {
        self.inner.transaction_state()
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.inner.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.inner.set_instrumentation(instrumentation);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.inner.set_prepared_statement_cache_size(size);
    }
}

/// Begins, commits and rolls back; each is a span like any statement.
pub struct Transactions<D>(PhantomData<D>);

impl<D: Driver> TransactionManager<Connection<D>> for Transactions<D> {
    type TransactionStateData = <D::TransactionManager as TransactionManager<D>>::TransactionStateData;

    async fn begin_transaction(conn: &mut Connection<D>) -> QueryResult<()> {
        let outer = conn.depth()? == 0;
        let text = conn.target.word(if outer { D::BEGIN } else { "SAVEPOINT" });
        let turn = conn.turn(&text);
        let mut call = conn.call(text);
        let begun = async {
            if let Some(turn) = turn {
                call.turn = turn.await?;
            }
            if outer {
                conn.inner.begin().await
            } else {
                D::TransactionManager::begin_transaction(&mut conn.inner).await
            }
        };
        let begun = begun.await;
        if begun.is_ok() && outer {
            conn.turn = call.turn.take();
        }
        call.finish(begun.as_ref().err());
        begun
    }

    async fn commit_transaction(conn: &mut Connection<D>) -> QueryResult<()> {
        let outer = conn.depth()? <= 1;
        let call = conn.call(conn.target.word(if outer { "COMMIT" } else { "RELEASE SAVEPOINT" }));
        let done = D::TransactionManager::commit_transaction(&mut conn.inner).await;
        call.finish(done.as_ref().err());
        if outer {
            conn.turn = None;
        }
        done
    }

    async fn rollback_transaction(conn: &mut Connection<D>) -> QueryResult<()> {
        let outer = conn.depth()? <= 1;
        let call = conn.call(conn.target.word(if outer { "ROLLBACK" } else { "ROLLBACK TO SAVEPOINT" }));
        let done = D::TransactionManager::rollback_transaction(&mut conn.inner).await;
        call.finish(done.as_ref().err());
        if outer {
            conn.turn = None;
        }
        done
    }

    fn transaction_manager_status_mut(conn: &mut Connection<D>) -> &mut TransactionManagerStatus {
        D::TransactionManager::transaction_manager_status_mut(&mut conn.inner)
    }
}
