//! A mall whose recovery is quick and whose patience is long, and those who use it.

use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::otlp::Sink;
use testkit::process::{Builder, Mall, json as body};
use testkit::shopper::{self, Shopper};
pub(crate) use testkit::shopper::{number, says};

pub(crate) const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// Faults are armed by files in a directory.
pub(crate) struct Faults(TempDir);

impl Faults {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The first process that comes by this place dies there.
    pub(crate) fn arm(&self, place: &str) {
        std::fs::write(self.path(place), "").unwrap();
    }

    /// Whether a process has died there, or none was to.
    pub(crate) fn struck(&self, place: &str) -> bool {
        !self.path(place).exists()
    }

    pub(crate) fn disarm(&self, place: &str) {
        let _ = std::fs::remove_file(self.path(place));
    }

    fn path(&self, place: &str) -> PathBuf {
        self.0.path().join(place)
    }
}

/// A mall that waits as long as a busy test machine may need, and looks for unfinished work ten times a second.
pub(crate) fn mall(faults: Option<&Faults>) -> Builder {
    let mut mall = Mall::of(MALL).patient();
    for (name, value) in [
        ("MALL__RECOVERY__INTERVAL", "100ms"),
        ("MALL__RECOVERY__HEAD_START", "500ms"),
        ("MALL__RECOVERY__WAIT", "100ms"),
        ("MALL__RECOVERY__LONGEST_WAIT", "500ms"),
        ("MALL__RECOVERY__LEASE", "2s"),
    ] {
        mall = mall.variable(name, value);
    }
    match faults {
        Some(faults) => mall.variable("MALL_FAULTS", faults.0.path().to_str().unwrap()),
        None => mall,
    }
}

/// The same, with all that it tells of itself sent to `sink`, soon.
pub(crate) fn told_to(sink: &Sink, faults: Option<&Faults>) -> Builder {
    mall(faults)
        .argument("--otlp")
        .argument(&sink.url())
        .variable("OTEL_METRICS_EXPORTER", "otlp")
        .variable("OTEL_LOGS_EXPORTER", "otlp")
        .variable("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .variable("OTEL_BSP_SCHEDULE_DELAY", "100")
}

/// Someone who buys, and the mall that they buy from.
pub(crate) struct Customer<'a> {
    pub(crate) mall: &'a Mall,
    pub(crate) token: String,
}

impl<'a> Customer<'a> {
    /// The first one of a mall is its admin.
    pub(crate) async fn new(mall: &'a Mall, mobile: &str) -> Self {
        Self { mall, token: Shopper::new(mall, mobile).await.token }
    }

    /// POST to an API: `product`, `order` or `pay`.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response<Bytes> {
        self.mall.post(&api(path), path, Some(&self.token), body).await
    }

    /// The answer, which must be a good one.
    pub(crate) async fn ask(&self, path: &str, request: &Value) -> Value {
        let answer = self.post(path, request).await;
        assert_eq!(answer.status(), 200, "{path} {request}: {answer:?}");
        body(&answer)
    }

    /// A new product's id.
    pub(crate) async fn offer(&self, stock: i64, amount: i64) -> i64 {
        let product = json!({ "name": "Pear", "desc": "", "stock": stock, "amount": amount });
        number(&self.ask("/api/product/create", &product).await["id"])
    }

    pub(crate) async fn stock(&self, product: i64) -> i64 {
        number(&self.ask("/api/product/detail", &json!({ "id": product })).await["stock"])
    }

    /// Orders by a name that makes a retry the same order; nothing if the answer got lost, or is no answer.
    pub(crate) async fn order(&self, key: &str, product: i64, quantity: i64) -> Option<Response<Bytes>> {
        let body = json!({ "pid": product, "quantity": quantity }).to_string();
        let request = Request::post(self.mall.url("order.api") + "/api/order/create")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header("idempotency-key", key);
        let answer = self.mall.try_send(request.body(Full::new(Bytes::from(body))).unwrap()).await.ok()?;
        (answer.status().as_u16() < 500).then_some(answer)
    }

    /// Sends a request until there is an answer that is not the mall's own trouble.
    pub(crate) async fn insist(&self, path: &str, request: &Value) -> Response<Bytes> {
        testkit::eventually(path, async || {
            let answer = self.post(path, request).await;
            (answer.status().as_u16() < 500).then_some(answer)
        })
        .await
    }

    /// What the payment provider says, which signs it.
    pub(crate) async fn call_back(&self, payment: &Value, status: i32) -> Response<Bytes> {
        shopper::call_back(self.mall, payment, status).await
    }
}

/// The API that a path belongs to.
fn api(path: &str) -> String {
    format!("{}.api", path.split('/').nth(2).unwrap())
}
