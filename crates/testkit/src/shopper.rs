//! Someone who uses a mall over REST.

use bytes::Bytes;
use http::Response;
use serde_json::json;

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
