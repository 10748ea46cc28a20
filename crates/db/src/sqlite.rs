//! Connections to a SQLite file, whose calls run on the blocking threads.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::sql_types::BigInt;
use diesel::{Connection as _, ConnectionError, QueryResult, RunQueryDsl as _, SqliteConnection};
use diesel_async::sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper};
use diesel_migrations::MigrationHarness as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use telemetry::semconv;

use crate::driver::Driver;
use crate::migrate::{self, Borrowed};
use crate::{ConnectError, Error, Migrations};

/// A SQLite connection whose calls run on the blocking threads.
pub type AsyncSqliteConnection = SyncConnectionWrapper<SqliteConnection, Blocking>;

/// Where the file is, and how long a statement waits for another process's lock.
pub struct Settings {
    path: PathBuf,
    lock_wait: Duration,
    /// The file was there once: if it is gone, an empty one would be no help.
    known: AtomicBool,
}

impl Settings {
    pub(crate) fn new(path: &Path, lock_wait: Duration) -> Self {
        Self { path: path.to_owned(), lock_wait, known: AtomicBool::new(false) }
    }
}

thread_local! {
    static AT_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// Polls a statement that this thread is to run itself, if it is to be `at_once`: one about a single row takes less time than to
/// hand it to another thread. In WAL mode a reader waits for nobody; whoever may have to wait for a lock is not to do it here.
pub(crate) fn at_once<T>(at_once: bool, poll: impl FnOnce() -> T) -> T {
    let before = AT_ONCE.replace(at_once);
    let polled = poll();
    AT_ONCE.set(before);
    polled
}

/// Runs a statement on a blocking thread once it is awaited, or at once.
///
/// A caller that goes away does not wait for the statement, as it does with diesel-async's own: the statement runs to its
/// end unheard, and the connection is thrown away.
pub struct Blocking;

impl SpawnBlocking for Blocking {
    fn spawn_blocking<'a, R: Send + 'static>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn StdError + Send + Sync>>> {
        async {
            if AT_ONCE.get() {
                return Ok(task());
            }
            tokio::task::spawn_blocking(task).await.map_err(Box::from)
        }
        .boxed()
    }

    fn get_runtime() -> Self {
        Self
    }
}

impl Driver for AsyncSqliteConnection {
    const SYSTEM: &'static str = semconv::SQLITE;
    // A transaction that reads first and writes then fails at once if another one wrote in between.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const ONE_WRITER: bool = true;
    type Settings = Settings;

    async fn open(settings: &Settings) -> Result<Self, ConnectError> {
        let (path, lock_wait) = (settings.path.clone(), settings.lock_wait);
        let known = settings.known.load(Ordering::Relaxed);
        let opened = tokio::task::spawn_blocking(move || open(&path, known, lock_wait)).await;
        match opened.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(conn) => {
                settings.known.store(true, Ordering::Relaxed);
                Ok(Self::with_runtime(conn, Blocking))
            }
            Err(reason) => Err(ConnectError::Sqlite { path: settings.path.clone(), reason }),
        }
    }

    async fn begin(&mut self) -> QueryResult<()> {
        use diesel::connection::AnsiTransactionManager;
        self.spawn_blocking(|conn| AnsiTransactionManager::begin_transaction_sql(conn, Self::BEGIN)).await
    }

    async fn migrate(mut self, migrations: Arc<Migrations>) -> Result<Vec<String>, Error> {
        let run = self.spawn_blocking(move |conn| Ok(migrate_now(conn, &migrations)));
        run.await?.map_err(migrate::error)
    }
}

fn open(path: &Path, known: bool, lock_wait: Duration) -> Result<SqliteConnection, String> {
    let found = if known { path.metadata().map(drop) } else { create(path) };
    found.map_err(|error| error.to_string())?;
    let url = path.to_str().ok_or("the path is not UTF-8")?;
    let mut conn = SqliteConnection::establish(url).map_err(|error| match error {
        ConnectionError::BadConnection(message) => message,
        other => other.to_string(),
    })?;
    let pragmas = format!(
        "pragma busy_timeout = {}; pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = on;",
        lock_wait.as_millis()
    );
    conn.batch_execute(&pragmas).map_err(|error| error.to_string())?;
    Ok(conn)
}

/// Makes the file and its directory for the owner alone; SQLite gives its other files the same mode.
fn create(path: &Path) -> io::Result<()> {
    let (mut directory, mut file) = (DirBuilder::new(), OpenOptions::new());
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        directory.mode(0o700);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        directory.recursive(true).create(parent)?;
    }
    file.append(true).create(true).open(path).map(drop)
}

fn migrate_now(
    conn: &mut SqliteConnection,
    migrations: &Migrations,
) -> Result<Vec<String>, Box<dyn StdError + Send + Sync>> {
    // Another process may migrate for longer than a statement waits.
    conn.batch_execute("pragma busy_timeout = 60000; pragma foreign_keys = off;")?;
    conn.immediate_transaction(|conn| {
        let names = migrate::names(conn.run_pending_migrations(Borrowed(&migrations.sqlite))?);
        let dangling = sql::<BigInt>("select count(*) from pragma_foreign_key_check").get_result::<i64>(conn)?;
        if dangling > 0 { Err("a migration left rows that refer to missing ones".into()) } else { Ok(names) }
    })
}
