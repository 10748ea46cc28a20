//! Migrations: twice, from many places at once, and failing.

use std::sync::Arc;

use db::{Error, Migrations, Pool, PoolConfig};
use testkit::database::on_each;

use crate::accounts::{MIGRATIONS, add};

const NONE: Migrations = Migrations {
    postgres: diesel_migrations::embed_migrations!("tests/migrations/none"),
    sqlite: diesel_migrations::embed_migrations!("tests/migrations/none"),
};

const BROKEN: Migrations = Migrations {
    postgres: diesel_migrations::embed_migrations!("tests/migrations/broken"),
    sqlite: diesel_migrations::embed_migrations!("tests/migrations/broken"),
};

#[tokio::test(flavor = "multi_thread")]
async fn many_places_migrate_at_once() {
    on_each(NONE, async |database| {
        let migrations = Arc::new(MIGRATIONS);
        let places: Vec<_> = (0..8)
            .map(|_| {
                let pool = Pool::new(&database.url.parse().unwrap(), &PoolConfig::default()).unwrap();
                let migrations = Arc::clone(&migrations);
                tokio::spawn(async move { pool.migrate(migrations).await })
            })
            .collect();
        for place in places {
            place.await.unwrap().unwrap();
        }
        database.pool.migrate(MIGRATIONS).await.unwrap();
        add(&database.pool, "1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_and_says_why() {
    on_each(NONE, async |database| {
        let error = database.pool.migrate(BROKEN).await.unwrap_err();
        let Error::Migrate(cause) = &error else { panic!("{error:?}") };
        let cause = cause.to_string();
        assert!(cause.contains("nowhere"), "{cause}");
        database.pool.migrate(MIGRATIONS).await.unwrap();
        add(&database.pool, "1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_a_schema_lacks_is_named_and_what_it_has_beyond_is_not() {
    on_each(NONE, async |database| {
        assert_eq!(database.pool.pending(&MIGRATIONS).await.unwrap(), ["2026-01-01-000000_accounts"]);
        database.pool.migrate(MIGRATIONS).await.unwrap();
        assert!(database.pool.pending(&MIGRATIONS).await.unwrap().is_empty());
        assert!(database.pool.pending(&NONE).await.unwrap().is_empty(), "an older binary beside a newer schema");
        database.pool.migrate(NONE).await.unwrap();
    })
    .await;
}
