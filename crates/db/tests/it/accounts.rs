//! A store as services have it: a table of accounts, its queries written once.

use std::time::Duration;

use db::{Migrations, Pool, PoolConfig, in_transaction, with_conn};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use testkit::database::Database;

pub(crate) const MIGRATIONS: Migrations = Migrations {
    postgres: diesel_migrations::embed_migrations!("tests/migrations/postgres"),
    sqlite: diesel_migrations::embed_migrations!("tests/migrations/sqlite"),
};

diesel::table! {
    accounts (id) {
        id -> BigInt,
        mobile -> Text,
        balance -> BigInt,
    }
}

/// A pool over the database of `url` that has one connection already: making one may take longer than `wait`.
pub(crate) async fn connected(url: &str, size: usize, wait: Duration) -> Pool {
    let pool =
        Pool::new(&url.parse().unwrap(), &PoolConfig { size: size.try_into().unwrap(), wait, ..Default::default() })
            .unwrap();
    while execute(&pool, "select 1").await.is_err() {}
    pool
}

/// Adds an account with one statement and answers its id.
pub(crate) async fn add(pool: &Pool, mobile: &str) -> Result<i64, db::Error> {
    Ok(with_conn!(pool, conn => {
        let row = diesel::insert_into(accounts::table).values(accounts::mobile.eq(mobile));
        row.returning(accounts::id).get_result(&mut conn).await?
    }))
}

pub(crate) async fn balance(pool: &Pool, id: i64) -> Result<Option<i64>, db::Error> {
    Ok(with_conn!(pool, conn => {
        accounts::table.find(id).select(accounts::balance).first(&mut conn).await.optional()?
    }))
}

/// Adds to a balance in a transaction that reads first.
pub(crate) async fn deposit(pool: &Pool, id: i64, amount: i64) -> Result<i64, db::Error> {
    in_transaction!(pool, conn => {
        let account = accounts::table.find(id);
        let old: i64 = account.select(accounts::balance).first(conn).await?;
        let new = accounts::balance.eq(accounts::balance + amount);
        diesel::update(account).set(new).execute(conn).await?;
        Ok(old + amount)
    })
}

/// Begins a statement that takes long, and drops it.
pub(crate) async fn abandon(database: &Database) {
    let text = if database.is_postgres() {
        "select pg_sleep(600)"
    } else {
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000000) select count(*) from n"
    };
    let mut run = Box::pin(execute(&database.pool, text));
    assert!(futures::poll!(&mut run).is_pending());
}

pub(crate) async fn execute(pool: &Pool, statement: &str) -> Result<(), db::Error> {
    with_conn!(pool, conn => diesel::sql_query(statement).execute(&mut conn).await.map(drop)?);
    Ok(())
}
