//! The payment service over real tonic with real order.rpc and product.rpc, on SQLite and on PostgreSQL: one body for both.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use auth::Clock;
use domain::recovery;
use futures::future::join_all;
use pay::Config;
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{self as orders, Order};
use proto::pay::v1::pay_service_client::PayServiceClient;
use proto::pay::v1::*;
use proto::product::v1::product_service_client::ProductServiceClient;
use rpc::Lifecycle;
use testkit::database::{Database, on_each, on_sqlite, plan};
use testkit::service::{self, Keys, Running, fields, with_token};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

const PAID: i32 = 1;
const FAILED: i32 = 2;
const REFUND_DUE: i32 = 3;
const CANCELLED: i32 = 6;

/// pay.rpc over the database of the test, and the services behind it over their own.
struct Shop {
    keys: Keys,
    user: String,
    pay: Running<domain::Error>,
    orders: Running<domain::Error>,
    products: Running<domain::Error>,
}

/// Looks every 20 ms.
fn recovery() -> recovery::Config {
    let moment = Duration::from_millis(20);
    recovery::Config { interval: moment, wait: moment, longest_wait: 5 * moment, ..Default::default() }
}

async fn start_orders(keys: &Keys, database: &Database, products: &Running<domain::Error>) -> Running<domain::Error> {
    let config = order::Config {
        server: service::server(),
        database: database.url.parse().unwrap(),
        pool: service::pool(),
        auth: keys.config(),
        product: service::client(products.address),
        unpaid: Duration::from_secs(1800),
        recovery: recovery(),
    };
    let lifecycle = Lifecycle::new();
    let server = order::Server::bind(config, lifecycle.clone()).await.unwrap();
    Running::new(server.address().unwrap(), lifecycle, server.serve())
}

async fn start_pay(
    keys: &Keys,
    database: &Database,
    orders: &Running<domain::Error>,
    admin_settles: bool,
) -> Running<domain::Error> {
    let config = Config {
        server: service::server(),
        database: database.url.parse().unwrap(),
        pool: service::pool(),
        auth: keys.config(),
        order: service::client(orders.address),
        provider: "sandbox".into(),
        admin_settles,
        recovery: recovery(),
    };
    let lifecycle = Lifecycle::new();
    let server = pay::Server::bind(config, lifecycle.clone()).await.unwrap();
    Running::new(server.address().unwrap(), lifecycle, server.serve())
}

impl Shop {
    async fn start(database: &Database, orders: &Database, products: &Database, admin_settles: bool) -> Self {
        let keys = Keys::default();
        let config = product::Config {
            server: service::server(),
            database: products.url.parse().unwrap(),
            pool: service::pool(),
            auth: keys.config(),
            cache: product::CacheConfig::default(),
            sample_products: true,
        };
        let lifecycle = Lifecycle::new();
        let server = product::Server::bind(config, lifecycle.clone()).await.unwrap();
        let products = Running::new(server.address().unwrap(), lifecycle, server.serve());
        let orders = start_orders(&keys, orders, &products).await;
        let pay = start_pay(&keys, database, &orders, admin_settles).await;
        Self { user: keys.user(2), keys, pay, orders, products }
    }

    fn client(&self) -> PayServiceClient<rpc::Channel> {
        PayServiceClient::new(self.pay.channel.clone())
    }

    fn order_client(&self) -> OrderServiceClient<rpc::Channel> {
        OrderServiceClient::new(self.orders.channel.clone())
    }

    /// An order of one apple, for 50.
    async fn order(&self) -> Order {
        let request = orders::CreateRequest { pid: 1, ..Default::default() };
        self.order_client().create(with_token(&self.user, request)).await.unwrap().into_inner()
    }

    async fn order_status(&self, id: i64) -> i32 {
        let request = with_token(&self.user, orders::DetailRequest { id });
        self.order_client().detail(request).await.unwrap().into_inner().status
    }

    async fn cancel(&self, id: i64) {
        self.order_client().remove(with_token(&self.user, orders::RemoveRequest { id })).await.unwrap();
    }

    async fn create(&self, request: CreateRequest) -> Result<Payment, Status> {
        Ok(self.client().create(with_token(&self.user, request)).await?.into_inner())
    }

    async fn payment(&self, order: &Order) -> Payment {
        self.create(of(order.id)).await.unwrap()
    }

