//! A mall that accounts for every span, and those who shop there.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use http::Response;
use serde_json::{Value, json};
use testkit::process::{Builder, Mall, SERVICES, json as body};
use testkit::shopper::{Shopper, call_back, number, trace_id};
use testkit::{eventually, exposition};
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// Each of the tests that wait here takes all of a small machine.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::const_new(());
    MACHINE.lock().await
}

/// A mall that sends its spans to `otlp` at once and waits as long as a busy machine may need.
pub(crate) fn mall(otlp: &str) -> Builder {
    let mut mall = Mall::of(MALL).patient().argument("--otlp").argument(otlp);
    for (name, value) in [
        // Its statements are measured and have no spans when they find nothing: once, before anybody counts.
        ("MALL__RECOVERY__INTERVAL", "1h"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ] {
        mall = mall.variable(name, value);
    }
    mall
}

/// What a service's `/metrics` answer.
pub(crate) async fn metrics(mall: &Mall, service: &str) -> Option<String> {
    exposition::read(&format!("http://{}/metrics", mall.address(service, "admin"))).await
}

/// Each measures what has a span, once for each span; all other spans are of long waits for a connection.
const MEASURED: [&str; 4] = [
    "http_server_request_duration_seconds_count",
    "rpc_server_call_duration_seconds_count",
    "rpc_client_call_duration_seconds_count",
    "db_client_operation_duration_seconds_count",
];

/// Why a span may be dropped.
const REASONS: [&str; 5] = ["queue_full", "failed", "timeout", "rejected", "shutdown"];

/// What became of the spans of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Account {
    /// By what was measured.
    pub(crate) made: f64,
    pub(crate) sent: f64,
    dropped: [f64; REASONS.len()],
}

impl Account {
    /// What a process says now; `None` where it does not answer.
    pub(crate) async fn of(mall: &Mall, service: &str) -> Option<Self> {
        let text = metrics(mall, service).await?;
        let sum = |name, labels: &[_]| exposition::sum(&text, name, labels).unwrap_or_default();
        let waits = sum("db_client_connection_wait_time_seconds_count", &[]);
        let short = sum("db_client_connection_wait_time_seconds_bucket", &[("le", "0.001")]);
        Some(Self {
            made: MEASURED.iter().map(|name| sum(name, &[])).sum::<f64>() + (waits - short),
            sent: sum("mall_telemetry_spans_sent_total", &[]),
            dropped: REASONS.map(|reason| sum("mall_telemetry_spans_dropped_total", &[("reason", reason)])),
        })
    }

    /// All that were dropped.
    pub(crate) fn dropped(&self) -> f64 {
        self.dropped.iter().sum()
    }

    /// Those that were dropped for a reason.
    pub(crate) fn dropped_for(&self, reason: &str) -> f64 {
        REASONS.iter().zip(self.dropped).filter(|(other, _)| **other == reason).map(|(_, count)| count).sum()
    }

    fn combined(self, other: Self, with: fn(f64, f64) -> f64) -> Self {
        Self {
            made: with(self.made, other.made),
            sent: with(self.sent, other.sent),
            dropped: std::array::from_fn(|at| with(self.dropped[at], other.dropped[at])),
        }
    }
}

impl Add for Account {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combined(other, f64::add)
    }
}

impl Sub for Account {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.combined(other, f64::sub)
    }
}

impl Sum for Account {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}

/// The accounts of all services.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Books(pub(crate) BTreeMap<&'static str, Account>);

impl Books {
    pub(crate) async fn of(mall: &Mall) -> Option<Self> {
        let mut books = BTreeMap::new();
        for service in SERVICES {
            books.insert(service, Account::of(mall, service).await?);
        }
        Some(Self(books))
    }

    /// Once nothing changes any more: for longer than a span waits for others.
    pub(crate) async fn quiet(mall: &Mall) -> Self {
        let mut last = Self::of(mall).await;
        eventually("nothing more is sent", async || {
            tokio::time::sleep(Duration::from_millis(800)).await;
            let now = Self::of(mall).await?;
            let same = last.replace(now.clone()).is_some_and(|last| last == now);
            same.then_some(now)
        })
        .await
    }

    /// What has happened since `before`, once each process has sent or dropped all that it made, and no more.
    pub(crate) async fn closed(mall: &Mall, before: &Self) -> Self {
        let mut last = None;
        let balanced = async {
            loop {
                let books = Self::quiet(mall).await.since(before);
                let open = books.open();
                last = Some(books);
                if open.is_none() {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), balanced).await.is_ok();
        let books = last.expect("it became quiet");
        assert!(in_time, "{:?} has not sent and dropped as many as it made: {books:#?}", books.open());
        books
    }

    /// A service with spans of which nobody knows, or that are counted twice.
    fn open(&self) -> Option<&'static str> {
        let is_open = |account: &Account| account.made != account.sent + account.dropped();
        self.0.iter().find(|(_, account)| is_open(account)).map(|(service, _)| *service)
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().map(|(service, account)| (*service, *account - before.0[service])).collect())
    }

    pub(crate) fn all(&self) -> Account {
        self.0.values().copied().sum()
    }
}

