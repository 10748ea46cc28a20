//! The products in the database, and what of their stock orders hold: one method, one transaction.

use db::{Migrations, Pool, in_transaction, with_conn};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use domain::{Page, fault};

use crate::error::Error;
use crate::model::{Change, Filter, MOST_STOCK, NewProduct, Product, Status, StockChange};
use crate::schema::{products, reservations};

/// product.rpc's schema for both databases.
pub const MIGRATIONS: Migrations = Migrations {
    postgres: diesel_migrations::embed_migrations!("migrations/postgres"),
    sqlite: diesel_migrations::embed_migrations!("migrations/sqlite"),
};

/// Products, their stock, and what of it orders hold.
#[derive(Clone)]
pub(crate) struct Store {
    pool: Pool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = products)]
struct Row {
    id: i64,
    name: String,
    description: String,
    stock: i64,
    amount: i64,
    status: i16,
}

impl TryFrom<Row> for Product {
    type Error = Error;

    fn try_from(Row { id, name, description, stock, amount, status }: Row) -> Result<Self, Error> {
        let status = Status::parse(status.into()).map_err(db::Error::stored("product's status"))?;
        Ok(Self { id, name, description, stock, amount, status })
    }
}

/// The columns of a new product.
#[derive(Clone, Insertable)]
#[diesel(table_name = products)]
struct New {
    name: String,
    name_lower: String,
    description: String,
    stock: i64,
    amount: i64,
    status: i16,
}

impl From<NewProduct> for New {
    fn from(NewProduct { name, description, stock, amount, status }: NewProduct) -> Self {
        Self { name_lower: name.to_lowercase(), name, description, stock, amount, status: status as i16 }
    }
}

/// The columns that change; what is `None` stays as it is.
#[derive(Clone, AsChangeset)]
#[diesel(table_name = products)]
struct Changed {
    name: Option<String>,
    name_lower: Option<String>,
    description: Option<String>,
    amount: Option<i64>,
    status: Option<i16>,
}

impl Store {
    /// A store over a database that has been migrated.
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Adds a product.
    pub(crate) async fn create(&self, new: NewProduct) -> Result<Product, Error> {
        let columns = New::from(new);
        let row: Row = with_conn!(self.pool, conn => {
            let insert = diesel::insert_into(products::table).values(columns);
            insert.returning(Row::as_returning()).get_result(&mut conn).await?
        });
        row.try_into()
    }

    /// Adds products, if there are none at all.
    pub(crate) async fn create_first(&self, new: &[NewProduct]) -> Result<(), Error> {
        in_transaction!(self.pool, conn => {
            if diesel::select(exists(products::table.select(products::id))).get_result::<bool>(conn).await? {
                return Ok(());
            }
            for product in new {
                diesel::insert_into(products::table).values(New::from(product.clone())).execute(conn).await?;
            }
            Ok(())
        })
    }

    /// The product with this id.
    pub(crate) async fn find(&self, id: i64) -> Result<Product, Error> {
        let row: Option<Row> = with_conn!(self.pool, conn => {
            products::table.find(id).select(Row::as_select()).get_result(&mut conn).await.optional()?
        });
        row.ok_or(Error::NotFound(id))?.try_into()
    }

    /// The products of one page and one more, the newest first.
    pub(crate) async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<Product>, Error> {
        // Every filter is one statement, which the database prepares once: without a status, all of them lie between.
        let (from, to) = filter.status.map_or((i16::MIN, i16::MAX), |status| (status as i16, status as i16));
        let pattern = format!("%{}%", escape(&filter.text));
        let rows: Vec<Row> = with_conn!(self.pool, conn => {
            products::table
                .filter(products::id.lt(page.below))
                .filter(products::status.between(from, to))
                .filter(products::name_lower.like(pattern).escape('\\'))
                .order(products::id.desc())
                .limit(page.limit())
                .select(Row::as_select())
                .load(&mut conn)
                .await?
        });
        rows.into_iter().map(Product::try_from).collect()
    }

