//! Someone who uses a mall over REST.

use auth::CallbackKey;
use bytes::Bytes;
use http::{Request, Response, header};
use serde_json::{Value, json};

use crate::process::{self, Mall};

/// A user who has registered and logged in.
#[derive(Debug)]
pub struct Shopper {
    /// What they log in with.
    pub mobile: String,
    /// Their password, the same for all.
    pub password: &'static str,
    /// What they send as `authorization: Bearer ..`.
    pub token: String,
}

impl Shopper {
    /// Registers with `mobile` and logs in.
    ///
    /// # Panics
    ///
    /// Panics if either fails.
    pub async fn new(mall: &Mall, mobile: &str) -> Self {
        let password = "correct-horse-7";
        let account = json!({ "name": "Ann", "gender": 2, "mobile": mobile, "password": password });
        let registered = mall.post("user.api", "/api/user/register", None, &account).await;
        assert_eq!(registered.status(), 200, "{registered:?}");
        let login =
            mall.post("user.api", "/api/user/login", None, &json!({ "mobile": mobile, "password": password })).await;
        assert_eq!(login.status(), 200, "{login:?}");
        let token = process::json(&login)["accessToken"].as_str().expect("a token").to_owned();
        Self { mobile: mobile.to_owned(), password, token }
    }

    /// Asks who they are.
    pub async fn user_info(&self, mall: &Mall) -> Response<Bytes> {
        mall.post("user.api", "/api/user/userinfo", Some(&self.token), &json!({})).await
    }
}

/// The id of the trace that an answer belongs to.
///
/// # Panics
///
/// Panics if the answer does not say.
pub fn trace_id(answer: &Response<Bytes>) -> String {
    let id = answer.headers().get("x-trace-id").expect("an x-trace-id header");
    id.to_str().expect("hex").to_owned()
}

/// What the payment provider says to pay.api, and signs: `payment` has this status now.
///
/// # Panics
///
/// Panics if there is no answer.
pub async fn call_back(mall: &Mall, payment: &Value, status: i32) -> Response<Bytes> {
    let body = says(payment, status).to_string();
    let keys = auth::Config { keys: mall.data().join("keys"), ..Default::default() };
    let signature = CallbackKey::load(&keys, "sandbox").expect("the provider's key").sign(body.as_bytes());
    let request = Request::post(mall.url("pay.api") + "/api/pay/callback")
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-signature", signature);
    mall.send(request.body(body.into()).expect("a request")).await
}

/// The body of the provider's callback.
///
/// # Panics
///
/// Panics if `payment` is none.
pub fn says(payment: &Value, status: i32) -> Value {
    json!({
        "id": number(&payment["id"]),
        "oid": number(&payment["oid"]),
        "amount": number(&payment["amount"]),
        "source": 1,
        "status": status,
    })
}

/// A 64-bit integer, which JSON has as a text.
///
/// # Panics
///
/// Panics if it is none.
pub fn number(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}
