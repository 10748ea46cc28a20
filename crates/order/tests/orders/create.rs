//! Making orders: prices, rules, keys, too few units.

use std::collections::BTreeSet;

use futures::future::join_all;
use proto::order::v1::*;
use proto::product::v1::UpdateRequest as ChangeProduct;
use testkit::service::fields;
use tonic::Code;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_has_the_price_of_its_moment() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let order = shop.create(CreateRequest { quantity: Some(3), ..one(product.id) }).await.unwrap();
        assert!(order.created_at > 1_700_000_000);
        let expected = Order {
            id: 1,
            uid: 2,
            pid: product.id,
            amount: 150,
            status: PLACED,
            quantity: 3,
            unit_price: 50,
            created_at: order.created_at,
        };
        assert_eq!(order, expected);
        assert_eq!(shop.stock(product.id).await, 7);
        shop.change_product(ChangeProduct { id: product.id, amount: Some(99), ..Default::default() }).await;
        assert_eq!(shop.detail(1).await.unwrap(), expected);
        // One unit where nothing is said.
        let order = shop.create(one(product.id)).await.unwrap();
        assert_eq!((order.quantity, order.amount), (1, 99));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_field_is_named() {
    on_shop(patient(), async |shop| {
        let bad = CreateRequest {
            uid: Some(3),
            pid: 0,
            amount: None,
            status: Some(1),
            quantity: Some(0),
            idempotency_key: Some("two words".into()),
        };
        assert_eq!(
            fields(&shop.create(bad).await.unwrap_err()),
            ["uid", "status", "pid", "quantity", "idempotencyKey"]
        );
        for quantity in [0, -1, 1001, i64::MIN, i64::MAX] {
            let bad = CreateRequest { quantity: Some(quantity), ..one(1) };
            assert_eq!(fields(&shop.create(bad).await.unwrap_err()), ["quantity"], "{quantity}");
        }
        for key in [String::new(), "x".repeat(129), "ä".into()] {
            let bad = CreateRequest { idempotency_key: Some(key), ..one(1) };
            assert_eq!(fields(&shop.create(bad).await.unwrap_err()), ["idempotencyKey"]);
        }
        let other = CreateRequest { idempotency_key: Some("another".into()), ..one(1) };
        assert_eq!(fields(&shop.create_named("one", other).await.unwrap_err()), ["idempotencyKey"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_3_a_retry_is_the_same_order() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let first = shop.create_named("mine", one(product.id)).await.unwrap();
        shop.change_product(ChangeProduct { id: product.id, amount: Some(99), ..Default::default() }).await;
        assert_eq!(shop.create_named("mine", one(product.id)).await.unwrap(), first);
        let in_field = CreateRequest { idempotency_key: Some("mine".into()), ..one(product.id) };
        assert_eq!(shop.create(in_field.clone()).await.unwrap(), first);
        assert_eq!(shop.create_named("mine", in_field.clone()).await.unwrap(), first);
        assert_eq!(shop.stock(product.id).await, 9);

        // Another wish by the same name, and the same name of another user.
        let other = CreateRequest { quantity: Some(2), ..one(product.id) };
        assert_eq!(shop.create_named("mine", other).await.unwrap_err().code(), Code::AlreadyExists);
        let theirs = shop.create_as(&shop.keys.user(3), in_field).await.unwrap();
        assert_ne!(theirs.id, first.id);
        // Without a name, each is an order of its own.
        assert_ne!(shop.create(one(product.id)).await.unwrap().id, shop.create(one(product.id)).await.unwrap().id);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_retries_at_once_are_one_order() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let tries = join_all((0..20).map(|_| shop.create_named("mine", one(product.id)))).await;
        let ids: BTreeSet<_> = tries.into_iter().map(|order| order.unwrap().id).collect();
        assert_eq!((ids.len(), shop.stock(product.id).await), (1, 9));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_5_the_client_sets_neither_amount_nor_status() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let told =
            CreateRequest { uid: Some(2), amount: Some(100), status: Some(0), quantity: Some(2), ..one(product.id) };
        assert_eq!(shop.create(told.clone()).await.unwrap().amount, 100);
        for amount in [0, 1, -100, i64::MAX] {
            let cheap = CreateRequest { amount: Some(amount), ..told.clone() };
            assert_eq!(fields(&shop.create(cheap).await.unwrap_err()), ["amount"]);
        }
        let paid = CreateRequest { status: Some(PAID), ..told };
        assert_eq!(fields(&shop.create(paid).await.unwrap_err()), ["status"]);
        let order = UpdateRequest { id: 1, ..Default::default() };
        for (request, field) in [
            (UpdateRequest { amount: Some(1), ..order }, "amount"),
            (UpdateRequest { uid: Some(3), ..order }, "uid"),
            (UpdateRequest { pid: Some(9), ..order }, "pid"),
        ] {
            assert_eq!(fields(&shop.update(request).await.unwrap_err()), [field]);
        }
        assert_eq!(shop.stock(product.id).await, 8);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_64_bits_cannot_hold_is_refused() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, i64::MAX).await;
        assert_eq!(shop.create(one(product.id)).await.unwrap().amount, i64::MAX);
        let two = CreateRequest { quantity: Some(2), ..one(product.id) };
        assert_eq!(fields(&shop.create(two).await.unwrap_err()), ["quantity"]);
        let free = shop.product(10, 0).await;
        assert_eq!(shop.create(one(free.id)).await.unwrap().amount, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sold_is_refused() {
    on_shop(patient(), async |shop| {
        let product = shop.product(1, 50).await;
        assert_eq!(shop.create(one(99)).await.unwrap_err().code(), Code::NotFound);
        let two = CreateRequest { quantity: Some(2), ..one(product.id) };
        let status = shop.create(two).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::FailedPrecondition, "product 1 has fewer than 2 in stock")
        );
        shop.change_product(ChangeProduct { id: product.id, status: Some(1), ..Default::default() }).await;
        let status = shop.create(one(product.id)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "product 1 is off sale"));
        assert!(shop.list(&shop.user, ListRequest::default()).await.unwrap().orders.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_has_one_buyer() {
    on_shop(patient(), async |shop| {
        let product = shop.product(5, 50).await;
        let shop_ref = &shop;
        let named = |n: i32| async move { shop_ref.create_named(&format!("key-{n}"), one(product.id)).await };
        let tries = join_all((0..30).map(named)).await;
        let placed = tries.iter().filter(|order| order.is_ok()).count();
        assert_eq!((placed, shop.stock(product.id).await), (5, 0));
        for (n, order) in (0..30).zip(&tries) {
            // A retry is answered as the first time: an order that was rejected is not placed later.
            let again = named(n).await;
            match order {
                Ok(order) => assert_eq!(again.unwrap(), *order),
                Err(status) => {
                    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
                    assert_eq!(again.unwrap_err().code(), Code::FailedPrecondition);
                }
            }
        }
    })
    .await;
}
