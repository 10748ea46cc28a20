//! The pool: bounded in connections and in the time a caller waits.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use diesel_async::AsyncPgConnection;
use telemetry::{Context, KeyValue, Span, SpanKind, semconv};
use tokio::sync::Semaphore;

use crate::connection::{Connection, Writers};
use crate::driver::Driver;
use crate::metrics::Waits;
use crate::sqlite::{self, AsyncSqliteConnection};
use crate::text::Target;
use crate::{ConnectError, Error, Migrations, PoolConfig, Url};
use crate::{metrics, migrate, postgres, url};

/// A wait that is longer than this has a span.
const LONG_WAIT: Duration = Duration::from_millis(1);

/// A pool over whichever database the URL names; used through `with_conn!` and `in_transaction!`.
#[derive(Clone)]
pub enum Pool {
    /// `postgres://..`
    Postgres(Connections<AsyncPgConnection>),
    /// `sqlite:PATH`
    Sqlite(Connections<AsyncSqliteConnection>),
}

impl Pool {
    /// A pool of connections to the database at `url`; connects when first used.
    pub fn new(url: &Url, config: &PoolConfig) -> Result<Self, Error> {
        Ok(match &url.0 {
            url::Target::Postgres(settings) => Self::Postgres(Connections::new(
                url,
                config,
                postgres::Settings::new(settings, config.statement_timeout)?,
            )?),
            url::Target::Sqlite(path) => {
                let settings = sqlite::Settings::new(path, config.wait / 2);
                Self::Sqlite(Connections::new(url, config, settings)?)
            }
        })
    }

    /// Brings the schema to the newest version; waits for whoever else does so at the same time.
    pub async fn migrate(&self, migrations: impl Into<Arc<Migrations>>) -> Result<(), Error> {
        let migrations = migrations.into();
        let done = match self {
            Self::Postgres(pool) => pool.open().await?.migrate(migrations).await?,
            Self::Sqlite(pool) => pool.open().await?.migrate(migrations).await?,
        };
        for version in done {
            tracing::info!(version, "migrated the database");
        }
        Ok(())
    }

    /// The names of the migrations that the schema lacks. What it has beyond them is a newer binary's, and no concern of
    /// this one's.
    pub async fn pending(&self, migrations: &Migrations) -> Result<Vec<String>, Error> {
        migrate::pending(self, migrations).await
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = match self {
            Self::Postgres(pool) => &pool.shared.target.namespace,
            Self::Sqlite(pool) => &pool.shared.target.namespace,
        };
        write!(f, "Pool({namespace})")
    }
}

/// The connections to one database.
pub struct Connections<D: Driver> {
    pool: managed::Pool<Source<D>>,
    shared: Arc<Shared<D>>,
}

impl<D: Driver> Clone for Connections<D> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), shared: Arc::clone(&self.shared) }
    }
}

struct Shared<D: Driver> {
    settings: D::Settings,
    target: Arc<Target>,
    writers: Option<Writers>,
    wait: Duration,
    waits: Waits,
}

impl<D: Driver> Connections<D> {
    fn new(url: &Url, config: &PoolConfig, settings: D::Settings) -> Result<Self, Error> {
        let target = Target::new(D::SYSTEM, url.namespace(), url.server());
        let label = KeyValue::new(semconv::DB_CLIENT_CONNECTION_POOL_NAME, target.namespace.clone());
        let writers = D::ONE_WRITER.then(|| Writers { queue: Arc::new(Semaphore::new(1)), wait: config.wait / 2 });
        let shared = Arc::new(Shared {
            settings,
            target: Arc::new(target),
            writers,
            wait: config.wait,
            waits: Waits::new(label),
        });
        let pool = managed::Pool::builder(Source(Arc::clone(&shared))).max_size(config.size.get()).build()?;
        metrics::observe(&pool, shared.waits.label());
        Ok(Self { pool, shared })
    }

