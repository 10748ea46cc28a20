//! `kill -9` between any two steps of an order's way: afterwards all comes to a good end, and nothing is lost, doubled or
//! oversold.

use serde_json::json;
use testkit::process::json as body;

use crate::books::Books;
use crate::support::{Customer, Faults, mall, number};

/// Every place at which an order that is placed and paid can be struck.
const ON_THE_WAY_TO_PAID: [&str; 7] = [
    "order.pending",
    "product.reserving",
    "product.reserved",
    "order.reserved",
    "order.placed",
    "pay.settled",
    "order.paid",
];

/// And when order.rpc knows that it is paid, and pay.rpc does not know that yet.
const TOLD: &str = "pay.told";

/// Every place at which an order that is given up can be struck.
const ON_THE_WAY_TO_CANCELLED: [&str; 4] =
    ["order.cancelling", "product.releasing", "product.released", "order.released"];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_placed_and_paid_whatever_is_struck() {
    let faults = Faults::new();
    let mall = mall(Some(&faults)).start().await;
    let customer = Customer::new(&mall, "15838607660").await;
    let product = customer.offer(1000, 50).await;
    let mut expected = 0;
    for place in ON_THE_WAY_TO_PAID.into_iter().chain([TOLD]) {
        faults.arm(place);
        let answer =
            testkit::eventually("an answer to the order", async || customer.order(place, product, 3).await).await;
        assert_eq!(answer.status(), 200, "{place}: {answer:?}");
        let order = number(&body(&answer)["id"]);
        let payment = body(&customer.insist("/api/pay/create", &json!({ "oid": order })).await);
        testkit::eventually("the callback is taken", async || {
            (customer.call_back(&payment, 1).await.status() == 200).then_some(())
        })
        .await;
        testkit::eventually("the order is paid", async || {
            let detail = customer.insist("/api/order/detail", &json!({ "id": order })).await;
            (body(&detail)["status"] == 1).then_some(())
        })
        .await;
        assert!(faults.struck(place), "nobody came by {place}");
        expected += 1;
        let books = Books::closed(&mall).await;
        books.balance(&[(product, 1000)]);
        assert_eq!((books.orders.len(), books.with_status(1)), (expected, expected), "{place}: {books:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_whatever_is_struck() {
    let faults = Faults::new();
    let mall = mall(Some(&faults)).start().await;
    let customer = Customer::new(&mall, "15838607660").await;
    let product = customer.offer(1000, 50).await;
    for (index, place) in ON_THE_WAY_TO_CANCELLED.into_iter().enumerate() {
        let answer =
            testkit::eventually("an answer to the order", async || customer.order(place, product, 3).await).await;
        faults.arm(place);
        customer.insist("/api/order/remove", &json!({ "id": number(&body(&answer)["id"]) })).await;
        let books = Books::closed(&mall).await;
        assert!(faults.struck(place), "nobody came by {place}");
        books.balance(&[(product, 1000)]);
        assert_eq!(books.with_status(6), index + 1, "{place}: {books:#?}");
    }
    let metrics = mall.get(&format!("http://{}/metrics", mall.address("order.rpc", "admin"))).await;
    let metrics = String::from_utf8_lossy(metrics.body());
    for name in ["mall_recovery_waiting", "mall_recovery_age"] {
        assert!(metrics.contains(name) && metrics.contains(r#"kind="order recovery""#), "{metrics}");
    }
}
