//! A store as services have it: a table of accounts, its queries written once.

use db::{Migrations, Pool, in_transaction, with_conn};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

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