    /// A connection, waited for in turn.
    pub async fn get(&self) -> Result<Guard<D>, Error> {
        let mut get = std::pin::pin!(tokio::time::timeout(self.shared.wait, self.pool.get()));
        let wait = Wait::start(&self.shared.waits);
        let got = match std::future::poll_fn(|cx| Poll::Ready(get.as_mut().poll(cx))).await {
            // Whatever else took time: it was not waited for.
            Poll::Ready(got) => wait.end(Duration::ZERO, got),
            Poll::Pending => {
                let got = get.await;
                let took = wait.started.elapsed();
                wait.end(took, got)
            }
        };
        match got {
            Ok(Ok(object)) => Ok(Guard(Some(object))),
            Ok(Err(error)) => Err(self.error(error)),
            Err(_) => {
                self.shared.waits.count_timeout();
                Err(Error::Busy(self.shared.wait))
            }
        }
    }

    fn error(&self, error: managed::PoolError<ConnectError>) -> Error {
        match error {
            managed::PoolError::Backend(error) => Error::Connect(error),
            _ => Error::Busy(self.shared.wait),
        }
    }

    /// A connection of its own, outside the pool.
    async fn open(&self) -> Result<D, Error> {
        D::open(&self.shared.settings).await.map_err(Error::Connect)
    }
}

/// A caller that may wait, and is measured when that ends: also the one that goes away before.
struct Wait<'a> {
    waits: &'a Waits,
    /// What it is part of: nothing is current any more for a caller that goes away.
    context: Context,
    started: Instant,
    ended: bool,
}

impl<'a> Wait<'a> {
    fn start(waits: &'a Waits) -> Self {
        Self { waits, context: Context::current(), started: Instant::now(), ended: false }
    }

    /// Passes on what was waited for.
    fn end<T, E, L>(mut self, took: Duration, got: Result<Result<T, E>, L>) -> Result<Result<T, E>, L> {
        let failure = match &got {
            Ok(Ok(_)) => None,
            Ok(Err(_)) => Some("connect"),
            Err(_) => Some("timeout"),
        };
        self.record(took, failure);
        got
    }

    /// All that has a span is measured to have been long, and nothing else is.
    fn record(&mut self, took: Duration, failure: Option<&'static str>) {
        self.ended = true;
        self.waits.record(took);
        if took > LONG_WAIT {
            let span = Span::start_before(&self.context, SpanKind::Internal, semconv::DB_WAIT, took);
            if let Some(failure) = failure {
                span.fail(failure);
            }
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.record(self.started.elapsed(), Some("cancelled"));
        }
    }
}

/// What makes connections for deadpool.
struct Source<D: Driver>(Arc<Shared<D>>);

impl<D: Driver> managed::Manager for Source<D> {
    /// In a box, for it is moved several times each time that it is lent.
    type Type = Box<Connection<D>>;
    type Error = ConnectError;

    async fn create(&self) -> Result<Box<Connection<D>>, ConnectError> {
        // In a box, or the future of every statement has room for it twice: ten kilobytes in place of one.
        let inner = Box::pin(D::open(&self.0.settings)).await?;
        Ok(Box::new(Connection::new(inner, Arc::clone(&self.0.target), self.0.writers.clone())))
    }

    async fn recycle(&self, conn: &mut Box<Connection<D>>, _: &Metrics) -> RecycleResult<ConnectError> {
        // The server may have closed it while it was idle.
        if conn.is_broken() { Err(RecycleError::message("the connection is broken")) } else { Ok(()) }
    }
}

/// A connection on loan from the pool.
pub struct Guard<D: Driver>(Option<Object<Source<D>>>);

impl<D: Driver> Deref for Guard<D> {
    type Target = Connection<D>;

    fn deref(&self) -> &Connection<D> {
        self.0.as_ref().expect("only drop takes the connection")
    }
}

impl<D: Driver> DerefMut for Guard<D> {
    fn deref_mut(&mut self) -> &mut Connection<D> {
        self.0.as_mut().expect("only drop takes the connection")
    }
}

impl<D: Driver> Drop for Guard<D> {
    fn drop(&mut self) {
        // At once, and not when it is used next: an open transaction would keep its locks until then.
        if let Some(mut object) = self.0.take()
            && object.is_broken()
        {
            if let Some(pool) = Object::pool(&object) {
                object.cancel(&pool.manager().0.settings);
            }
            drop(Object::take(object));
        }
    }
}
