//! The orders in the database: one method, one transaction.

use db::{Migrations, Pool, SkipLocked, in_transaction, with_conn};
use diesel::dsl::{count_star, min, not, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::RunQueryDsl;
use domain::recovery::{Task, Waiting};
use domain::{Page, now};

use crate::error::Error;
use crate::model::{Order, Status, Wish};
use crate::schema::orders;

/// order.rpc's schema for both databases.
pub const MIGRATIONS: Migrations = Migrations {
    postgres: diesel_migrations::embed_migrations!("migrations/postgres"),
    sqlite: diesel_migrations::embed_migrations!("migrations/sqlite"),
};

/// The orders of all users.
#[derive(Clone)]
pub(crate) struct Store {
    pool: Pool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = orders)]
struct Row {
    id: i64,
    uid: i64,
    pid: i64,
    quantity: i64,
    unit_price: i64,
    amount: i64,
    status: i16,
    payment_id: Option<i64>,
    created_at: i64,
}

impl TryFrom<Row> for Order {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let Row { id, uid, pid, quantity, unit_price, amount, status, payment_id: payment, created_at } = row;
        let status = Status::parse(status.into()).map_err(db::Error::stored("order's status"))?;
        Ok(Self { id, uid, pid, quantity, unit_price, amount, status, payment, created_at })
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = orders)]
struct Due {
    #[diesel(embed)]
    order: Row,
    since: Option<i64>,
    traceparent: Option<String>,
}

impl TryFrom<Due> for Task<Order> {
    type Error = Error;

    fn try_from(Due { order, since, traceparent }: Due) -> Result<Self, Error> {
        let id = order.id;
        Ok(Self { id, since: since.unwrap_or_else(now), traceparent, work: order.try_into()? })
    }
}

impl Store {
    /// A store over a database that has been migrated.
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Writes down a pending order, which the worker looks at when it is `due`; `None` if the user's key is taken.
    pub(crate) async fn begin(
        &self,
        wish: &Wish,
        unit_price: i64,
        amount: i64,
        due: i64,
    ) -> Result<Option<Order>, Error> {
        let values = (
            orders::uid.eq(wish.uid),
            orders::pid.eq(wish.pid),
            orders::quantity.eq(wish.quantity),
            orders::unit_price.eq(unit_price),
            orders::amount.eq(amount),
            orders::status.eq(Status::Pending as i16),
            orders::idempotency_key.eq(wish.key.as_deref()),
            orders::traceparent.eq(telemetry::traceparent()),
            orders::created_at.eq(now()),
            orders::due_at.eq(due),
        );
        let row: Option<Row> = with_conn!(self.pool, conn => {
            let insert = diesel::insert_into(orders::table).values(values).on_conflict_do_nothing();
            insert.returning(Row::as_returning()).get_result(&mut conn).await.optional()?
        });
        row.map(Order::try_from).transpose()
    }

    /// The order with this id.
    pub(crate) async fn find(&self, id: i64) -> Result<Order, Error> {
        let row: Option<Row> = with_conn!(self.pool, conn => {
            orders::table.find(id).select(Row::as_select()).get_result(&mut conn).await.optional()?
        });
        row.ok_or(Error::NotFound(id))?.try_into()
    }

    /// The order that the user named so.
    pub(crate) async fn find_by_key(&self, uid: i64, key: &str) -> Result<Option<Order>, Error> {
        let row: Option<Row> = with_conn!(self.pool, conn => {
            let named = orders::table.filter(orders::uid.eq(uid)).filter(orders::idempotency_key.eq(key));
            named.select(Row::as_select()).get_result(&mut conn).await.optional()?
        });
        row.map(Order::try_from).transpose()
    }

