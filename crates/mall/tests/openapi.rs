//! The REST APIs against their own OpenAPI documents: what is answered is documented, and what is not allowed is refused.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use testkit::process::{Mall, json};
use testkit::schemathesis::{self, Schemathesis};
use testkit::shopper::Shopper;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// What `api` says of itself, without `default`: that documents any answer, and would hide one that is documented nowhere.
async fn document(mall: &Mall, api: &str) -> Value {
    let mut document = json(&mall.get(&(mall.url(api) + "/openapi.json")).await);
    for methods in document["paths"].as_object_mut().unwrap().values_mut() {
        for operation in methods.as_object_mut().unwrap().values_mut() {
            let default = operation["responses"].as_object_mut().unwrap().remove("default");
            assert!(default.is_some(), "{api}: {operation}");
        }
    }
    document
}

/// A product, an order and its payment, for what asks for the id 1: nobody makes an order up whose product there is.
async fn buy(mall: &Mall, token: &str) {
    for (api, path, wish) in [
        ("product.api", "/api/product/create", json!({ "name": "Tea", "stock": 1_000, "amount": 990 })),
        ("order.api", "/api/order/create", json!({ "pid": 1 })),
        ("pay.api", "/api/pay/create", json!({ "oid": 1 })),
    ] {
        let answer = mall.post(api, path, Some(token), &wish).await;
        assert_eq!(answer.status(), 200, "{path}: {answer:?}");
    }
}

async fn assert_documented(schemathesis: &Schemathesis, mall: &Mall, api: &str, token: &str) {
    let document = document(mall, api).await;
    let said = schemathesis.run(&mall.url(api), &document, token).await;
    let said = said.unwrap_or_else(|said| panic!("{api} is not as it is documented:\n{said}"));
    let operations: usize =
        document["paths"].as_object().unwrap().values().map(|it| it.as_object().unwrap().len()).sum();
    assert!(said.contains(&format!("Tested: {operations}")), "{api} is not tested whole:\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apis_are_as_they_are_documented() {
    let Some(schemathesis) = schemathesis::find() else { return };
    let mall = Mall::of(MALL).start().await;
    // The first one is the admin, who may call everything.
    let token = Shopper::new(&mall, "15838607661").await.token;
    buy(&mall, &token).await;
    let services = mall.services();
    let run = |api| assert_documented(&schemathesis, &mall, api, &token);
    tokio::join!(run("user.api"), run("product.api"), run("order.api"), run("pay.api"));

    assert_eq!(mall.services(), services, "none was started again");
    for service in services.keys() {
        let ready = format!("http://{}/readyz", mall.address(service, "admin"));
        assert_eq!(mall.get(&ready).await.status(), 200, "{service} is ready");
    }
    assert!(!mall.logs().text().contains("panicked"));
}
