//! The payments in the database, and the outbox of what order.rpc is to be told: one method, one transaction.

use db::{Migrations, Pool, SkipLocked, in_transaction, with_conn};
use diesel::dsl::{count_star, min, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel_async::RunQueryDsl;
use domain::now;
use domain::recovery::{Task, Waiting};

use crate::error::Error;
use crate::model::{Outcome, Payment, Status};
use crate::schema::{outbox, payments};

/// pay.rpc's schema for both databases.
pub const MIGRATIONS: Migrations = Migrations {
    postgres: diesel_migrations::embed_migrations!("migrations/postgres"),
    sqlite: diesel_migrations::embed_migrations!("migrations/sqlite"),
};

/// Payments, and what order.rpc does not know of them yet.
#[derive(Clone)]
pub(crate) struct Store {
    pool: Pool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = payments)]
struct Row {
    id: i64,
    uid: i64,
    oid: i64,
    amount: i64,
    source: i32,
    status: i16,
}

impl TryFrom<Row> for Payment {
    type Error = Error;

    fn try_from(Row { id, uid, oid, amount, source, status }: Row) -> Result<Self, Error> {
        let status = Status::parse(status).map_err(db::Error::stored("payment's status"))?;
        Ok(Self { id, uid, oid, amount, source, status })
    }
}

/// What is to be told, and since when it has been waiting.
#[derive(Queryable)]
struct Due {
    payment: Row,
    since: Option<i64>,
    traceparent: Option<String>,
}

impl TryFrom<Due> for Task<Payment> {
    type Error = Error;

    fn try_from(Due { payment, since, traceparent }: Due) -> Result<Self, Error> {
        Ok(Self { id: payment.id, since: since.unwrap_or_else(now), traceparent, work: payment.try_into()? })
    }
}

impl Store {
    /// A store over a database that has been migrated.
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Begins the payment of an order; `None` if it has one that has not failed.
    pub(crate) async fn begin(&self, uid: i64, oid: i64, amount: i64) -> Result<Option<Payment>, Error> {
        let values =
            (payments::uid.eq(uid), payments::oid.eq(oid), payments::amount.eq(amount), payments::created_at.eq(now()));
        let row: Option<Row> = with_conn!(self.pool, conn => {
            let insert = diesel::insert_into(payments::table).values(values).on_conflict_do_nothing();
            insert.returning(Row::as_returning()).get_result(&mut conn).await.optional()?
        });
        row.map(Payment::try_from).transpose()
    }

    /// The order's payment that has not failed.
    pub(crate) async fn find_of_order(&self, oid: i64) -> Result<Option<Payment>, Error> {
        let row: Option<Row> = with_conn!(self.pool, conn => {
            // In the index's own words: with a parameter in place of the number, PostgreSQL may not see that it fits.
            let live = payments::table.filter(payments::oid.eq(oid)).filter(sql::<Bool>("status <> 2"));
            live.select(Row::as_select()).get_result(&mut conn).await.optional()?
        });
        row.map(Payment::try_from).transpose()
    }

    /// The payment with this id.
    pub(crate) async fn find(&self, id: i64) -> Result<Payment, Error> {
        let row: Option<Row> = with_conn!(self.pool, conn => {
            payments::table.find(id).select(Row::as_select()).get_result(&mut conn).await.optional()?
        });
        row.ok_or(Error::NotFound(id))?.try_into()
    }

    /// Ends a pending payment, and if it is paid, has order.rpc told of it, which the worker does when it is `due`; `None` if
    /// it has ended before.
    pub(crate) async fn end(&self, id: i64, source: i32, outcome: Outcome, due: i64) -> Result<Option<Payment>, Error> {
        let changes = (payments::status.eq(outcome.status() as i16), payments::source.eq(source));
        let message =
            (outbox::payment_id.eq(id), outbox::traceparent.eq(telemetry::traceparent()), outbox::due_at.eq(due));
        let row: Result<Option<Row>, Error> = in_transaction!(self.pool, conn => {
            let pending = payments::table.find(id).filter(payments::status.eq(Status::Pending as i16));
            let end = diesel::update(pending).set(changes).returning(Row::as_returning());
            let row = end.get_result(conn).await.optional()?;
            if row.is_some() && outcome == Outcome::Paid {
                diesel::insert_into(outbox::table).values(message).execute(conn).await?;
            }
            Ok(row)
        });
        row?.map(Payment::try_from).transpose()
    }

    /// Says that order.rpc knows of a payment; where it did not accept it, a refund is due. Twice has no further effect, of
    /// which it tells.
    pub(crate) async fn told(&self, id: i64, accepted: bool) -> Result<bool, Error> {
        in_transaction!(self.pool, conn => {
            let told = diesel::delete(outbox::table.find(id)).execute(conn).await?;
            if told == 1 && !accepted {
                let refund = payments::status.eq(Status::RefundDue as i16);
                diesel::update(payments::table.find(id)).set(refund).execute(conn).await?;
            }
            Ok(told == 1)
        })
    }

    /// What order.rpc should have been told by now.
    pub(crate) async fn waiting(&self, now: i64) -> Result<Waiting, Error> {
        // There is little in it: what is told goes.
        Ok(with_conn!(self.pool, conn => {
            let due = outbox::table.filter(outbox::due_at.le(now)).filter(outbox::since.is_null());
            let due = due.select((count_star(), min(outbox::due_at))).get_result(&mut conn).await?;
            let taken = outbox::table.filter(outbox::since.is_not_null());
            Waiting::of(due, taken.select((count_star(), min(outbox::since))).get_result(&mut conn).await?)
        }))
    }

    /// Takes up what is due: to everybody else it is due at `until`.
    pub(crate) async fn take(&self, now: i64, until: i64, limit: i64) -> Result<Vec<Task<Payment>>, Error> {
        let due: Result<Vec<Due>, Error> = in_transaction!(self.pool, conn => {
            let due = outbox::table.filter(outbox::due_at.le(now)).order(outbox::due_at).limit(limit);
            let ids: Vec<i64> = SkipLocked(due.select(outbox::payment_id)).load(conn).await?;
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let taken = outbox::table.filter(outbox::payment_id.eq_any(&ids));
            let since = outbox::since.eq(sql::<Nullable<BigInt>>("coalesce(since, due_at)"));
            diesel::update(taken.clone()).set((since, outbox::due_at.eq(until))).execute(conn).await?;
            let columns = (Row::as_select(), outbox::since, outbox::traceparent);
            Ok(taken.inner_join(payments::table).select(columns).load(conn).await?)
        });
        due?.into_iter().map(Task::try_from).collect()
    }

    /// Has a message that was taken up until `until` wait until `due`.
    pub(crate) async fn postpone(&self, id: i64, until: i64, due: i64) -> Result<(), Error> {
        with_conn!(self.pool, conn => {
            let taken = outbox::table.find(id).filter(outbox::due_at.eq(until));
            diesel::update(taken).set(outbox::due_at.eq(due)).execute(&mut conn).await?
        });
        Ok(())
    }
}
