//! What a shop does all day, with 16 connections and one trace in a hundred: userinfo, product detail, orders on SQLite and
//! on PostgreSQL; and lists of orders in a table of a thousand and of a million.
//!
//! The goals are three and five times what go-zero-mall did on such a machine, with MariaDB and Redis: 1,910 userinfo calls a
//! second with a p99 of 40 ms, 2,500 good product details with 14 ms, 150 good orders.

use std::time::Duration;

use anyhow::Context as _;
use db::{PoolConfig, with_conn};
use diesel_async::SimpleAsyncConnection as _;
use serde_json::json;
use testkit::database::Server;
use testkit::process::{Mall, json as body};
use testkit::shopper::Shopper;

use crate::report::{Goal, Row, number};
use crate::traffic::{CONNECTIONS, Call as _, Load, load};
use crate::wire::Wire;
use crate::{MALL, median, on_one_thread, p99};

const WARM_UP: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let mut rows = Vec::new();
        let mall = Mall::of(MALL).variable("MALL__TELEMETRY__SAMPLER", "0.01").start().await;
        let shop = Shop::new(&mall).await?;
        rows.extend(shop.reads().await?);
        rows.extend(shop.orders("SQLite").await?);
        let url = format!("sqlite:{}", mall.data().join("order.db").display());
        rows.push(shop.list("SQLite", &url).await?);
        drop(mall);

        let server = Server::start(&["fsync=on", "synchronous_commit=on", "full_page_writes=on"]);
        let server = server.map_err(anyhow::Error::msg).context("start PostgreSQL")?;
        for database in ["user", "product", "order", "pay"] {
            server.create(database).await;
        }
        let url = server.url("");
        let mall = Mall::of(MALL)
            .variable("MALL__TELEMETRY__SAMPLER", "0.01")
            .argument("--postgres")
            .argument(url.trim_end_matches('/'))
            .start()
            .await;
        let shop = Shop::new(&mall).await?;
        rows.extend(shop.orders("PostgreSQL").await?);
        rows.push(shop.list("PostgreSQL", &server.url("order")).await?);
        Ok(rows)
    })
}

struct Shop<'a> {
    mall: &'a Mall,
    admin: Shopper,
    /// As many as there are connections.
    products: Vec<String>,
}

impl<'a> Shop<'a> {
    async fn new(mall: &'a Mall) -> anyhow::Result<Self> {
        let admin = Shopper::new(mall, "15838607660").await;
        let mut products = Vec::new();
        for _ in 0..CONNECTIONS {
            let product = json!({ "name": "Pear", "desc": "Ripe", "stock": 1_000_000, "amount": 50 });
            let made = mall.post("product.api", "/api/product/create", Some(&admin.token), &product).await;
            products.push(body(&made)["id"].as_str().context("a product without an id")?.to_owned());
        }
        Ok(Self { mall, admin, products })
    }

    fn wire(&self, service: &str, path: &str, body: &str) -> Wire {
        Wire::post(self.mall.address(service, "listen"), path, Some(&self.admin.token), body)
    }

    async fn reads(&self) -> anyhow::Result<Vec<Row>> {
        let detail = format!(r#"{{"id":{}}}"#, self.products[0]);
        let mut rows = Vec::new();
        for (what, wire, rate, time) in [
            ("userinfo", self.wire("user.api", "/api/user/userinfo", "{}"), 3.0 * 1910.0, 13.3),
            ("product detail", self.wire("product.api", "/api/product/detail", &detail), 3.0 * 2500.0, 4.7),
        ] {
            let clients = vec![wire; CONNECTIONS];
            let loads = rounds(&clients).await?;
            let per_second = median(loads.iter().map(|load| load.per_second));
            let note = format!("its client {:.0} % of a core", 100.0 * median(loads.iter().map(|load| load.client)));
            rows.push(
                Row::new(format!("{what}, REST, 16 connections"), Goal::AtLeast(rate), per_second, "/s").note(note),
            );
            let slow = median(loads.iter().map(|load| load.p99));
            rows.push(Row::new(format!("{what}, p99"), Goal::AtMost(time), slow, "ms"));
        }
        Ok(rows)
    }

    /// Orders of a product each, and of one product all.
    async fn orders(&self, database: &str) -> anyhow::Result<Vec<Row>> {
        let order = |pid: &String| self.wire("order.api", "/api/order/create", &format!(r#"{{"pid":{pid}}}"#));
        let apart: Vec<_> = self.products.iter().map(order).collect();
        let together = vec![order(&self.products[0]); CONNECTIONS];
        load(&apart, WARM_UP).await?;
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            pairs.push((load(&apart, TIME).await?, load(&together, TIME).await?));
        }
        let rate = median(pairs.iter().map(|(apart, _)| apart.per_second));
        let ratio = median(pairs.iter().map(|(apart, together)| 100.0 * together.per_second / apart.per_second));
        let p99 = median(pairs.iter().map(|(apart, _)| apart.p99));
        let contended = median(pairs.iter().map(|(_, together)| together.per_second));
        Ok(vec![
            Row::new(format!("orders, REST, {database}, 16 connections"), Goal::AtLeast(750.0), rate, "/s")
                .note(format!("none refused; p99 {} ms", number(p99))),
            Row::new(format!("orders of one product, of those, {database}"), Goal::AtLeast(33.3), ratio, "%")
                .note(format!("{contended:.0}/s")),
        ])
    }

    /// A user's first page, in a small table and in a large one.
    async fn list(&self, database: &str, url: &str) -> anyhow::Result<Row> {
        let pool = db::Pool::new(&url.parse()?, &PoolConfig { wait: Duration::from_secs(60), ..Default::default() })?;
        fill(&pool, "delete from orders").await?;
        fill(&pool, &orders(1, 1_000)).await?;
        let small = self.list_p99().await?;
        fill(&pool, &orders(1_001, 1_000_000)).await?;
        // As the server does by itself, some time later.
        fill(&pool, "analyze orders").await?;
        let large = self.list_p99().await?;
        let budget = format!("list of orders, p99 with 1,000,000 of that with 1,000, {database}");
        let note = format!("{} and {} ms", number(large), number(small));
        Ok(Row::new(budget, Goal::AtMost(200.0), 100.0 * large / small, "%").note(note))
    }

    async fn list_p99(&self) -> anyhow::Result<f64> {
        let mut wire = self.wire("order.api", "/api/order/list", "{}");
        let mut measured = Vec::new();
        for _ in 0..=ROUNDS {
            let mut times = Vec::new();
            for _ in 0..500 {
                let start = std::time::Instant::now();
                wire.call().await?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            measured.push(p99(times));
        }
        // The first round warms up.
        Ok(median(measured.into_iter().skip(1)))
    }
}

async fn rounds(clients: &[Wire]) -> anyhow::Result<Vec<Load>> {
    load(clients, WARM_UP).await?;
    let mut loads = Vec::new();
    for _ in 0..ROUNDS {
        loads.push(load(clients, TIME).await?);
    }
    Ok(loads)
}

/// Closed orders of a hundred users in turn, whose numbers are from here to there.
fn orders(from: u32, to: u32) -> String {
    format!(
        "insert into orders (uid, pid, quantity, unit_price, amount, status, hidden, created_at)
         with recursive n (i) as (select {from} union all select i + 1 from n where i < {to})
         select 1 + i % 100, 1, 1, 50, 50, 2, false, 0 from n"
    )
}

async fn fill(pool: &db::Pool, statement: &str) -> Result<(), db::Error> {
    with_conn!(pool, conn => conn.batch_execute(statement).await?);
    Ok(())
}