    async fn status(&self, id: i64) -> i32 {
        let request = with_token(&self.user, DetailRequest { id });
        self.client().detail(request).await.unwrap().into_inner().status
    }

    /// A callback, signed as the provider does it.
    fn signed(&self, callback: CallbackRequest) -> Request<CallbackRequest> {
        let body = serde_json::to_vec(&callback).unwrap();
        let signature = self.keys.provider().sign(&body);
        with_signature(callback, &signature, &body)
    }

    async fn call_back(&self, callback: CallbackRequest) -> Result<(), Status> {
        self.send(self.signed(callback)).await
    }

    async fn send(&self, request: Request<CallbackRequest>) -> Result<(), Status> {
        self.client().callback(request).await.map(drop)
    }

    async fn stop(self) {
        self.pay.stop().await;
        self.orders.stop().await;
        self.products.stop().await;
    }
}

fn with_signature(callback: CallbackRequest, signature: &str, body: &[u8]) -> Request<CallbackRequest> {
    let mut request = Request::new(callback);
    request.metadata_mut().insert("x-signature", signature.parse().unwrap());
    request.metadata_mut().insert_bin("x-signed-body-bin", MetadataValue::from_bytes(body));
    request
}

fn of(oid: i64) -> CreateRequest {
    CreateRequest { oid, ..Default::default() }
}

/// What the provider says of a payment.
fn says(payment: &Payment, status: i32) -> CallbackRequest {
    let Payment { id, oid, amount, .. } = *payment;
    CallbackRequest { id, uid: None, oid, amount, source: 3, status }
}

async fn on_shop(test: impl AsyncFn(&Shop)) {
    on_settled_by_admin(false, test).await;
}

