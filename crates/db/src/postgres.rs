//! Connections to PostgreSQL.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use diesel::QueryResult;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _, TransactionManager as _,
};
use diesel_migrations::MigrationHarness as _;
use telemetry::semconv;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::driver::Driver;
use crate::migrate::{self, Borrowed};
use crate::url::Postgres;
use crate::{ConnectError, Error, Migrations, QueryError};

/// Whoever migrates a database of mall holds this lock in it.
const MIGRATION_LOCK: i64 = 0x6d61_6c6c;
/// How often a locked database is tried again.
const MIGRATION_RETRY: Duration = Duration::from_millis(100);

/// How long it may take to cancel a statement.
const CANCEL: Duration = Duration::from_secs(5);

/// How long a server may take to accept a connection, unless the URL says otherwise. A packet that was lost, TCP sends again
/// after a second, when whoever waits for the connection has given up; another connection is there sooner.
const ACCEPT: Duration = Duration::from_millis(300);
/// How it is tried again.
const AGAIN: ConstantBuilder = ConstantBuilder::new().with_delay(Duration::ZERO).with_max_times(2);

/// Where the server is, and how to trust it.
pub struct Settings {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    /// What is said to a new connection.
    limits: String,
}

impl Settings {
    pub(crate) fn new(url: &Postgres, statement_timeout: Duration) -> Result<Self, Error> {
        let mut config = url.config.clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(ACCEPT);
        }
        // PostgreSQL takes no more than an `int4` of milliseconds, and 0 for none.
        let millis = i32::try_from(statement_timeout.as_millis()).ok().filter(|millis| *millis > 0);
        let millis = millis.ok_or(Error::StatementTimeout(statement_timeout))?;
        let limits = format!("set statement_timeout = {millis}; set idle_in_transaction_session_timeout = {millis}");
        Ok(Self { config, tls: url.tls.connector()?, limits })
    }
}

impl Driver for AsyncPgConnection {
    const SYSTEM: &'static str = semconv::POSTGRESQL;
    const BEGIN: &'static str = "BEGIN";
    const ONE_WRITER: bool = false;
    type Settings = Settings;

    async fn open(settings: &Settings) -> Result<Self, ConnectError> {
        let connect = || settings.config.connect(settings.tls.clone());
        let (client, connection) = connect.retry(AGAIN).when(was_not_accepted).await?;
        let mut opened = Self::try_from_client_and_connection(client, connection).await.map_err(|error| match error {
            diesel::ConnectionError::CouldntSetupConfiguration(error) => error,
            _ => diesel::result::Error::BrokenTransactionManager,
        });
        if let Ok(conn) = &mut opened
            && let Err(error) = conn.batch_execute(&settings.limits).await
        {
            opened = Err(error);
        }
        opened.map_err(|error| ConnectError::Prepare(QueryError::new(&error)))
    }

    async fn begin(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction(self).await
    }

    fn cancel(&self, settings: &Settings) {
        let (token, tls) = (self.cancel_token(), settings.tls.clone());
        // Without a runtime the process is about to end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // There is nobody to tell if it fails: the statement then runs to its end.
            runtime.spawn(async move { tokio::time::timeout(CANCEL, token.cancel_query(tls)).await });
        }
    }

    async fn migrate(mut self, migrations: Arc<Migrations>) -> Result<Vec<String>, Error> {
        // A migration takes the time it takes.
        self.batch_execute("reset statement_timeout; reset idle_in_transaction_session_timeout").await?;
        // Not `pg_advisory_lock`: a statement that waits would keep `create index concurrently` of the holder waiting.
        let mut told = false;
        while !try_lock(&mut self).await? {
            if !told {
                tracing::info!("another process migrates this database, waiting for it");
                told = true;
            }
            tokio::time::sleep(MIGRATION_RETRY).await;
        }
        // The lock goes with the connection.
        let run = tokio::task::spawn_blocking(move || {
            let mut conn = AsyncConnectionWrapper::<Self>::from(self);
            conn.run_pending_migrations(Borrowed(&migrations.postgres)).map(migrate::names).map_err(migrate::error)
        });
        run.await.map_err(|error| Error::Migrate(error.into()))?
    }
}

fn was_not_accepted(error: &tokio_postgres::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

async fn try_lock(conn: &mut AsyncPgConnection) -> Result<bool, Error> {
    diesel::define_sql_function! { fn pg_try_advisory_lock(key: diesel::sql_types::BigInt) -> diesel::sql_types::Bool; }
    Ok(diesel::select(pg_try_advisory_lock(MIGRATION_LOCK)).get_result(conn).await?)
}
