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

/// The columns of a new or changed product; what is `None` stays as it is.
#[derive(Clone, Default, Insertable, AsChangeset)]
#[diesel(table_name = products)]
struct Columns {
    name: Option<String>,
    name_lower: Option<String>,
    description: Option<String>,
    stock: Option<i64>,
    amount: Option<i64>,
    status: Option<i16>,
}

impl Columns {
    fn is_empty(&self) -> bool {
        let Self { name, name_lower: _, description, stock, amount, status } = self;
        name.is_none() && description.is_none() && stock.is_none() && amount.is_none() && status.is_none()
    }
}

impl From<NewProduct> for Columns {
    fn from(NewProduct { name, description, stock, amount, status }: NewProduct) -> Self {
        let stock = Some(StockChange::To(stock));
        let (name, description) = (Some(name), Some(description));
        Change { name, description, stock, amount: Some(amount), status: Some(status) }.into()
    }
}

impl From<Change> for Columns {
    fn from(Change { name, description, stock, amount, status }: Change) -> Self {
        let stock = match stock {
            Some(StockChange::To(stock)) => Some(stock),
            Some(StockChange::By(_)) | None => None,
        };
        let name_lower = name.as_ref().map(|name| name.to_lowercase());
        Self { name, name_lower, description, stock, amount, status: status.map(|status| status as i16) }
    }
}

impl Store {
    /// A store over a database that has been migrated.
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Adds a product.
    pub(crate) async fn create(&self, new: NewProduct) -> Result<Product, Error> {
        let columns = Columns::from(new);
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
                diesel::insert_into(products::table).values(Columns::from(product.clone())).execute(conn).await?;
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
        let by = if let Some(StockChange::By(units)) = change.stock { units } else { 0 };
        let columns = Columns::from(change);
        let row: Result<Row, Error> = in_transaction!(self.pool, conn => {
            if !columns.is_empty() {
                diesel::update(products::table.find(id)).set(columns).execute(conn).await?;
            }
            if by != 0 {
                // From here to there the sum is a number of units that a stock may have.
                let (least, most) = if by < 0 { (-by, i64::MAX) } else { (0, MOST_STOCK - by) };
                let able = products::table.find(id).filter(products::stock.between(least, most));
                let changed = diesel::update(able).set(products::stock.eq(products::stock + by)).execute(conn).await?;
                if changed == 0 && diesel::select(exists(products::table.find(id))).get_result(conn).await? {
                    return Err(too_much(id, by));
                }
            }
            let row = products::table.find(id).select(Row::as_select()).get_result(conn).await.optional()?;
            row.ok_or(Error::NotFound(id))
        });
        row?.try_into()
    }

    /// Takes `quantity` units of stock for an order, once however often it is asked.
    ///
    /// An order whose units were given back gets none again: a late retry must not revive a cancelled order.
    pub(crate) async fn reserve(&self, order: i64, product: i64, quantity: i64) -> Result<(), Error> {
        let hold = (
            reservations::order_id.eq(order),
            reservations::product_id.eq(product),
            reservations::quantity.eq(quantity),
            reservations::released.eq(false),
        );
        in_transaction!(self.pool, conn => {
            let insert = diesel::insert_into(reservations::table).values(hold).on_conflict_do_nothing();
            if insert.execute(conn).await? == 0 {
                let columns = (reservations::product_id, reservations::quantity, reservations::released);
                let held = reservations::table.find(order).select(columns).get_result(conn).await?;
                return again(order, held, (product, quantity));
            }
            // The stock comes last: others who want the same product wait for it to the end of the transaction.
            let on_sale = products::table.find(product).filter(products::status.eq(Status::OnSale as i16));
            let enough = on_sale.filter(products::stock.ge(quantity));
            let taken = diesel::update(enough).set(products::stock.eq(products::stock - quantity)).execute(conn).await?;
            if taken == 0 {
                let status = products::table.find(product).select(products::status).get_result::<i16>(conn).await;
                return Err(match status.optional()? {
                    None => Error::NotFound(product),
                    Some(status) if status == Status::OnSale as i16 => {
                        Error::OutOfStock { product, quantity: quantity.unsigned_abs() }
                    }
                    Some(_) => Error::OffSale(product),
                });
            }
            fault::point("product.reserving");
            Ok(())
        })
    }

    /// Gives an order's units back, once however often it is asked; one that holds nothing gets nothing from now on.
    pub(crate) async fn release(&self, order: i64) -> Result<(), Error> {
        let nothing = (reservations::order_id.eq(order), reservations::quantity.eq(0), reservations::released.eq(true));
        in_transaction!(self.pool, conn => {
            let insert = diesel::insert_into(reservations::table).values(nothing).on_conflict_do_nothing();
            if insert.execute(conn).await? == 1 {
                return Ok(());
            }
            let held = reservations::table.find(order).filter(reservations::released.eq(false));
            let release = diesel::update(held).set(reservations::released.eq(true));
            let columns = (reservations::product_id, reservations::quantity);
            let released: Option<(Option<i64>, i64)> =
                release.returning(columns).get_result(conn).await.optional()?;
            if let Some((Some(product), quantity)) = released {
                let back = products::stock.eq(products::stock + quantity);
                diesel::update(products::table.find(product)).set(back).execute(conn).await?;
            }
            fault::point("product.releasing");
            Ok(())
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
