//! The books of a mall, read from its databases: what must hold of orders, reservations, payments and stock once nothing
//! is unfinished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use db::{Pool, PoolConfig, with_conn};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt};
use diesel::sqlite::Sqlite;
use diesel::{QueryableByName, sql_query};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use testkit::process::Mall;

#[derive(Debug, QueryableByName)]
pub(crate) struct Order {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) pid: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) quantity: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) amount: i64,
    #[diesel(sql_type = SmallInt)]
    pub(crate) status: i16,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) payment_id: Option<i64>,
}

#[derive(Debug, QueryableByName)]
struct Reservation {
    #[diesel(sql_type = BigInt)]
    order_id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    product_id: Option<i64>,
    #[diesel(sql_type = BigInt)]
    quantity: i64,
    #[diesel(sql_type = Bool)]
    released: bool,
}

#[derive(Debug, QueryableByName)]
pub(crate) struct Payment {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) oid: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) amount: i64,
    #[diesel(sql_type = SmallInt)]
    pub(crate) status: i16,
}

#[derive(Debug, QueryableByName)]
struct Stock {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    stock: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Everything that is written down.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) orders: BTreeMap<i64, Order>,
    pub(crate) payments: Vec<Payment>,
    reservations: BTreeMap<i64, Reservation>,
    stock: BTreeMap<i64, i64>,
}

impl Books {
    /// Waits until nothing is unfinished, and reads them.
    pub(crate) async fn closed(mall: &Mall) -> Self {
        Self::closed_in(|domain| format!("sqlite:{}", mall.data().join(format!("{domain}.db")).display())).await
    }

    /// The same of a mall that keeps a domain's data in the database at `url`.
    pub(crate) async fn closed_in(url: impl Fn(&str) -> String) -> Self {
        let config = PoolConfig { wait: Duration::from_secs(120), ..Default::default() };
        let pool = |domain| Pool::new(&url(domain).parse().unwrap(), &config).unwrap();
        let (order, product, pay) = (pool("order"), pool("product"), pool("pay"));
        testkit::eventually("nothing is unfinished", async || {
            let open = count(&order, "select count(*) as count from orders where status in (3, 5)").await
                + count(&pay, "select count(*) as count from outbox").await;
            (open == 0).then_some(())
        })
        .await;
        let orders: Vec<Order> =
            read(&order, "select id, pid, quantity, amount, status, payment_id from orders").await.unwrap();
        let reservations: Vec<Reservation> = read(&product, "select * from reservations").await.unwrap();
        let stock: Vec<Stock> = read(&product, "select id, stock from products").await.unwrap();
        Self {
            orders: orders.into_iter().map(|order| (order.id, order)).collect(),
            payments: read(&pay, "select id, oid, amount, status from payments").await.unwrap(),
            reservations: reservations.into_iter().map(|reservation| (reservation.order_id, reservation)).collect(),
            stock: stock.into_iter().map(|row| (row.id, row.stock)).collect(),
        }
    }

    /// Checks all that must hold, whatever happened; `initial` is what there was of each product to begin with.
    pub(crate) fn balance(&self, initial: &[(i64, i64)]) {
        for (product, initial) in initial {
            let held = self.held().filter(|held| held.product_id == Some(*product)).map(|held| held.quantity);
            assert_eq!(self.stock[product] + held.sum::<i64>(), *initial, "stock and what is held: {self:#?}");
        }
        for order in self.orders.values() {
            let held = self.reservations.get(&order.id).filter(|held| !held.released);
            let is_live = matches!(order.status, 0..=2);
            assert_eq!(held.is_some(), is_live, "a live order and no other holds units: {order:?} {held:?}");
            if let Some(held) = held {
                assert_eq!((held.product_id, held.quantity), (Some(order.pid), order.quantity), "{order:?} {held:?}");
            }
            assert_eq!(
                order.payment_id.is_some(),
                matches!(order.status, 1 | 2),
                "a paid order has a payment: {order:?}"
            );
        }
        assert!(self.held().all(|held| self.orders.contains_key(&held.order_id)), "units without an order: {self:#?}");
        self.balance_payments();
    }

    fn balance_payments(&self) {
        for order in self.orders.values() {
            let Some(id) = order.payment_id else { continue };
            let payment = self.payments.iter().find(|payment| payment.id == id).expect("the payment of a paid order");
            assert_eq!((payment.oid, payment.amount, payment.status), (order.id, order.amount, 1), "{order:?}");
        }
        let mut live = BTreeSet::new();
        for payment in &self.payments {
            let pays = self.orders.get(&payment.oid).and_then(|order| order.payment_id) == Some(payment.id);
            assert_eq!(pays, payment.status == 1, "a settled payment pays its order: {payment:?}");
            assert!(payment.status == 2 || live.insert(payment.oid), "two payments of one order: {payment:?}");
        }
    }

    /// Reservations that were not given back.
    fn held(&self) -> impl Iterator<Item = &Reservation> {
        self.reservations.values().filter(|held| !held.released)
    }

    /// How many orders have this status.
    pub(crate) fn with_status(&self, status: i16) -> usize {
        self.orders.values().filter(|order| order.status == status).count()
    }
}

async fn count(pool: &Pool, query: &str) -> i64 {
    read::<Count>(pool, query).await.unwrap().iter().map(|row| row.count).sum()
}

/// Runs a statement for what it does.
pub(crate) async fn execute(pool: &Pool, statement: &str) -> Result<(), db::Error> {
    with_conn!(pool, conn => conn.batch_execute(statement).await?);
    Ok(())
}

async fn read<T>(pool: &Pool, query: &str) -> Result<Vec<T>, db::Error>
where
    T: QueryableByName<Sqlite> + QueryableByName<Pg> + Send + 'static,
{
    Ok(with_conn!(pool, conn => sql_query(query).load(&mut conn).await?))
}