    /// Changes what is given and answers the product as it is then.
    pub(crate) async fn update(&self, id: i64, change: Change) -> Result<Product, Error> {
        if change == Change::default() {
            return self.find(id).await;
        }
        let Change { name, description, stock, amount, status } = change;
        let name_lower = name.as_ref().map(|name| name.to_lowercase());
        let changed = Changed { name, name_lower, description, amount, status: status.map(|status| status as i16) };
        // A stock of so many may change so; `to` and `by` do not come together.
        let (to, by, able) = match stock {
            None => (None, None, 0..=i64::MAX),
            Some(StockChange::To(units)) => (Some(units), None, 0..=i64::MAX),
            Some(StockChange::By(units)) if units < 0 => (None, Some(units), -units..=i64::MAX),
            Some(StockChange::By(units)) => (None, Some(units), 0..=MOST_STOCK - units),
        };
        let stock =
            (to.map(|units| products::stock.eq(units)), by.map(|units| products::stock.eq(products::stock + units)));
        let row: Option<Row> = with_conn!(self.pool, conn => {
            let able = products::table.find(id).filter(products::stock.between(*able.start(), *able.end()));
            let update = diesel::update(able).set((changed, stock)).returning(Row::as_returning());
            update.get_result(&mut conn).await.optional()?
        });
        match (row, by) {
            (Some(row), _) => row.try_into(),
            (None, Some(by)) => self.find(id).await.and(Err(too_much(id, by))),
            (None, None) => Err(Error::NotFound(id)),
        }
    }

    /// Takes `quantity` units of stock for an order; asked again, it says the same again.
    ///
    /// A refusal is written down as units that were given back: a call that comes late must not get what the order was
    /// rejected for, nor revive one that was cancelled.
    pub(crate) async fn reserve(&self, order: i64, product: i64, quantity: i64) -> Result<(), Error> {
        let hold = (
            reservations::order_id.eq(order),
            reservations::product_id.eq(product),
            reservations::quantity.eq(quantity),
            reservations::released.eq(false),
        );
        let held: Result<Result<(), Error>, Error> = in_transaction!(self.pool, conn => {
            let insert = diesel::insert_into(reservations::table).values(hold).on_conflict_do_nothing();
            if insert.execute(conn).await? == 0 {
                let columns = (reservations::product_id, reservations::quantity, reservations::released);
                let held = reservations::table.find(order).select(columns).get_result(conn).await?;
                return Ok(again(order, held, (product, quantity)));
            }
            // The stock comes last: others who want the same product wait for it to the end of the transaction.
            let on_sale = products::table.find(product).filter(products::status.eq(Status::OnSale as i16));
            let enough = on_sale.filter(products::stock.ge(quantity));
            let taken = diesel::update(enough).set(products::stock.eq(products::stock - quantity)).execute(conn).await?;
            fault::point("product.reserving");
            if taken == 1 {
                return Ok(Ok(()));
            }
            diesel::update(reservations::table.find(order)).set(reservations::released.eq(true)).execute(conn).await?;
            let status = products::table.find(product).select(products::status).get_result::<i16>(conn).await;
            Ok(Err(match status.optional()? {
                None => Error::NotFound(product),
                Some(status) if status == Status::OnSale as i16 => {
                    Error::OutOfStock { product, quantity: quantity.unsigned_abs() }
                }
                Some(_) => Error::OffSale(product),
            }))
        });
        held?
    }

    /// Gives an order's units back, once however often it is asked; one that holds nothing gets nothing from now on. Answers
    /// the product that has more units now.
    pub(crate) async fn release(&self, order: i64) -> Result<Option<i64>, Error> {
        let nothing = (reservations::order_id.eq(order), reservations::quantity.eq(0), reservations::released.eq(true));
        in_transaction!(self.pool, conn => {
            let insert = diesel::insert_into(reservations::table).values(nothing).on_conflict_do_nothing();
            if insert.execute(conn).await? == 1 {
                return Ok(None);
            }
            let held = reservations::table.find(order).filter(reservations::released.eq(false));
            let release = diesel::update(held).set(reservations::released.eq(true));
            let columns = (reservations::product_id, reservations::quantity);
            let released: Option<(Option<i64>, i64)> =
                release.returning(columns).get_result(conn).await.optional()?;
            let more = released.and_then(|(product, quantity)| Some((product?, quantity)));
            if let Some((product, quantity)) = more {
                let back = products::stock.eq(products::stock + quantity);
                diesel::update(products::table.find(product)).set(back).execute(conn).await?;
            }
            fault::point("product.releasing");
            Ok(more.map(|(product, _)| product))
        })
    }
}

/// What is said to an order that has asked before.
fn again(order: i64, held: (Option<i64>, i64, bool), wanted: (i64, i64)) -> Result<(), Error> {
    match held {
        (_, _, true) => Err(Error::Released(order)),
        (Some(product), quantity, false) if (product, quantity) == wanted => Ok(()),
        _ => Err(Error::Different(order)),
    }
}

fn too_much(product: i64, by: i64) -> Error {
    if by < 0 {
        return Error::OutOfStock { product, quantity: by.unsigned_abs() };
    }
    rpc::Invalid::field("stockChange", "makes the stock larger than 1000000000000").into()
}

/// A text that stands for itself in a pattern.
fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}
