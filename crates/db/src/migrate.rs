//! Migrations: embedded in the binary, safe to run twice and from two places at once.

use diesel::QueryDsl as _;
use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel_async::RunQueryDsl as _;
use diesel_migrations::EmbeddedMigrations;

use crate::error::MISSING_TABLE;
use crate::{Error, Pool, with_conn};

/// A service's migrations for both databases.
///
/// On SQLite all that is pending is one transaction, in which foreign keys are checked at the end, so that a table can be
/// rebuilt; on PostgreSQL each migration is one, unless its `metadata.toml` says otherwise.
pub struct Migrations {
    /// For PostgreSQL.
    pub postgres: EmbeddedMigrations,
    /// For SQLite.
    pub sqlite: EmbeddedMigrations,
}

/// Lets diesel read migrations that are shared.
pub(crate) struct Borrowed<'a>(pub(crate) &'a EmbeddedMigrations);

impl<DB: Backend> MigrationSource<DB> for Borrowed<'_> {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<DB>>>> {
        self.0.migrations()
    }
}

diesel::table! {
    /// Where diesel keeps which migrations were run.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

/// The names of those that the database of `pool` lacks.
pub(crate) async fn pending(pool: &Pool, migrations: &Migrations) -> Result<Vec<String>, Error> {
    let wanted = match pool {
        Pool::Postgres(_) => versions::<diesel::pg::Pg>(&migrations.postgres)?,
        Pool::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&migrations.sqlite)?,
    };
    let done: Vec<String> = match done(pool).await {
        Err(Error::Query(error)) if error.name() == MISSING_TABLE => Vec::new(),
        done => done?,
    };
    Ok(wanted.into_iter().filter(|(version, _)| !done.contains(version)).map(|(_, name)| name).collect())
}

async fn done(pool: &Pool) -> Result<Vec<String>, Error> {
    use self::__diesel_schema_migrations::dsl::{__diesel_schema_migrations, version};
    Ok(with_conn!(*pool, conn => __diesel_schema_migrations.select(version).load(&mut conn).await?))
}

/// Each migration's version and its name.
fn versions<DB: Backend>(migrations: &EmbeddedMigrations) -> Result<Vec<(String, String)>, Error> {
    let all = MigrationSource::<DB>::migrations(migrations).map_err(error)?;
    Ok(all.iter().map(|it| (it.name().version().to_string(), it.name().to_string())).collect())
}

pub(crate) fn names(versions: Vec<MigrationVersion<'_>>) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

pub(crate) fn error(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Migrate(source)
}
