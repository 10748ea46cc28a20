//! A database of its own for each test: a SQLite file and a PostgreSQL database, with the same test body.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use db::{Migrations, Pool, PoolConfig};
use diesel::migration::{Migration, MigrationSource as _};
use diesel::pg::Pg;
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

use crate::requirement;

mod server;

pub use server::Server;

/// A migrated database that nobody else uses.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its connections.
    pub pool: Pool,
    /// Its URL, for a service that makes its own.
    pub url: String,
}

impl Database {
    fn new(url: String) -> Self {
        let parsed = url.parse().expect("a database URL of our own");
        // A busy test machine must not look like a busy pool.
        let patient = PoolConfig { wait: Duration::from_secs(30), ..PoolConfig::default() };
        let pool = Pool::new(&parsed, &patient).expect("a pool");
        Self { pool, url }
    }

    /// Whether it is PostgreSQL, for what cannot be the same.
    pub fn is_postgres(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }
}

/// Runs `test` on SQLite, then on PostgreSQL, each migrated; without PostgreSQL see [`requirement::missing`].
///
/// # Panics
///
/// Panics if a database cannot be made.
pub async fn on_each(migrations: impl Into<Arc<Migrations>>, test: impl AsyncFn(Database)) {
    let migrations = migrations.into();
    eprintln!("on SQLite");
    on_sqlite(Arc::clone(&migrations), &test).await;
    eprintln!("on PostgreSQL");
    on_postgres(migrations, &test).await;
}

/// Runs `test` on SQLite alone.
///
/// # Panics
///
/// Panics if the database cannot be made.
pub async fn on_sqlite(migrations: impl Into<Arc<Migrations>>, test: impl AsyncFn(Database)) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let directory = TempDir::new().expect("a temporary directory");
    // Metrics know a database by the name of its file alone.
    let file = format!("test{}.db", NUMBER.fetch_add(1, Ordering::Relaxed));
    let database = Database::new(format!("sqlite:{}", directory.path().join(file).display()));
    database.pool.migrate(migrations).await.expect("migrate SQLite");
    test(database).await;
}

/// Runs `test` on PostgreSQL alone, if there is one.
///
/// # Panics
///
/// Panics if the database cannot be made.
pub async fn on_postgres(migrations: impl Into<Arc<Migrations>>, test: impl AsyncFn(Database)) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let server = match shared().await {
        Ok(server) => server,
        Err(why) => return requirement::missing("postgres", why),
    };
    let template = template(server, &migrations.into()).await;
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    administer(server, &format!("create database {name} template {template}")).await;
    test(Database::new(server.url(&name))).await;
    // A test that fails leaves its database to the end of the process.
    administer(server, &format!("drop database {name} with (force)")).await;
}

/// The server of this test process; it ends with the process.
async fn shared() -> Result<&'static Server, &'static str> {
    static SERVER: OnceCell<Result<Server, String>> = OnceCell::const_new();
    let start = || async {
        tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap_or_else(|error| Err(error.to_string()))
    };
    SERVER.get_or_init(start).await.as_ref().map_err(String::as_str)
}

/// A database that has been migrated once, and is copied for each test.
async fn template(server: &Server, migrations: &Arc<Migrations>) -> String {
    static MADE: Mutex<BTreeSet<String>> = Mutex::const_new(BTreeSet::new());
    let name = format!("template_{:x}", fingerprint(migrations));
    let mut made = MADE.lock().await;
    if !made.contains(&name) {
        administer(server, &format!("create database {name}")).await;
        let database = Database::new(server.url(&name));
        database.pool.migrate(Arc::clone(migrations)).await.expect("migrate PostgreSQL");
        made.insert(name.clone());
    }
    name
}

fn fingerprint(migrations: &Migrations) -> u64 {
    let mut hasher = DefaultHasher::new();
    let migrations: Vec<Box<dyn Migration<Pg>>> = migrations.postgres.migrations().expect("embedded migrations");
    migrations.iter().for_each(|migration| migration.name().to_string().hash(&mut hasher));
    hasher.finish()
}

async fn administer(server: &Server, statement: &str) {
    let run = async || -> Result<(), db::Error> {
        db::with_conn!(Database::new(server.url("postgres")).pool, conn => conn.batch_execute(statement).await?);
        Ok(())
    };
    run().await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
}

/// How the database would find what `query` asks for, in its own words, whatever its parameters `$1` and so on are;
/// PostgreSQL as if the tables were large.
///
/// # Panics
///
/// Panics if there is no such query.
pub async fn plan(database: &Database, query: &str) -> String {
    #[derive(QueryableByName)]
    struct Sqlite {
        #[diesel(sql_type = Text)]
        detail: String,
    }
    #[derive(QueryableByName)]
    struct Postgres {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let run = async || -> Result<Vec<String>, db::Error> {
        Ok(match &database.pool {
            Pool::Sqlite(pool) => {
                let mut conn = pool.get().await?;
                let steps: Vec<Sqlite> = sql_query(format!("explain query plan {query}")).load(&mut conn).await?;
                steps.into_iter().map(|step| step.detail).collect()
            }
            Pool::Postgres(pool) => {
                let mut conn = pool.get().await?;
                // An empty table is cheapest to read whole. One plan for all values is what a prepared statement may come to.
                let prepare = format!(
                    "set enable_seqscan = off; set plan_cache_mode = force_generic_plan; prepare explained as {query}"
                );
                conn.batch_execute(&prepare).await?;
                let values =
                    vec!["null"; (1..9).filter(|number| query.contains(&format!("${number}"))).count()].join(", ");
                let execute = if values.is_empty() { String::new() } else { format!("({values})") };
                let lines = sql_query(format!("explain execute explained{execute}")).load(&mut conn).await;
                conn.batch_execute("deallocate explained; reset all").await?;
                lines?.into_iter().map(|line: Postgres| line.line).collect()
            }
        })
    };
    run().await.unwrap_or_else(|error| panic!("{query}: {error:?}")).join("\n")
}