    /// The user's orders of one page and one more, the newest first.
    pub(crate) async fn list(&self, uid: i64, page: &Page) -> Result<Vec<Order>, Error> {
        let rows: Vec<Row> = with_conn!(self.pool, conn => {
            orders::table
                .filter(orders::uid.eq(uid))
                .filter(orders::id.lt(page.below))
                .filter(not(orders::hidden))
                .order(orders::id.desc())
                .limit(page.limit())
                .select(Row::as_select())
                .load(&mut conn)
                .await?
        });
        rows.into_iter().map(Order::try_from).collect()
    }

    /// Takes an order from one state to another, in which it is due again at `due`; `None` if it is not in the first.
    pub(crate) async fn advance(
        &self,
        id: i64,
        from: Status,
        to: Status,
        due: Option<i64>,
    ) -> Result<Option<Order>, Error> {
        let none: Option<i64> = None;
        let changes = (orders::status.eq(to as i16), orders::due_at.eq(due), orders::since.eq(none));
        let row: Option<Row> = with_conn!(self.pool, conn => {
            let there = orders::table.find(id).filter(orders::status.eq(from as i16));
            let update = diesel::update(there).set(changes);
            update.returning(Row::as_returning()).get_result(&mut conn).await.optional()?
        });
        row.map(Order::try_from).transpose()
    }

    /// Says that a payment of `amount` paid an order; tells whether the order was to be paid just so.
    pub(crate) async fn mark_paid(&self, id: i64, payment: i64, amount: i64) -> Result<bool, Error> {
        let none: Option<i64> = None;
        let changes = (
            orders::status.eq(Status::Paid as i16),
            orders::payment_id.eq(payment),
            orders::due_at.eq(none),
            orders::since.eq(none),
        );
        let changed = with_conn!(self.pool, conn => {
            let payable = orders::table.find(id).filter(orders::status.eq(Status::Placed as i16));
            diesel::update(payable.filter(orders::amount.eq(amount))).set(changes).execute(&mut conn).await?
        });
        Ok(changed == 1)
    }

    /// Takes an order off the lists.
    pub(crate) async fn hide(&self, id: i64) -> Result<(), Error> {
        with_conn!(self.pool, conn => {
            diesel::update(orders::table.find(id)).set(orders::hidden.eq(true)).execute(&mut conn).await?
        });
        Ok(())
    }

    /// What the worker has to look at.
    pub(crate) async fn waiting(&self, now: i64) -> Result<Waiting, Error> {
        Ok(with_conn!(self.pool, conn => {
            let due = orders::table.filter(orders::due_at.le(now)).filter(orders::since.is_null());
            let due = due.select((count_star(), min(orders::due_at))).get_result(&mut conn).await?;
            let taken = orders::table.filter(orders::since.is_not_null());
            Waiting::of(due, taken.select((count_star(), min(orders::since))).get_result(&mut conn).await?)
        }))
    }

    /// Takes up orders that are due: to everybody else they are due at `until`.
    pub(crate) async fn take(&self, now: i64, until: i64, limit: i64) -> Result<Vec<Task<Order>>, Error> {
        let due: Result<Vec<Due>, Error> = in_transaction!(self.pool, conn => {
            let due = orders::table.filter(orders::due_at.le(now)).order(orders::due_at).limit(limit);
            let ids: Vec<i64> = SkipLocked(due.select(orders::id)).load(conn).await?;
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let since = orders::since.eq(sql::<Nullable<BigInt>>("coalesce(since, due_at)"));
            let taken = (since, orders::due_at.eq(until));
            let update = diesel::update(orders::table.filter(orders::id.eq_any(ids))).set(taken);
            Ok(update.returning(Due::as_returning()).load(conn).await?)
        });
        due?.into_iter().map(Task::try_from).collect()
    }

    /// Has an order that was taken up until `until` wait until `due`; one that has gone on since then is left alone.
    pub(crate) async fn postpone(&self, id: i64, until: i64, due: i64) -> Result<(), Error> {
        with_conn!(self.pool, conn => {
            let taken = orders::table.find(id).filter(orders::due_at.eq(until));
            diesel::update(taken).set(orders::due_at.eq(due)).execute(&mut conn).await?
        });
        Ok(())
    }
}
