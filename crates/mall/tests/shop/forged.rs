//! Callbacks that are not the provider's, over REST: nothing is settled by any of them.

use auth::{CallbackKey, Clock};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use testkit::process::{Mall, json as body};

use crate::support::{Customer, mall, number, says};

/// Sends a callback as it is; the answer's HTTP status.
async fn send(mall: &Mall, signature: Option<&str>, own_body: Option<&str>, text: &str) -> u16 {
    let mut request = Request::post(mall.url("pay.api") + "/api/pay/callback");
    request = request.header(header::CONTENT_TYPE, "application/json");
    if let Some(signature) = signature {
        request = request.header("x-signature", signature);
    }
    if let Some(own_body) = own_body {
        request = request.header("x-signed-body-bin", own_body);
    }
    mall.send(request.body(Full::new(Bytes::from(text.to_owned()))).unwrap()).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_very_text_that_the_provider_signed_lately_settles() {
    use base64::Engine as _;
    let mall = mall(None).start().await;
    let customer = Customer::new(&mall, "15838607660").await;
    let product = customer.offer(10, 50).await;
    let order = customer.ask("/api/order/create", &json!({ "pid": product })).await;
    let payment = customer.ask("/api/pay/create", &json!({ "oid": number(&order["id"]) })).await;
    let keys = auth::Config { keys: mall.data().join("keys"), ..Default::default() };
    let provider = CallbackKey::load(&keys, "sandbox").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let at = |time: u64, text: &str| provider.clone().with_clock(Clock::new(move || time)).sign(text.as_bytes());

    let (paid, failed) = (says(&payment, 1).to_string(), says(&payment, 2).to_string());
    // The same message in another form is another text.
    let spaced = paid.replace(',', ", ");
    let signed = base64::engine::general_purpose::STANDARD.encode(&failed);
    let good = at(now, &paid);
    let huge = format!("{}{paid}", " ".repeat(9000));
    for (what, signature, own_body, text, status) in [
        ("no signature", None, None, &paid, 401),
        ("no form", Some("t=1".to_owned()), None, &paid, 401),
        ("old", Some(at(now - 400, &paid)), None, &paid, 401),
        ("yet to come", Some(at(now + 400, &paid)), None, &paid, 401),
        ("altered", Some(good.clone()), None, &failed, 401),
        ("in another form", Some(good.clone()), None, &spaced, 401),
        ("with a signed text of its own", Some(at(now, &failed)), Some(signed.as_str()), &paid, 401),
        ("too long to be signed", Some(at(now, &huge)), None, &huge, 400),
    ] {
        assert_eq!(send(&mall, signature.as_deref(), own_body, text).await, status, "{what}");
    }
    let detail =
        async || -> Value { body(&customer.post("/api/pay/detail", &json!({ "id": number(&payment["id"]) })).await) };
    assert_eq!(detail().await["status"], 0);

    // Any form will do if it is the one that was signed; a replay changes nothing.
    for _ in 0..3 {
        assert_eq!(send(&mall, Some(&at(now, &spaced)), None, &spaced).await, 200);
    }
    assert_eq!(detail().await["status"], 1);
    assert_eq!(send(&mall, Some(&at(now, &failed)), None, &failed).await, 400);
    assert_eq!(detail().await["status"], 1);
}
