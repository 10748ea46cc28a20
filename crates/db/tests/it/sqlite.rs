//! What is special about SQLite: files, locks, one writer at a time.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use db::{Error, Pool, PoolConfig, Url, with_conn};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use testkit::database::on_sqlite;
use tonic::{Code, Status};

use crate::accounts::{MIGRATIONS, add, balance, connected, deposit};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_files_are_made_for_the_owner_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("new/data/user.db");
    let pool = Pool::new(&Url::sqlite(&path), &PoolConfig::default()).unwrap();
    pool.migrate(MIGRATIONS).await.unwrap();
    add(&pool, "1").await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "").unwrap();
    let pool = Pool::new(&Url::sqlite(path.join("user.db")), &PoolConfig::default()).unwrap();
    let Err(Error::Connect(error)) = add(&pool, "1").await else { panic!("connected") };
    assert!(error.to_string().contains("file/user.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_went_away_is_not_replaced_by_an_empty_one() {
    on_sqlite(MIGRATIONS, async |database| {
        let pool = Pool::new(&database.url.parse().unwrap(), &PoolConfig::default()).unwrap();
        let id = add(&pool, "1").await.unwrap();
        let path = Path::new(database.url.strip_prefix("sqlite:").unwrap());
        let elsewhere = path.with_extension("elsewhere");
        let meanwhile = async || -> Result<(), Error> {
            with_conn!(pool, _first => {
                std::fs::rename(path, &elsewhere).unwrap();
                let error = balance(&pool, id).await.unwrap_err();
                assert!(matches!(error, Error::Connect(_)), "{error:?}");
                assert_eq!(Status::from(error).code(), Code::Unavailable);
                std::fs::rename(&elsewhere, path).unwrap();
                assert_eq!(balance(&pool, id).await?, Some(0));
            });
            Ok(())
        };
        meanwhile().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_and_readers_at_once_see_no_lock() {
    on_sqlite(MIGRATIONS, async |database| {
        let pool = &database.pool;
        let id = add(pool, "shared").await.unwrap();
        let tasks: Vec<_> = (0..200)
            .map(|number| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    deposit(&pool, id, 1).await?;
                    add(&pool, &number.to_string()).await?;
                    balance(&pool, id).await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(balance(pool, id).await.unwrap(), Some(200));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pools_write_to_one_file() {
    on_sqlite(MIGRATIONS, async |database| {
        let other = connected(&database.url, 8, Duration::from_secs(30)).await;
        let id = add(&database.pool, "shared").await.unwrap();
        let tasks: Vec<_> = [&database.pool, &other]
            .into_iter()
            .map(|pool| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for _ in 0..50 {
                        deposit(&pool, id, 1).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(balance(&database.pool, id).await.unwrap(), Some(100));
    })
    .await;
}

#[tokio::test]
async fn a_locked_file_is_unavailable_until_the_lock_goes() {
    on_sqlite(MIGRATIONS, async |database| {
        let pool = connected(&database.url, 2, Duration::from_millis(200)).await;
        let id = add(&database.pool, "1").await.unwrap();
        let mut other = SqliteConnection::establish(database.url.strip_prefix("sqlite:").unwrap()).unwrap();
        other.batch_execute("begin immediate").unwrap();
        for _ in 0..4 {
            let (single, several) = (add(&pool, "2").await.unwrap_err(), deposit(&pool, id, 1).await.unwrap_err());
            assert!(matches!(single, Error::Locked(_)), "{single:?}");
            assert!(matches!(several, Error::Locked(_)), "{several:?}");
            assert_eq!(Status::from(single).code(), Code::Unavailable);
        }
        assert_eq!(balance(&pool, id).await.unwrap(), Some(0), "readers are not kept waiting");
        other.batch_execute("rollback").unwrap();
        add(&pool, "2").await.unwrap();
        deposit(&pool, id, 1).await.unwrap();
    })
    .await;
}