async fn on_settled_by_admin(admin_settles: bool, test: impl AsyncFn(&Shop)) {
    on_each(pay::MIGRATIONS, async |database| {
        on_sqlite(order::MIGRATIONS, async |orders| {
            on_sqlite(product::MIGRATIONS, async |products| {
                let shop = Shop::start(&database, &orders, &products, admin_settles).await;
                test(&shop).await;
                shop.stop().await;
            })
            .await;
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_settled_and_its_order_paid() {
    on_shop(async |shop| {
        let order = shop.order().await;
        let payment = shop.payment(&order).await;
        let expected = Payment { id: 1, uid: 2, oid: order.id, amount: 50, source: 0, status: 0 };
        assert_eq!(payment, expected);
        shop.call_back(CallbackRequest { uid: Some(2), ..says(&payment, PAID) }).await.unwrap();
        let detail = shop.client().detail(with_token(&shop.user, DetailRequest { id: 1 })).await.unwrap().into_inner();
        assert_eq!(detail, Payment { source: 3, status: PAID, ..expected });
        assert_eq!(shop.order_status(order.id).await, PAID);
        // It is paid: there is nothing more to pay.
        assert_eq!(shop.create(of(order.id)).await.unwrap_err().code(), Code::FailedPrecondition);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_6_a_payment_costs_what_its_order_costs_and_pays_no_other() {
    on_shop(async |shop| {
        let (order, other) = (shop.order().await, shop.order().await);
        for amount in [0, 1, i64::MAX] {
            let cheap = CreateRequest { amount: Some(amount), ..of(order.id) };
            assert_eq!(fields(&shop.create(cheap).await.unwrap_err()), ["amount"]);
        }
        let payment = shop.create(CreateRequest { uid: Some(2), amount: Some(50), ..of(order.id) }).await.unwrap();
        let paid = says(&payment, PAID);
        for (callback, named) in [
            (CallbackRequest { oid: other.id, ..paid }, "oid"),
            (CallbackRequest { amount: 49, ..paid }, "amount"),
            (CallbackRequest { uid: Some(3), ..paid }, "uid"),
        ] {
            assert_eq!(fields(&shop.call_back(callback).await.unwrap_err()), [named]);
        }
        let metrics = telemetry::metrics_text();
        assert!(metrics.contains(r#"reason="mismatch""#), "{metrics}");
        assert_eq!((shop.status(payment.id).await, shop.order_status(other.id).await), (0, 0));

        // A payment that failed pays nothing, and stays failed; the order may have another.
        shop.call_back(says(&payment, FAILED)).await.unwrap();
        shop.call_back(says(&payment, FAILED)).await.unwrap();
        assert_eq!((shop.status(payment.id).await, shop.order_status(order.id).await), (FAILED, 0));
        assert_eq!(shop.call_back(paid).await.unwrap_err().code(), Code::FailedPrecondition);
        let second = shop.payment(&order).await;
        assert_ne!(second.id, payment.id);
        shop.call_back(says(&second, PAID)).await.unwrap();
        assert_eq!(shop.call_back(says(&second, FAILED)).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!((shop.status(second.id).await, shop.order_status(order.id).await), (PAID, PAID));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_7_an_order_has_one_payment() {
    on_shop(async |shop| {
        let order = shop.order().await;
        let payments = join_all((0..20).map(|_| shop.create(of(order.id)))).await;
        assert!(payments.into_iter().all(|payment| payment.unwrap().id == 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_is_the_providers_and_lately_signed() {
    on_shop(async |shop| {
        let payment = shop.payment(&shop.order().await).await;
        let callback = says(&payment, PAID);
        let body = serde_json::to_vec(&callback).unwrap();
        let now = domain::now().unsigned_abs() / 1000;
        let at = |time| shop.keys.provider().with_clock(Clock::new(move || time)).sign(&body);
        let other_body = serde_json::to_vec(&says(&payment, FAILED)).unwrap();
        let anothers = Keys::default().provider().sign(&body);
        for (what, request) in [
            ("no signature", Request::new(callback)),
            ("no token is one", with_token(&shop.user, callback)),
            ("nor an admin's", with_token(&shop.keys.admin(1), callback)),
            ("malformed", with_signature(callback, "t=1,v1=00", &body)),
            ("of another", with_signature(callback, &anothers, &body)),
            ("old", with_signature(callback, &at(now - 400), &body)),
            ("yet to come", with_signature(callback, &at(now + 400), &body)),
            ("another body", with_signature(callback, &at(now), &other_body)),
            ("another message", with_signature(says(&payment, FAILED), &at(now), &body)),
            ("no body", with_signature(callback, &at(now), b"")),
        ] {
            let status = shop.send(request).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{what}: {status:?}");
        }
        assert_eq!(shop.status(payment.id).await, 0);
        let metrics = telemetry::metrics_text();
        assert!(metrics.contains("mall_pay_callbacks_refused") && metrics.contains("signature"), "{metrics}");

        // A replay, of its very bytes or signed anew, changes nothing.
        let signature = at(now);
        for _ in 0..3 {
            shop.send(with_signature(callback, &signature, &body)).await.unwrap();
            shop.call_back(callback).await.unwrap();
        }
        assert_eq!((shop.status(payment.id).await, shop.order_status(payment.oid).await), (PAID, PAID));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_field_is_named() {
    on_shop(async |shop| {
        let bad = CallbackRequest { id: 0, uid: None, oid: -1, amount: -1, source: -1, status: 0 };
        assert_eq!(fields(&shop.call_back(bad).await.unwrap_err()), ["id", "oid", "amount", "source", "status"]);
        let status = shop.create(CreateRequest { uid: Some(3), ..of(0) }).await.unwrap_err();
        assert_eq!(fields(&status), ["uid", "oid"]);
        let unknown = CallbackRequest { id: 99, uid: None, oid: 1, amount: i64::MAX, source: i32::MAX, status: PAID };
        assert_eq!(shop.call_back(unknown).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(shop.create(of(99)).await.unwrap_err().code(), Code::NotFound);
        let detail = async |id| shop.client().detail(with_token(&shop.user, DetailRequest { id })).await.unwrap_err();
        assert_eq!(fields(&detail(i64::MIN).await), ["id"]);
        assert_eq!(detail(99).await.code(), Code::NotFound);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_4_payments_are_their_owners_business() {
    on_shop(async |shop| {
        let order = shop.order().await;
        let payment = shop.payment(&order).await;
        let (other, admin) = (shop.keys.user(3), shop.keys.admin(1));
        let create = shop.client().create(with_token(&other, of(order.id))).await;
        assert_eq!(create.unwrap_err().code(), Code::NotFound);
        let detail = shop.client().detail(with_token(&other, DetailRequest { id: payment.id })).await;
        assert_eq!(detail.unwrap_err().code(), Code::NotFound);
        let detail = shop.client().detail(with_token(&admin, DetailRequest { id: payment.id })).await;
        assert_eq!(detail.unwrap().into_inner(), payment);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_for_a_cancelled_order_is_to_be_given_back() {
    on_shop(async |shop| {
        let order = shop.order().await;
        let payment = shop.payment(&order).await;
        shop.cancel(order.id).await;
        for _ in 0..2 {
            shop.call_back(says(&payment, PAID)).await.unwrap();
        }
        assert_eq!((shop.status(payment.id).await, shop.order_status(order.id).await), (REFUND_DUE, CANCELLED));
        assert_eq!(shop.create(of(order.id)).await.unwrap_err().code(), Code::FailedPrecondition);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_paying_and_cancelling_one_wins() {
    on_shop(async |shop| {
        for _ in 0..5 {
            let order = shop.order().await;
            let payment = shop.payment(&order).await;
            let remove = with_token(&shop.user, orders::RemoveRequest { id: order.id });
            let mut client = shop.order_client();
            let (settled, removed) = tokio::join!(shop.call_back(says(&payment, PAID)), client.remove(remove));
            settled.unwrap();
            let ends = (shop.status(payment.id).await, shop.order_status(order.id).await);
            assert_eq!(ends, if removed.is_ok() { (REFUND_DUE, CANCELLED) } else { (PAID, PAID) });
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_settles_where_that_is_wanted() {
    on_settled_by_admin(true, async |shop| {
        let payment = shop.payment(&shop.order().await).await;
        for token in [shop.keys.user(2), shop.keys.service("order.rpc", "pay.rpc")] {
            let status = shop.send(with_token(&token, says(&payment, PAID))).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated);
        }
        // A wrong signature is not made good by a token.
        let mut request = with_token(&shop.keys.admin(1), says(&payment, PAID));
        request.metadata_mut().insert("x-signature", "t=1,v1=00".parse().unwrap());
        assert_eq!(shop.send(request).await.unwrap_err().code(), Code::Unauthenticated);
        shop.send(with_token(&shop.keys.admin(1), says(&payment, PAID))).await.unwrap();
        assert_eq!(shop.order_status(payment.oid).await, PAID);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_rpc_is_told_once_it_is_back() {
    on_sqlite(pay::MIGRATIONS, async |database| {
        on_sqlite(order::MIGRATIONS, async |order_database| {
            on_sqlite(product::MIGRATIONS, async |products| {
                let mut shop = Shop::start(&database, &order_database, &products, false).await;
                let payment = shop.payment(&shop.order().await).await;
                shop.orders.kill().await;
                // It is settled, for the provider has the money, whoever hears of it.
                shop.call_back(says(&payment, PAID)).await.unwrap();
                assert_eq!(shop.create(of(payment.oid)).await.unwrap_err().code(), Code::Unavailable);
                shop.orders = start_orders(&shop.keys, &order_database, &shop.products).await;
                shop.pay.kill().await;
                shop.pay = start_pay(&shop.keys, &database, &shop.orders, false).await;
                testkit::eventually("the order is paid", async || {
                    (shop.order_status(payment.oid).await == PAID).then_some(())
                })
                .await;
                shop.stop().await;
            })
            .await;
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_do_no_more_than_it_needs() {
    on_shop(async |shop| {
        // The other services' methods refuse pay.rpc, but for the two that it needs.
        let channel = &shop.products.channel;
        let mut products = ProductServiceClient::new(channel.clone());
        let token = shop.keys.service("pay.rpc", "product.rpc");
        let release = with_token(&token, proto::product::v1::ReleaseRequest { order_id: 1 });
        assert_eq!(products.release(release).await.unwrap_err().code(), Code::PermissionDenied);
        // A token for another service is none here.
        let misdirected = shop.keys.service("pay.rpc", "product.rpc");
        let detail = with_token(&misdirected, orders::DetailRequest { id: 1 });
        assert_eq!(shop.order_client().detail(detail).await.unwrap_err().code(), Code::Unauthenticated);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_payment_is_looked_for_in_all_of_them() {
    on_each(pay::MIGRATIONS, async |database| {
        for query in [
            "select * from payments where id = $1",
            "select * from payments where oid = $1 and status <> 2",
            "select payment_id from outbox where due_at <= $1 order by due_at limit $2",
            "select count(*), min(due_at) from outbox where due_at <= $1 and since is null",
        ] {
            let plan = plan(&database, query).await;
            let is_scan = plan.contains("Seq Scan") || plan.lines().any(|step| step.starts_with("SCAN"));
            assert!(!is_scan && !plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "{query}: {plan}");
        }
    })
    .await;
}
