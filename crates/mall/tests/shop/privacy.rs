//! What is nobody else's business is in nothing that a mall tells of itself: values are planted, and then looked for in every
//! span, metric, log record, line and header of baggage.

use std::fmt::Write as _;

use auth::CallbackKey;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use testkit::otlp::Sink;
use testkit::process::{Mall, Signal, json as body};

use crate::support::{Customer, number, says, told_to};

const NAME: &str = "Perpetua Plantagenet";
const MOBILE: &str = "15838607683";
const PASSWORD: &str = "correct-horse-hunter2";
const NEW_PASSWORD: &str = "battery-staple-hunter3";
/// In the baggage, which is passed on and written nowhere.
const SECRET: &str = "planted-in-the-baggage";

/// Sends `request` with all headers in which somebody may put what they should not.
async fn send(mall: &Mall, service: &str, path: &str, headers: &[(&str, &str)], text: &str) -> (u16, Value) {
    let mut request = Request::post(mall.url(service) + path)
        .header(header::CONTENT_TYPE, "application/json")
        .header("baggage", format!("tenant={SECRET}"))
        .header(header::COOKIE, format!("session={PASSWORD}"))
        .header("x-request-id", MOBILE);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = mall.send(request.body(Full::new(Bytes::from(text.to_owned()))).unwrap()).await;
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
}

/// An account is opened, used and fought over; gives its token.
async fn account(mall: &Mall) -> String {
    let user = json!({ "name": NAME, "gender": 2, "mobile": MOBILE, "password": PASSWORD });
    let login = json!({ "mobile": MOBILE, "password": PASSWORD }).to_string();
    let wrong = json!({ "mobile": MOBILE, "password": NEW_PASSWORD }).to_string();
    let register = "/api/user/register";
    assert_eq!(send(mall, "user.api", register, &[], &user.to_string()).await.0, 200);
    // The number is taken now, which the database says.
    assert_eq!(send(mall, "user.api", register, &[], &user.to_string()).await.0, 409);
    let (status, answer) = send(mall, "user.api", "/api/user/login", &[], &login).await;
    assert_eq!(status, 200);
    let token = answer["accessToken"].as_str().unwrap().to_owned();
    assert_eq!(send(mall, "user.api", "/api/user/login", &[], &wrong).await.0, 401);
    let bearer = format!("Bearer {token}");
    let auth = [("authorization", bearer.as_str())];
    assert_eq!(send(mall, "user.api", "/api/user/userinfo", &auth, "{}").await.0, 200);
    let forged = format!("Bearer {}", &token[..token.len() - 4]);
    assert_eq!(send(mall, "user.api", "/api/user/userinfo", &[("authorization", &forged)], "{}").await.0, 401);
    let change = json!({ "oldPassword": PASSWORD, "newPassword": NEW_PASSWORD }).to_string();
    assert_eq!(send(mall, "user.api", "/api/user/password", &auth, &change).await.0, 200);
    for (path, text) in [
        // Broken JSON, a wrong type, a field that there is none of, each with something in it.
        (register, format!(r#"{{"mobile": "{MOBILE}", "password": "{PASSWORD}" "#)),
        (register, json!({ "name": NAME, "gender": PASSWORD, "mobile": MOBILE }).to_string()),
        (register, json!({ MOBILE: NAME, "password": PASSWORD }).to_string()),
        (
            register,
            json!({ "name": NAME, "gender": 2, "mobile": format!("{MOBILE}{PASSWORD}"), "password": "x" }).to_string(),
        ),
        ("/api/user/profile", json!({ "name": "x".repeat(999), "mobile": MOBILE }).to_string()),
    ] {
        assert_eq!(send(mall, "user.api", path, &auth, &text).await.0, 400, "{path} {text}");
    }
    // No route, and one whose path is a number and not this.
    assert_eq!(send(mall, "user.api", &format!("/{MOBILE}/{PASSWORD}?token={token}"), &[], "").await.0, 404);
    let product = format!("/api/product/{PASSWORD}?mobile={MOBILE}");
    let of_nobody = format!("/api/product/{MOBILE}");
    for (method, path, status) in
        [("GET", product.as_str(), 400), ("PUT", product.as_str(), 405), ("GET", of_nobody.as_str(), 404)]
    {
        let request = Request::builder().method(method).uri(mall.url("product.api") + path).body(Full::default());
        assert_eq!(mall.send(request.unwrap()).await.status(), status, "{method} {path}");
    }
    token
}

/// A purchase, with callbacks that are signed and that are not; gives the signatures.
async fn purchase(mall: &Mall, token: &str) -> Vec<String> {
    let customer = Customer { mall, token: token.to_owned() };
    let product = customer.offer(10, 50).await;
    let order = customer.ask("/api/order/create", &json!({ "pid": product })).await;
    let payment = customer.ask("/api/pay/create", &json!({ "oid": number(&order["id"]) })).await;
    let keys = auth::Config { keys: mall.data().join("keys"), ..Default::default() };
    let text = says(&payment, 1).to_string();
    let signature = CallbackKey::load(&keys, "sandbox").unwrap().sign(text.as_bytes());
    let forged = signature.replace("v1=", "v1=00");
    for (signature, status) in [(&forged, 401), (&signature, 200)] {
        assert_eq!(send(mall, "pay.api", "/api/pay/callback", &[("x-signature", signature)], &text).await.0, status);
    }
    let paid = body(&customer.post("/api/order/detail", &json!({ "id": number(&order["id"]) })).await);
    assert_eq!(paid["status"], 1);
    vec![signature, forged]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_or_secret_is_told() {
    let sink = Sink::start().await;
    let mut mall = told_to(&sink, None)
        // Every call is slow, and every line is written.
        .variable("MALL__TELEMETRY__SLOW__AFTER", "1ns")
        .variable("MALL__TELEMETRY__LOG__LEVEL", "debug")
        .variable("MALL__TELEMETRY__LOG__BURST", "0")
        .start()
        .await;
    let token = account(&mall).await;
    let signatures = purchase(&mall, &token).await;
    let mut told = String::new();
    for service in mall.services().into_keys() {
        let text = mall.get(&format!("http://{}/metrics", mall.address(&service, "admin"))).await;
        told += std::str::from_utf8(text.body()).unwrap();
    }
    mall.signal(Signal::TERM);
    assert!(mall.wait().await.success());
    told += &mall.logs().text();
    let received = sink.received();
    assert!(!received.spans.is_empty() && !received.logs.is_empty() && !received.metrics.is_empty());
    write!(told, "{received:?}").unwrap();
    // It was looked at the right thing.
    for there in ["mall.user.v1.UserService/Login", "slow call", "INSERT users"] {
        assert!(told.contains(there), "{there}");
    }
    let (header, rest) = token.split_once('.').unwrap();
    let (claims, signed) = rest.split_once('.').unwrap();
    let secrets = [NAME, "Plantagenet", MOBILE, PASSWORD, NEW_PASSWORD, SECRET, header, claims, signed];
    let signatures = signatures.iter().flat_map(|text| text.split("v1=").nth(1));
    for secret in secrets.into_iter().chain(signatures) {
        let found = told.match_indices(secret).next();
        let around = found
            .map(|(at, _)| &told[told.floor_char_boundary(at.saturating_sub(200))..told.ceil_char_boundary(at + 100)]);
        assert!(found.is_none(), "{secret} is told: {around:?}");
    }
}