/// An answer to somebody who shops.
#[derive(Debug)]
#[expect(dead_code, reason = "the path is for whoever reads of a failure")]
pub(crate) struct Answer {
    path: &'static str,
    pub(crate) status: u16,
    pub(crate) took: Duration,
    pub(crate) trace: String,
}

/// Those who shop, each on their own, and what they buy.
pub(crate) struct Crowd<'a> {
    mall: &'a Mall,
    shoppers: Vec<Shopper>,
    product: i64,
    rounds: Cell<usize>,
    closed: Cell<bool>,
}

impl<'a> Crowd<'a> {
    /// So many, and the product that the first of them, who is the admin, offers.
    pub(crate) async fn new(mall: &'a Mall, count: usize) -> Self {
        let mut shoppers = Vec::new();
        for number in 0..count {
            shoppers.push(Shopper::new(mall, &format!("{}", 15_838_607_660_u64 + number as u64)).await);
        }
        let pear = json!({ "name": "Pear", "desc": "", "stock": 1_000_000, "amount": 50 });
        let offered = mall.post("product.api", "/api/product/create", Some(&shoppers[0].token), &pear).await;
        let product = number(&body(&offered)["id"]);
        Self { mall, shoppers, product, rounds: Cell::new(0), closed: Cell::new(false) }
    }

    /// Shops until [`Crowd::close`]; each answer must be a good one.
    pub(crate) async fn shop(&self) {
        let shopping = self.shoppers.iter().map(async |shopper| {
            while !self.closed.get() {
                for answer in self.round(shopper).await {
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
                self.rounds.set(self.rounds.get() + 1);
            }
        });
        join_all(shopping).await;
    }

    /// Everybody goes so many rounds; all answers, whatever they are.
    pub(crate) async fn go(&self, rounds: usize) -> Vec<Answer> {
        let going = self.shoppers.iter().map(async |shopper| {
            let mut answers = Vec::new();
            for _ in 0..rounds {
                answers.extend(self.round(shopper).await);
            }
            answers
        });
        join_all(going).await.into_iter().flatten().collect()
    }

    /// Waits for so many more rounds.
    pub(crate) async fn rounds(&self, more: usize) {
        let until = self.rounds.get() + more;
        eventually("they go on shopping", async || (self.rounds.get() >= until).then_some(())).await;
    }

    /// The mall closes: everybody ends their round.
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Who am I, what is this, I buy it, I pay; ends at the first answer that is not a good one.
    async fn round(&self, shopper: &Shopper) -> Vec<Answer> {
        let mut answers = Vec::new();
        let _ = self.steps(shopper, &mut answers).await;
        answers
    }

    async fn steps(&self, shopper: &Shopper, answers: &mut Vec<Answer>) -> Option<()> {
        self.step(shopper, "/api/user/userinfo", &json!({}), answers).await?;
        self.step(shopper, "/api/product/detail", &json!({ "id": self.product }), answers).await?;
        let order = self.step(shopper, "/api/order/create", &json!({ "pid": self.product }), answers).await?;
        let order = number(&order["id"]);
        let payment = self.step(shopper, "/api/pay/create", &json!({ "oid": order }), answers).await?;
        let start = Instant::now();
        let told = call_back(self.mall, &payment, 1).await;
        noted("/api/pay/callback", start, &told, answers).map(drop)
    }

    async fn step(
        &self,
        shopper: &Shopper,
        path: &'static str,
        request: &Value,
        answers: &mut Vec<Answer>,
    ) -> Option<Value> {
        let api = format!("{}.api", path.split('/').nth(2)?);
        let start = Instant::now();
        let answer = self.mall.post(&api, path, Some(&shopper.token), request).await;
        noted(path, start, &answer, answers)
    }

    /// Everybody orders once, whatever comes of it.
    pub(crate) async fn order(&self) -> Vec<Answer> {
        let ordering = self.shoppers.iter().map(async |shopper| {
            let mut answers = Vec::new();
            self.step(shopper, "/api/order/create", &json!({ "pid": self.product }), &mut answers).await;
            answers
        });
        join_all(ordering).await.into_iter().flatten().collect()
    }

    /// Asks for an order that there is not.
    pub(crate) async fn miss(&self) -> Answer {
        let mut answers = Vec::new();
        self.step(&self.shoppers[0], "/api/order/detail", &json!({ "id": i64::MAX }), &mut answers).await;
        answers.remove(0)
    }
}

/// Notes an answer; its body where it is a good one.
fn noted(path: &'static str, start: Instant, answer: &Response<Bytes>, answers: &mut Vec<Answer>) -> Option<Value> {
    let (status, took) = (answer.status().as_u16(), start.elapsed());
    answers.push(Answer { path, status, took, trace: trace_id(answer) });
    (status == 200).then(|| body(answer))
}
