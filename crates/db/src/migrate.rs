//! Migrations: embedded in the binary, safe to run twice and from two places at once.

use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel_migrations::EmbeddedMigrations;

use crate::Error;

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

pub(crate) fn names(versions: Vec<MigrationVersion<'_>>) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

pub(crate) fn error(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Migrate(source)
}
