//! The product service over real tonic, on SQLite and on PostgreSQL: one body for both.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use futures::future::join_all;
use product::Config;
use proto::FieldMask;
use proto::product::v1::product_service_client::ProductServiceClient;
use proto::product::v1::*;
use rpc::Lifecycle;
use testkit::database::{Database, on_each};
use testkit::service::{self, Keys, Running, fields, with_token};
use tonic::{Code, Status};

/// A running product.rpc over a database of its own.
struct Service {
    _keys: Keys,
    running: Running<domain::Error>,
    admin: String,
    order: String,
}

impl Service {
    async fn start(database: &Database) -> Self {
        Self::configured(database, |_| {}).await
    }

    async fn configured(database: &Database, change: impl FnOnce(&mut Config)) -> Self {
        let keys = Keys::default();
        let mut config = Config {
            server: service::server(),
            database: database.url.parse().unwrap(),
            pool: service::pool(),
            auth: keys.config(),
            cache: product::CacheConfig::default(),
            sample_products: false,
        };
        change(&mut config);
        let lifecycle = Lifecycle::new();
        let server = product::Server::bind(config, lifecycle.clone()).await.unwrap();
        let running = Running::new(server.address().unwrap(), lifecycle, server.serve());
        let (admin, order) = (keys.admin(1), keys.service("order.rpc", "product.rpc"));
        Self { _keys: keys, running, admin, order }
    }

    fn client(&self) -> ProductServiceClient<rpc::Channel> {
        ProductServiceClient::new(self.running.channel.clone())
    }

    async fn create(&self, stock: i64, amount: i64) -> Product {
        self.try_create(new("Apple", stock, amount)).await.unwrap()
    }

    async fn try_create(&self, request: CreateRequest) -> Result<Product, Status> {
        Ok(self.client().create(with_token(&self.admin, request)).await?.into_inner())
    }

    async fn update(&self, request: UpdateRequest) -> Result<Product, Status> {
        Ok(self.client().update(with_token(&self.admin, request)).await?.into_inner())
    }

    async fn detail(&self, id: i64) -> Result<Product, Status> {
        Ok(self.client().detail(DetailRequest { id }).await?.into_inner())
    }

    async fn stock(&self, id: i64) -> i64 {
        self.detail(id).await.unwrap().stock
    }

    async fn list(&self, request: ListRequest) -> Result<ListResponse, Status> {
        Ok(self.client().list(request).await?.into_inner())
    }

    async fn reserve(&self, order_id: i64, product_id: i64, quantity: i64) -> Result<(), Status> {
        let request = ReserveRequest { order_id, product_id, quantity };
        self.client().reserve(with_token(&self.order, request)).await.map(drop)
    }

    async fn release(&self, order_id: i64) -> Result<(), Status> {
        self.client().release(with_token(&self.order, ReleaseRequest { order_id })).await.map(drop)
    }
}

fn new(name: &str, stock: i64, amount: i64) -> CreateRequest {
    CreateRequest { name: name.into(), desc: "Crisp".into(), stock, amount, status: 0 }
}

