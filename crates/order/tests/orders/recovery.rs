//! What is left between two steps is taken further: after a crash, without product.rpc, unpaid, by two at once.

use std::time::Duration;

use futures::future::join_all;
use testkit::database::{on_postgres, on_sqlite};
use tonic::Code;

use crate::support::*;

/// Orders are taken up at once, and are never unpaid for too long.
fn hasty() -> Times {
    Times { step: Duration::ZERO, ..patient() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_is_given_up_in_time() {
    let short = Times { unpaid: Duration::from_secs(4), ..patient() };
    on_shop(short, async |shop| {
        let product = shop.product(10, 50).await;
        let unpaid = shop.create(one(product.id)).await.unwrap().id;
        let paid = shop.create(one(product.id)).await.unwrap().id;
        shop.mark_paid(paid, 7, 50).await.unwrap();
        shop.until(unpaid, CANCELLED).await;
        assert_eq!((shop.detail(paid).await.unwrap().status, shop.stock(product.id).await), (PAID, 9));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_once_product_rpc_is_back() {
    on_sqlite(order::MIGRATIONS, async |database| {
        on_sqlite(product::MIGRATIONS, async |products| {
            let mut shop = Shop::start(&database, &products, hasty()).await;
            let product = shop.product(10, 50).await;
            let id = shop.create(one(product.id)).await.unwrap().id;
            shop.products.kill().await;

            // Nothing can be begun, and what is to be cancelled is so in the end.
            assert_eq!(shop.create(one(product.id)).await.unwrap_err().code(), Code::Unavailable);
            shop.remove(id).await.unwrap();
            assert_eq!(shop.detail(id).await.unwrap().status, CANCELLING);

            shop.products = start_products(&shop.keys, &products, Some(shop.products.address)).await;
            shop.until(id, CANCELLED).await;
            assert_eq!(shop.stock(product.id).await, 10);
            shop.stop().await;
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_never_do_a_step_twice_with_effect() {
    let short = Times { unpaid: Duration::from_millis(1), step: Duration::ZERO };
    on_postgres(order::MIGRATIONS, async |database| {
        on_postgres(product::MIGRATIONS, async |products| {
            let shop = Shop::start(&database, &products, short.clone()).await;
            let second = shop.second(short.clone()).await;
            let product = shop.product(200, 50).await;
            // Every order is due at once, so that both workers and the calls race for each of its steps.
            let orders = join_all((0..100).map(|_| shop.create(one(product.id)))).await;
            let ids: Vec<_> = orders.into_iter().map(|order| order.unwrap().id).collect();
            for id in ids {
                shop.until(id, CANCELLED).await;
            }
            assert_eq!(shop.stock(product.id).await, 200);
            second.stop().await;
            shop.stop().await;
        })
        .await;
    })
    .await;
}
