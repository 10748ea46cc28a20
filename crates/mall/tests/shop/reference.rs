//! The reference's clients: every body that its REST API takes is taken, and its defects are not ours.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use testkit::process::json as body;
use testkit::shopper::Shopper;

use crate::support::{Customer, mall, number};

/// Bodies as go-zero-mall's documentation has them: numbers are numbers, and every field is there.
#[tokio::test(flavor = "multi_thread")]
async fn every_body_of_the_reference_is_taken() {
    let mall = mall(None).start().await;
    let customer = Customer::new(&mall, "15838607660").await;
    let fields = |value: &Value, names: &[&str]| {
        for name in names {
            assert!(!value[*name].is_null(), "no {name} in {value}");
        }
    };
    let product = json!({ "name": "P", "desc": "D", "stock": 10, "amount": 50, "status": 0 });
    let product = number(&customer.ask("/api/product/create", &product).await["id"]);
    let change = json!({ "id": product, "name": "Q", "desc": "E", "stock": 0, "amount": 60, "status": 0 });
    customer.ask("/api/product/update", &change).await;
    let detail = customer.ask("/api/product/detail", &json!({ "id": product })).await;
    fields(&detail, &["id", "name", "desc", "stock", "amount", "status"]);
    assert_eq!((&detail["stock"], &detail["amount"]), (&json!("0"), &json!("60")));
    customer.ask("/api/product/update", &json!({ "id": product, "stock": 10 })).await;

    let order = json!({ "uid": 1, "pid": product, "amount": 60, "status": 0 });
    let order = number(&customer.ask("/api/order/create", &order).await["id"]);
    let detail = customer.ask("/api/order/detail", &json!({ "id": order })).await;
    fields(&detail, &["id", "uid", "pid", "amount", "status"]);
    let list = customer.ask("/api/order/list", &json!({ "uid": 1 })).await;
    fields(&list["orders"][0], &["id", "uid", "pid", "amount", "status"]);

    let payment = json!({ "uid": 1, "oid": order, "amount": 60 });
    let payment = number(&customer.ask("/api/pay/create", &payment).await["id"]);
    let detail = customer.ask("/api/pay/detail", &json!({ "id": payment })).await;
    fields(&detail, &["id", "uid", "oid", "amount", "source", "status"]);
    // An admin's own token settles, as the reference's clients do it.
    let callback = json!({ "id": payment, "uid": 1, "oid": order, "amount": 60, "source": 1, "status": 1 });
    customer.ask("/api/pay/callback", &callback).await;
    let detail = customer.ask("/api/order/detail", &json!({ "id": order })).await;
    assert_eq!(detail["status"], 1);

    let update = json!({ "id": order, "uid": 1, "pid": product, "amount": 60, "status": 2 });
    customer.ask("/api/order/update", &update).await;
    customer.ask("/api/order/remove", &json!({ "id": order })).await;
    customer.ask("/api/product/remove", &json!({ "id": product })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_11_a_refusal_has_a_code_of_the_standard_and_its_own_http_status() {
    let mall = mall(None).start().await;
    let admin = Customer::new(&mall, "15838607660").await;
    let user = Customer::new(&mall, "15838607661").await;
    let nobody = Customer { mall: &mall, token: "none".to_owned() };
    let product = admin.offer(0, 50).await;
    let create = json!({ "name": "P", "desc": "", "stock": 1, "amount": 1 });
    for (who, path, request, status, code) in [
        (&user, "/api/product/detail", json!({ "id": 99 }), 404, 5),
        (&user, "/api/product/detail", json!({ "id": 0 }), 400, 3),
        (&user, "/api/product/create", create.clone(), 403, 7),
        (&nobody, "/api/product/create", create, 401, 16),
        (&user, "/api/order/create", json!({ "pid": product }), 400, 9),
        (&user, "/api/order/create", json!({ "pid": 99 }), 404, 5),
        (&user, "/api/order/detail", json!({ "id": 99 }), 404, 5),
        (&user, "/api/order/update", json!({ "id": 99 }), 403, 7),
        (&nobody, "/api/order/list", json!({}), 401, 16),
        (&user, "/api/pay/create", json!({ "oid": 99 }), 404, 5),
        (&user, "/api/pay/detail", json!({ "id": 99 }), 404, 5),
        (&user, "/api/pay/callback", json!({ "id": 1 }), 401, 16),
    ] {
        let answer = who.post(path, &request).await;
        assert_eq!((answer.status().as_u16(), &body(&answer)["code"]), (status, &json!(code)), "{path} {request}");
    }
    // What is for services alone has no route.
    for path in ["/api/product/reserve", "/api/product/release", "/api/order/paid"] {
        assert!([404, 405].contains(&admin.post(path, &json!({})).await.status().as_u16()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_8_no_password_is_logged_and_no_account_betrayed() {
    let mall = mall(None).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let login = async |mobile: &str| {
        let request = json!({ "mobile": mobile, "password": "wrong-horse-8" });
        let answer = mall.post("user.api", "/api/user/login", None, &request).await;
        (answer.status(), answer.body().clone())
    };
    assert_eq!(login(&shopper.mobile).await, login("15838607669").await);
    let logs = mall.logs().text();
    assert!(!logs.contains(shopper.password) && !logs.contains("wrong-horse-8"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_9_every_service_has_a_key_of_its_own_made_here() {
    let (one, other) = (mall(None).start().await, mall(None).start().await);
    let keys = |mall: &testkit::process::Mall| {
        ["user.rpc.pem", "product.rpc.pem", "order.rpc.pem", "pay.rpc.pem", "sandbox.secret"]
            .map(|name| std::fs::read_to_string(mall.data().join("keys/private").join(name)).unwrap())
    };
    let mut all: Vec<String> = keys(&one).into_iter().chain(keys(&other)).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 10);
    // A token of one mall is nothing in another.
    let customer = Customer::new(&one, "15838607660").await;
    let stranger = Customer { mall: &other, token: customer.token };
    assert_eq!(stranger.post("/api/order/list", &json!({})).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_have_routes_of_their_own() {
    let mall = mall(None).start().await;
    let customer = Customer::new(&mall, "15838607660").await;
    let product = customer.offer(10, 50).await;
    let send = async |method: &str, service: &str, path: &str, request: &str| {
        let request = Request::builder()
            .method(method)
            .uri(mall.url(service) + path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", customer.token))
            .body(Full::new(Bytes::from(request.to_owned())))
            .unwrap();
        let answer = mall.send(request).await;
        assert_eq!(answer.status(), 200, "{method} {path}: {answer:?}");
        body(&answer)
    };
    let changed = send("PATCH", "product.api", &format!("/api/product/{product}"), r#"{ "stock": "3" }"#).await;
    assert_eq!(changed["stock"], "3");
    let list = send("GET", "product.api", "/api/product?text=pear&pageSize=1", "").await;
    assert_eq!(list["products"][0]["id"], product.to_string());
    let order = customer.ask("/api/order/create", &json!({ "pid": product })).await;
    let path = format!("/api/order/{}", number(&order["id"]));
    assert_eq!(send("GET", "order.api", &path, "").await, order);
    assert_eq!(send("GET", "order.api", "/api/order?pageSize=1", "").await["orders"][0], order);
    let payment = customer.ask("/api/pay/create", &json!({ "oid": number(&order["id"]) })).await;
    assert_eq!(send("GET", "pay.api", &format!("/api/pay/{}", number(&payment["id"])), "").await, payment);
    send("DELETE", "order.api", &path, "").await;
    assert_eq!(send("GET", "order.api", &path, "").await["status"], 6);
    send("DELETE", "product.api", &format!("/api/product/{product}"), "").await;
    assert_eq!(send("GET", "product.api", &format!("/api/product/{product}"), "").await["status"], 1);
}
