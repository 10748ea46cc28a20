//! From state to state: cancelling, paying, closing, hiding.

use futures::future::join_all;
use proto::order::v1::*;
use testkit::service::fields;
use tonic::Code;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_is_cancelled_and_gives_its_units_back_once() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let order = shop.create(CreateRequest { quantity: Some(4), ..one(product.id) }).await.unwrap();
        join_all((0..5).map(|_| shop.remove(order.id))).await.into_iter().for_each(|removed| removed.unwrap());
        assert_eq!((shop.detail(order.id).await.unwrap().status, shop.stock(product.id).await), (CANCELLED, 10));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_closed_and_then_hidden() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let id = shop.create(one(product.id)).await.unwrap().id;
        let listed = async || shop.list(&shop.user, ListRequest::default()).await.unwrap().orders.len();
        assert_eq!(shop.update(to(id, CLOSED)).await.unwrap_err().code(), Code::FailedPrecondition);
        shop.mark_paid(id, 7, 50).await.unwrap();
        assert_eq!(shop.detail(id).await.unwrap().status, PAID);
        // It is paid: neither the owner nor an admin can cancel it.
        assert_eq!(shop.remove(id).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(shop.update(to(id, CANCELLED)).await.unwrap_err().code(), Code::FailedPrecondition);
        for _ in 0..2 {
            assert_eq!(shop.update(to(id, CLOSED)).await.unwrap().status, CLOSED);
        }
        assert_eq!(listed().await, 1);
        shop.remove(id).await.unwrap();
        // Off the lists, and there all the same.
        assert_eq!((listed().await, shop.detail(id).await.unwrap().status), (0, CLOSED));
        assert_eq!(shop.stock(product.id).await, 9);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_once_with_its_amount() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let id = shop.create(one(product.id)).await.unwrap().id;
        for amount in [0, 49, 51, i64::MAX] {
            assert_eq!(shop.mark_paid(id, 7, amount).await.unwrap_err().code(), Code::FailedPrecondition);
        }
        assert_eq!(fields(&shop.mark_paid(0, -1, -1).await.unwrap_err()), ["orderId", "paymentId", "amount"]);
        for _ in 0..3 {
            shop.mark_paid(id, 7, 50).await.unwrap();
        }
        assert_eq!(shop.mark_paid(id, 8, 50).await.unwrap_err().code(), Code::FailedPrecondition);
        shop.update(to(id, CLOSED)).await.unwrap();
        // The same payment, told again late, and another one.
        shop.mark_paid(id, 7, 50).await.unwrap();
        assert_eq!(shop.mark_paid(id, 8, 50).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(shop.mark_paid(99, 7, 50).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_cannot_be_paid() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let id = shop.create(one(product.id)).await.unwrap().id;
        assert_eq!(shop.update(to(id, CANCELLED)).await.unwrap().status, CANCELLED);
        assert_eq!(shop.mark_paid(id, 7, 50).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(shop.detail(id).await.unwrap().status, CANCELLED);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_paying_and_cancelling_one_wins() {
    on_shop(patient(), async |shop| {
        let product = shop.product(100, 50).await;
        for payment in 1..=10 {
            let id = shop.create(one(product.id)).await.unwrap().id;
            let (paid, removed) = tokio::join!(shop.mark_paid(id, payment, 50), shop.remove(id));
            let status = shop.detail(id).await.unwrap().status;
            assert_eq!(status, if paid.is_ok() { PAID } else { CANCELLED });
            assert_ne!(paid.is_ok(), removed.is_ok());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_takes_orders_only_where_they_lead() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        let id = shop.create(one(product.id)).await.unwrap().id;
        for status in [PAID, PENDING, REJECTED, CANCELLING] {
            assert_eq!(shop.update(to(id, status)).await.unwrap_err().code(), Code::FailedPrecondition, "{status}");
        }
        // The state that it has, and no state at all, change nothing.
        assert_eq!(shop.update(to(id, PLACED)).await.unwrap().status, PLACED);
        assert_eq!(shop.update(UpdateRequest { id, ..Default::default() }).await.unwrap().status, PLACED);
        assert_eq!(fields(&shop.update(to(id, 7)).await.unwrap_err()), ["status"]);
        assert_eq!(fields(&shop.update(to(-1, CLOSED)).await.unwrap_err()), ["id"]);
        assert_eq!(shop.update(to(99, CLOSED)).await.unwrap_err().code(), Code::NotFound);
        // As the reference's client sends it, with all that it knows.
        let whole =
            UpdateRequest { id, uid: Some(2), pid: Some(product.id), amount: Some(50), status: Some(CANCELLED) };
        assert_eq!(shop.update(whole).await.unwrap().status, CANCELLED);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_cancelled_while_it_is_placed_is_cancelled() {
    on_shop(patient(), async |shop| {
        let product = shop.product(10, 50).await;
        for id in 1..=20 {
            let removed = async {
                testkit::eventually("the order is written down", async || shop.detail(id).await.ok()).await;
                shop.remove(id).await
            };
            let (created, removed) = tokio::join!(shop.create(one(product.id)), removed);
            removed.unwrap();
            // Whichever was first, nobody is told that it failed.
            assert!([PLACED, CANCELLING, CANCELLED].contains(&created.unwrap().status));
            assert_eq!(shop.until(id, CANCELLED).await.id, id);
        }
        assert_eq!(shop.stock(product.id).await, 10);
    })
    .await;
}