fn change(id: i64) -> UpdateRequest {
    UpdateRequest { id, ..Default::default() }
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

async fn on_service(test: impl AsyncFn(&Service)) {
    on_each(product::MIGRATIONS, async |database| {
        let service = Service::start(&database).await;
        test(&service).await;
        service.running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_made_changed_and_taken_off_sale() {
    on_service(async |service| {
        let made = service.create(3, 50).await;
        let expected = Product { id: 1, name: "Apple".into(), desc: "Crisp".into(), stock: 3, amount: 50, status: 0 };
        assert_eq!(made, expected);
        assert_eq!(service.detail(1).await.unwrap(), made);

        let changed =
            service.update(UpdateRequest { name: Some("Pear".into()), amount: Some(60), ..change(1) }).await.unwrap();
        assert_eq!(changed, Product { name: "Pear".into(), amount: 60, ..made });

        let remove = RemoveRequest { id: 1 };
        service.client().remove(with_token(&service.admin, remove)).await.unwrap();
        service.client().remove(with_token(&service.admin, remove)).await.unwrap();
        assert_eq!(service.detail(1).await.unwrap(), Product { status: 1, ..changed });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_1_zero_is_a_value() {
    on_service(async |service| {
        let id = service.create(1, 50).await.id;
        let changed = service.update(UpdateRequest { stock: Some(0), ..change(id) }).await.unwrap();
        assert_eq!((changed.stock, changed.amount), (0, 50));
        let changed = service
            .update(UpdateRequest { amount: Some(0), desc: Some(String::new()), status: Some(0), ..change(id) })
            .await
            .unwrap();
        assert_eq!((changed.amount, changed.desc.as_str(), changed.status), (0, "", 0));
        // With a mask, what it names and is absent is zero, and what it does not name stays.
        service.update(UpdateRequest { amount: Some(9), stock: Some(9), ..change(id) }).await.unwrap();
        let masked = UpdateRequest { amount: Some(5), update_mask: mask(&["stock"]), ..change(id) };
        let changed = service.update(masked).await.unwrap();
        assert_eq!((changed.stock, changed.amount), (0, 9));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_2_no_change_of_the_stock_is_lost() {
    on_service(async |service| {
        let id = service.create(100, 50).await.id;
        let changes = join_all((0..40).map(|n| async move {
            let by = if n % 2 == 0 { 3 } else { -2 };
            service.update(UpdateRequest { stock_change: Some(by), ..change(id) }).await.unwrap();
        }));
        let orders = join_all((0..20).map(|n| async move { service.reserve(1 + n, id, 1).await.unwrap() }));
        tokio::join!(changes, orders);
        assert_eq!(service.stock(id).await, 100 + 20 * 3 - 20 * 2 - 20);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_stock_ends_at_the_numbers_edges() {
    on_service(async |service| {
        let id = service.create(5, 1).await.id;
        let by = |by| service.update(UpdateRequest { stock_change: Some(by), name: Some("New".into()), ..change(id) });
        let most = 1_000_000_000_000;
        assert_eq!(by(-5).await.unwrap().stock, 0);
        for less in [-1, -most] {
            assert_eq!(by(less).await.unwrap_err().code(), Code::FailedPrecondition);
        }
        assert_eq!(by(most).await.unwrap().stock, most);
        for more in [1, most, i64::MAX, i64::MIN] {
            assert_eq!(fields(&by(more).await.unwrap_err()), ["stockChange"]);
        }
        // What an order holds comes back to a full stock.
        service.reserve(7, id, 5).await.unwrap();
        service.update(UpdateRequest { stock: Some(most), ..change(id) }).await.unwrap();
        service.release(7).await.unwrap();
        assert_eq!(service.stock(id).await, most + 5);
        assert_eq!(by(-most).await.unwrap().stock, 5);
        // Nothing of a change that was refused is kept.
        let refused = UpdateRequest { stock_change: Some(-9), name: Some("Kept?".into()), ..change(id) };
        assert_eq!(service.update(refused).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(service.detail(id).await.unwrap().name, "New");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_field_is_named() {
    on_service(async |service| {
        let status = service
            .try_create(CreateRequest { name: " ".into(), desc: "\0".into(), stock: -1, amount: i64::MIN, status: 2 })
            .await
            .unwrap_err();
        assert_eq!(fields(&status), ["name", "desc", "stock", "amount", "status"]);
        for (request, named) in [
            (change(0), "id"),
            (UpdateRequest { name: Some(String::new()), ..change(1) }, "name"),
            (UpdateRequest { stock: Some(-1), ..change(1) }, "stock"),
            (UpdateRequest { stock: Some(i64::MAX), ..change(1) }, "stock"),
            (UpdateRequest { amount: Some(-1), ..change(1) }, "amount"),
            (UpdateRequest { status: Some(-1), ..change(1) }, "status"),
            (UpdateRequest { stock: Some(1), stock_change: Some(1), ..change(1) }, "stockChange"),
            (UpdateRequest { update_mask: mask(&["id"]), ..change(1) }, "updateMask"),
            (UpdateRequest { update_mask: mask(&["name"]), ..change(1) }, "name"),
        ] {
            assert_eq!(fields(&service.update(request.clone()).await.unwrap_err()), [named], "{request:?}");
        }
        for (order, product, quantity, named) in [(0, 1, 1, "orderId"), (1, -1, 1, "productId"), (1, 1, 0, "quantity")]
        {
            assert_eq!(fields(&service.reserve(order, product, quantity).await.unwrap_err()), [named]);
        }
        assert_eq!(fields(&service.release(0).await.unwrap_err()), ["orderId"]);
        assert_eq!(fields(&service.detail(0).await.unwrap_err()), ["id"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_not_there_is_not_found() {
    on_service(async |service| {
        assert_eq!(service.detail(7).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(service.detail(i64::MAX).await.unwrap_err().code(), Code::NotFound);
        for request in [
            change(7),
            UpdateRequest { amount: Some(1), ..change(7) },
            UpdateRequest { stock_change: Some(1), ..change(7) },
        ] {
            assert_eq!(service.update(request).await.unwrap_err().code(), Code::NotFound);
        }
        let remove = with_token(&service.admin, RemoveRequest { id: 7 });
        assert_eq!(service.client().remove(remove).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(service.reserve(1, 7, 1).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_made_once_and_given_back_once() {
    on_service(async |service| {
        let id = service.create(10, 50).await.id;
        for _ in 0..3 {
            service.reserve(7, id, 4).await.unwrap();
        }
        assert_eq!(service.stock(id).await, 6);
        // The order cannot have other units by the same name.
        assert_eq!(service.reserve(7, id, 5).await.unwrap_err().code(), Code::FailedPrecondition);
        for _ in 0..3 {
            service.release(7).await.unwrap();
        }
        assert_eq!(service.stock(id).await, 10);
        assert_eq!(service.reserve(7, id, 4).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(service.stock(id).await, 10);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_given_up_first_gets_nothing() {
    on_service(async |service| {
        let id = service.create(10, 50).await.id;
        service.release(7).await.unwrap();
        assert_eq!(service.reserve(7, id, 1).await.unwrap_err().code(), Code::FailedPrecondition);
        service.release(7).await.unwrap();
        assert_eq!(service.stock(id).await, 10);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_never_oversold() {
    on_service(async |service| {
        let id = service.create(20, 50).await.id;
        let tries = join_all((0..100).map(|order| service.reserve(1 + order, id, 1))).await;
        let refused: Vec<_> = tries.iter().filter_map(|it| it.as_ref().err()).collect();
        assert_eq!((refused.len(), service.stock(id).await), (80, 0));
        assert!(refused.iter().all(|status| status.code() == Code::FailedPrecondition), "{refused:?}");
        // A refusal is for good, even if there is stock again: the order was rejected for it.
        service.update(UpdateRequest { stock: Some(100), ..change(id) }).await.unwrap();
        for (order, before) in (1..).zip(&tries) {
            assert_eq!(service.reserve(order, id, 1).await.is_ok(), before.is_ok());
        }
        assert_eq!(service.stock(id).await, 100);
        // More than there ever was, and the most that can be asked for.
        assert_eq!(service.reserve(999, id, i64::MAX).await.unwrap_err().code(), Code::FailedPrecondition);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_reserve_and_release_one_order_agree() {
    on_service(async |service| {
        let id = service.create(50, 50).await.id;
        join_all((0..20).map(|n| async move {
            if n % 2 == 0 { service.reserve(7, id, 5).await } else { service.release(7).await }
        }))
        .await;
        service.release(7).await.unwrap();
        assert_eq!(service.stock(id).await, 50);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_10_what_is_off_sale_is_not_sold() {
    on_service(async |service| {
        let id = service.create(10, 50).await.id;
        service.update(UpdateRequest { status: Some(1), ..change(id) }).await.unwrap();
        let status = service.reserve(1, id, 1).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "product 1 is off sale"));
        assert_eq!(service.stock(id).await, 10);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_page_by_page_and_filtered() {
    on_service(async |service| {
        for name in ["Green Apple", "Äpfel 100%", "Pear", "apple_pie", "Plum"] {
            service.try_create(new(name, 1, 1)).await.unwrap();
        }
        service.update(UpdateRequest { status: Some(1), ..change(3) }).await.unwrap();
        let ids = async |request: ListRequest| {
            let page = service.list(request).await.unwrap();
            (page.products.iter().map(|product| product.id).collect::<Vec<_>>(), page.next_page_token)
        };
        let two = ListRequest { page_size: 2, ..Default::default() };
        let (first, token) = ids(two.clone()).await;
        service.try_create(new("Late", 1, 1)).await.unwrap();
        let (second, next) = ids(ListRequest { page_token: token.clone(), ..two.clone() }).await;
        let (third, end) = ids(ListRequest { page_token: next, ..two.clone() }).await;
        assert_eq!((first, second, third, end.as_str()), (vec![5, 4], vec![3, 2], vec![1], ""));

        let text = |text: &str| ListRequest { text: text.into(), ..Default::default() };
        for (wanted, found) in
            [("APPLE", vec![4, 1]), ("äPFEL", vec![2]), ("%", vec![2]), ("_", vec![4]), ("\\", vec![]), ("x", vec![])]
        {
            assert_eq!(ids(text(wanted)).await.0, found, "{wanted}");
        }
        let status = |status| ListRequest { status: Some(status), ..Default::default() };
        assert_eq!(ids(status(1)).await.0, [3]);
        assert_eq!(ids(status(0)).await.0, [6, 5, 4, 2, 1]);

        // A token of another list, and what is none at all.
        for (request, named) in [
            (ListRequest { page_token: token.clone(), ..text("apple") }, "pageToken"),
            (ListRequest { page_token: "what".into(), ..two.clone() }, "pageToken"),
            (ListRequest { page_size: -1, ..two.clone() }, "pageSize"),
            (ListRequest { page_size: 101, ..two }, "pageSize"),
            (status(2), "status"),
            (text("\0"), "text"),
        ] {
            assert_eq!(fields(&service.list(request).await.unwrap_err()), [named]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_without_products_gets_a_few_once() {
    on_each(product::MIGRATIONS, async |database| {
        let names = async || {
            let service = Service::configured(&database, |config| config.sample_products = true).await;
            let products = service.list(ListRequest::default()).await.unwrap().products;
            service.running.stop().await;
            products.into_iter().map(|product| product.name).collect::<Vec<_>>()
        };
        let first = names().await;
        assert_eq!(first, ["Tea", "Honey", "Coffee", "Bread", "Apple"]);
        assert_eq!(names().await, first);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reservation_is_looked_for_in_all_of_them() {
    on_each(product::MIGRATIONS, async |database| {
        let plan = testkit::database::plan(&database, "select * from reservations where order_id = $1").await;
        assert!(!plan.contains("SCAN reservations") && !plan.contains("Seq Scan"), "{plan}");
    })
    .await;
}

/// Two processes with one database, so that what one keeps is not what the other writes.
async fn on_two_services(lifetime: Duration, test: impl AsyncFn(&Service, &Service)) {
    on_each(product::MIGRATIONS, async |database| {
        let keep = |config: &mut Config| config.cache.lifetime = lifetime;
        let (one, other) = (Service::configured(&database, keep).await, Service::configured(&database, |_| {}).await);
        test(&one, &other).await;
        one.running.stop().await;
        other.running.stop().await;
    })
    .await;
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_around_sees_what_was_there_a_moment_ago_and_what_was_done_here() {
    on_two_services(LONG, async |one, other| {
        let id = one.create(10, 50).await.id;
        let names = async || {
            let listed = one.list(ListRequest::default()).await.unwrap().products;
            [one.detail(id).await.unwrap().name, listed[0].name.clone()]
        };
        assert_eq!(names().await, ["Apple", "Apple"]);
        other.update(UpdateRequest { name: Some("Pear".into()), ..change(id) }).await.unwrap();
        assert_eq!(names().await, ["Apple", "Apple"]);
        // Whoever writes, or buys, sees what is there.
        for token in [&one.admin, &one.order] {
            let request = with_token(token, DetailRequest { id });
            assert_eq!(one.client().detail(request).await.unwrap().into_inner().name, "Pear");
        }
        assert_eq!(names().await, ["Apple", "Apple"]);

        let stocks = async || {
            let listed = one.list(ListRequest::default()).await.unwrap().products;
            [one.stock(id).await, listed[0].stock]
        };
        one.reserve(1, id, 3).await.unwrap();
        assert_eq!(stocks().await, [7, 7]);
        one.release(1).await.unwrap();
        assert_eq!(stocks().await, [10, 10]);
        other.reserve(2, id, 4).await.unwrap();
        assert_eq!(stocks().await, [10, 10]);
        one.update(UpdateRequest { amount: Some(60), ..change(id) }).await.unwrap();
        assert_eq!(stocks().await, [6, 6]);
        one.reserve(3, id, 7).await.expect_err("the cache sells nothing");
        assert_eq!(one.create(1, 1).await.id, id + 1);
        assert_eq!(one.list(ListRequest::default()).await.unwrap().products.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_remembered_until_it_is_made_here() {
    on_two_services(LONG, async |one, other| {
        for id in 1..=2 {
            assert_eq!(one.detail(id).await.unwrap_err().code(), Code::NotFound);
        }
        other.create(1, 1).await;
        assert_eq!(one.detail(1).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(one.create(5, 1).await.id, 2);
        assert_eq!(one.stock(2).await, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_for_longer_than_its_time_or_where_it_has_none() {
    on_two_services(Duration::ZERO, async |one, other| {
        let id = one.create(10, 50).await.id;
        assert_eq!(one.stock(id).await, 10);
        other.reserve(1, id, 4).await.unwrap();
        assert_eq!(one.stock(id).await, 6);
        assert_eq!(one.list(ListRequest::default()).await.unwrap().products[0].stock, 6);
    })
    .await;
    on_two_services(Duration::from_millis(200), async |one, other| {
        let id = one.create(10, 50).await.id;
        one.stock(id).await;
        other.reserve(1, id, 4).await.unwrap();
        testkit::eventually("the change", async || (one.stock(id).await == 6).then_some(())).await;
    })
    .await;
}
