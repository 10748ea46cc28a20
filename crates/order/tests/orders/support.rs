//! A running order.rpc and product.rpc, each over a database of its own.

use std::net::SocketAddr;
use std::time::Duration;

use domain::recovery;
use order::Config;
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::*;
use proto::product::v1::product_service_client::ProductServiceClient;
use proto::product::v1::{self, CreateRequest as NewProduct, Product};
use rpc::Lifecycle;
use testkit::database::{Database, on_each, on_sqlite};
use testkit::service::{self, Keys, Running, with_token};
use tonic::Status;

/// The states of an order, as the API numbers them.
pub(crate) const PLACED: i32 = 0;
pub(crate) const PAID: i32 = 1;
pub(crate) const CLOSED: i32 = 2;
pub(crate) const PENDING: i32 = 3;
pub(crate) const REJECTED: i32 = 4;
pub(crate) const CANCELLING: i32 = 5;
pub(crate) const CANCELLED: i32 = 6;

/// When orders move on by themselves.
#[derive(Clone)]
pub(crate) struct Times {
    /// How long an order may be unpaid.
    pub(crate) unpaid: Duration,
    /// How long a call has for a step before the recovery worker takes it.
    pub(crate) step: Duration,
}

/// Two services and their callers.
pub(crate) struct Shop {
    pub(crate) keys: Keys,
    pub(crate) database: Database,
    pub(crate) products: Running<domain::Error>,
    pub(crate) orders: Running<domain::Error>,
    pub(crate) admin: String,
    pub(crate) user: String,
    pub(crate) pay: String,
}

impl Shop {
    /// Over this database, whose recovery worker looks every 20 ms; product.rpc keeps its own beside it.
    pub(crate) async fn start(database: &Database, products: &Database, times: Times) -> Self {
        let keys = Keys::default();
        let products = start_products(&keys, products, None).await;
        let orders = start_orders(&keys, database, &products, times).await;
        let (admin, user, pay) = (keys.admin(1), keys.user(2), keys.service("pay.rpc", "order.rpc"));
        Self { keys, database: database.clone(), products, orders, admin, user, pay }
    }

    pub(crate) fn client(&self) -> OrderServiceClient<rpc::Channel> {
        OrderServiceClient::new(self.orders.channel.clone())
    }

    pub(crate) fn product_client(&self) -> ProductServiceClient<rpc::Channel> {
        ProductServiceClient::new(self.products.channel.clone())
    }

    pub(crate) async fn product(&self, stock: i64, amount: i64) -> Product {
        let new = NewProduct { name: "Apple".into(), desc: String::new(), stock, amount, status: 0 };
        self.product_client().create(with_token(&self.admin, new)).await.unwrap().into_inner()
    }

    pub(crate) async fn change_product(&self, change: v1::UpdateRequest) {
        self.product_client().update(with_token(&self.admin, change)).await.unwrap();
    }

    pub(crate) async fn stock(&self, id: i64) -> i64 {
        self.product_client().detail(v1::DetailRequest { id }).await.unwrap().into_inner().stock
    }

    pub(crate) async fn create(&self, request: CreateRequest) -> Result<Order, Status> {
        self.create_as(&self.user, request).await
    }

    pub(crate) async fn create_as(&self, token: &str, request: CreateRequest) -> Result<Order, Status> {
        Ok(self.client().create(with_token(token, request)).await?.into_inner())
    }

    /// With the key in the header.
    pub(crate) async fn create_named(&self, key: &str, request: CreateRequest) -> Result<Order, Status> {
        let mut request = with_token(&self.user, request);
        request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
        Ok(self.client().create(request).await?.into_inner())
    }

    pub(crate) async fn update(&self, request: UpdateRequest) -> Result<Order, Status> {
        Ok(self.client().update(with_token(&self.admin, request)).await?.into_inner())
    }

    pub(crate) async fn remove(&self, id: i64) -> Result<(), Status> {
        self.client().remove(with_token(&self.user, RemoveRequest { id })).await.map(drop)
    }

    pub(crate) async fn detail(&self, id: i64) -> Result<Order, Status> {
        Ok(self.client().detail(with_token(&self.user, DetailRequest { id })).await?.into_inner())
    }

    pub(crate) async fn list(&self, token: &str, request: ListRequest) -> Result<ListResponse, Status> {
        Ok(self.client().list(with_token(token, request)).await?.into_inner())
    }

    pub(crate) async fn mark_paid(&self, order_id: i64, payment_id: i64, amount: i64) -> Result<(), Status> {
        let request = MarkPaidRequest { order_id, payment_id, amount };
        self.client().mark_paid(with_token(&self.pay, request)).await.map(drop)
    }

    /// Waits until an order has come to a state.
    pub(crate) async fn until(&self, id: i64, status: i32) -> Order {
        let what = format!("order {id} has the status {status}");
        testkit::eventually(&what, async || self.detail(id).await.ok().filter(|order| order.status == status)).await
    }

    /// Another order.rpc over the same database.
    pub(crate) async fn second(&self, times: Times) -> Running<domain::Error> {
        start_orders(&self.keys, &self.database, &self.products, times).await
    }

    pub(crate) async fn stop(self) {
        self.orders.stop().await;
        self.products.stop().await;
    }
}

/// One unit of a product, without a key.
pub(crate) fn one(pid: i64) -> CreateRequest {
    CreateRequest { pid, ..Default::default() }
}

pub(crate) fn to(id: i64, status: i32) -> UpdateRequest {
    UpdateRequest { id, status: Some(status), ..Default::default() }
}

/// As in production, but that a step may take a while on a busy test machine.
pub(crate) fn patient() -> Times {
    Times { unpaid: Duration::from_secs(1800), step: Duration::from_secs(300) }
}

/// Runs a test on a shop, whose orders are on each database in turn.
pub(crate) async fn on_shop(times: Times, test: impl AsyncFn(&Shop)) {
    on_each(order::MIGRATIONS, async |database| {
        on_sqlite(product::MIGRATIONS, async |products| {
            let shop = Shop::start(&database, &products, times.clone()).await;
            test(&shop).await;
            shop.stop().await;
        })
        .await;
    })
    .await;
}

/// On a free port, or where one was before.
pub(crate) async fn start_products(
    keys: &Keys,
    database: &Database,
    address: Option<SocketAddr>,
) -> Running<domain::Error> {
    let server = service::server();
    let listen = address.unwrap_or(server.listen);
    let config = product::Config {
        server: rpc::server::Config { listen, ..server },
        database: database.url.parse().unwrap(),
        pool: service::pool(),
        auth: keys.config(),
        cache: product::CacheConfig::default(),
        sample_products: false,
    };
    let lifecycle = Lifecycle::new();
    let server = product::Server::bind(config, lifecycle.clone()).await.unwrap();
    Running::new(server.address().unwrap(), lifecycle, server.serve())
}

pub(crate) async fn start_orders(
    keys: &Keys,
    database: &Database,
    products: &Running<domain::Error>,
    times: Times,
) -> Running<domain::Error> {
    let moment = Duration::from_millis(20);
    let config = Config {
        server: service::server(),
        database: database.url.parse().unwrap(),
        pool: service::pool(),
        auth: keys.config(),
        product: service::client(products.address),
        unpaid: times.unpaid,
        recovery: recovery::Config {
            interval: moment,
            head_start: times.step,
            wait: moment,
            longest_wait: 5 * moment,
            ..Default::default()
        },
    };
    let lifecycle = Lifecycle::new();
    let server = order::Server::bind(config, lifecycle.clone()).await.unwrap();
    Running::new(server.address().unwrap(), lifecycle, server.serve())
}
