//! What a pool does on both databases.

use std::time::Duration;

use db::{Error, in_transaction, with_conn};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use testkit::database::{Database, on_each};

use crate::accounts::{MIGRATIONS, abandon, accounts, add, balance, connected, deposit, execute};

#[tokio::test]
async fn a_query_is_written_once() {
    on_each(MIGRATIONS, async |database| {
        let id = add(&database.pool, "1").await.unwrap();
        assert_eq!(balance(&database.pool, id).await.unwrap(), Some(0));
        assert_eq!(deposit(&database.pool, id, 7).await.unwrap(), 7);
        assert_eq!(balance(&database.pool, id).await.unwrap(), Some(7));
        assert_eq!(balance(&database.pool, 99).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_failed_transaction_leaves_nothing() {
    on_each(MIGRATIONS, async |database| {
        let pool = &database.pool;
        let id = add(pool, "1").await.unwrap();
        let failed: Result<(), Error> = async {
            in_transaction!(pool, conn => {
                diesel::insert_into(accounts::table).values(accounts::mobile.eq("2")).execute(conn).await?;
                diesel::update(accounts::table.find(id)).set(accounts::balance.eq(-1)).execute(conn).await?;
                Ok(())
            })
        }
        .await;
        assert!(matches!(failed, Err(Error::Query(_))), "{failed:?}");
        assert!(add(pool, "2").await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_transaction_within_a_transaction_is_undone_alone() {
    use diesel_async::AsyncConnection as _;

    on_each(MIGRATIONS, async |database| {
        let pool = &database.pool;
        let done: Result<(), Error> = async {
            in_transaction!(pool, conn => {
                diesel::insert_into(accounts::table).values(accounts::mobile.eq("outer")).execute(conn).await?;
                let inner: Result<(), diesel::result::Error> = conn.transaction(async |conn| {
                    diesel::insert_into(accounts::table).values(accounts::mobile.eq("inner")).execute(conn).await?;
                    Err(diesel::result::Error::RollbackTransaction)
                }).await;
                assert!(inner.is_err());
                Ok(())
            })
        }
        .await;
        done.unwrap();
        assert!(add(pool, "outer").await.unwrap_err().is_unique_violation());
        add(pool, "inner").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_waits_too_long_is_told_that_the_pool_is_busy() {
    on_each(MIGRATIONS, async |database| {
        let pool = connected(&database.url, 1, Duration::from_millis(50)).await;
        let busy: Result<(), Error> = async {
            with_conn!(pool, _conn => {
                let error = add(&pool, "1").await.unwrap_err();
                assert!(matches!(error, Error::Busy(_)), "{error:?}");
                Ok(())
            })
        }
        .await;
        busy.unwrap();
        add(&pool, "1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_is_dropped_gives_its_locks_back_at_once() {
    on_each(MIGRATIONS, async |database| {
        let pool = &database.pool;
        let id = add(pool, "1").await.unwrap();
        let (written, has_written) = tokio::sync::oneshot::channel();
        let stuck = async {
            let mut written = Some(written);
            let stuck: Result<(), Error> = async {
                in_transaction!(pool, conn => {
                    diesel::update(accounts::table.find(id)).set(accounts::balance.eq(5)).execute(conn).await?;
                    written.take().unwrap().send(()).unwrap();
                    std::future::pending::<()>().await;
                    Ok(())
                })
            }
            .await;
            stuck
        };
        tokio::select! {
            _ = stuck => unreachable!(),
            told = has_written => told.unwrap(),
        }
        assert_eq!(deposit(pool, id, 1).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_is_dropped_takes_its_connection_with_it() {
    on_each(MIGRATIONS, async |database| {
        let pool = connected(&database.url, 1, Duration::from_secs(30)).await;
        let database = Database { pool: pool.clone(), ..database };
        // A temporary table tells one connection from another.
        execute(&pool, "create temporary table mark (id int)").await.unwrap();
        execute(&pool, "select * from mark").await.unwrap();
        abandon(&database).await;
        execute(&pool, "select * from mark").await.unwrap_err();
        add(&pool, "1").await.unwrap();
    })
    .await;
}
