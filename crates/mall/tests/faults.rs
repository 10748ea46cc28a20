//! What users notice, and must not, when parts of a mall are killed, locked or away.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use rpc::lifecycle::Lifecycle;
use serde_json::json;
use testkit::process::{Mall, Signal, json as body, signal};
use testkit::shopper::{Shopper, trace_id};
use testkit::trace::Trace;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// A collector of this test's own: the viewer, in this process.
struct Collector {
    lifecycle: Lifecycle,
    otlp: SocketAddr,
    query: String,
}

impl Collector {
    /// One whose OTLP port is `port`, or a free one for 0.
    async fn start(port: u16) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let otlp_grpc = SocketAddr::from(([127, 0, 0, 1], port));
        let config = viewer::Config { listen: any, otlp_grpc, otlp_http: any, admin: any, ..Default::default() };
        let lifecycle = Lifecycle::new();
        let viewer = viewer::Viewer::bind(config, lifecycle.clone()).await.unwrap();
        let addresses = viewer.addresses();
        let (otlp, query) = (addresses.otlp_grpc, format!("http://{}", addresses.ui));
        tokio::spawn(viewer.serve());
        Self { lifecycle, otlp, query }
    }

    async fn trace(&self, mall: &Mall, id: &str) -> Option<Trace> {
        let answer = mall.get(&format!("{}/api/traces/{id}", self.query)).await;
        Trace::from_jaeger(&serde_json::from_slice(answer.body()).ok()?)
    }
}

/// Waits until `holds`.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what}: not in a minute"));
}

/// The value of a counter of a service, all its series together.
async fn counter(mall: &Mall, service: &str, name: &str) -> f64 {
    let metrics = mall.get(&format!("http://{}/metrics", mall.address(service, "admin"))).await;
    let text = String::from_utf8(metrics.body().to_vec()).unwrap();
    let ours = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    ours.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_hangs_costs_no_request() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let mall = Mall::of(MALL).argument("--otlp").argument(&format!("http://{address}")).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let ask = async || {
        let answer = shopper.user_info(&mall).await;
        assert_eq!(answer.status(), 200);
        trace_id(&answer)
    };
    for _ in 0..50 {
        ask().await;
    }
    until("dropped spans are counted", async || counter(&mall, "user.api", "mall_telemetry_spans_dropped").await > 0.0)
        .await;

    let collector = Collector::start(address.port()).await;
    assert_eq!(collector.otlp, address);
    until("spans arrive when the collector is there", async || collector.trace(&mall, &ask().await).await.is_some())
        .await;
    let sent = counter(&mall, "user.api", "mall_telemetry_spans_sent").await;
    assert!(sent > 0.0);
    collector.lifecycle.drain();

    // Takes connections and says nothing.
    let mut hanging = TcpListener::bind(address).await;
    while hanging.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        hanging = TcpListener::bind(address).await;
    }
    let hanging = hanging.unwrap();
    let silent = tokio::spawn(async move {
        let mut held = vec![];
        while let Ok((stream, _)) = hanging.accept().await {
            held.push(stream);
        }
    });
    for _ in 0..50 {
        ask().await;
    }
    silent.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_is_503_until_it_is_back() {
    let mall = Mall::of(MALL).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let gateway = mall.services()["user.api"];
    for _ in 0..2 {
        let rpc = mall.services()["user.rpc"];
        // Stopped, it can be killed without the supervisor being quicker than the next request.
        signal(mall.pid().unwrap(), Signal::STOP);
        signal(rpc, Signal::KILL);
        until("the gateway knows", async || shopper.user_info(&mall).await.status() == 503).await;
        let answer = shopper.user_info(&mall).await;
        assert_eq!((answer.status().as_u16(), &body(&answer)["code"]), (503, &json!(14)));
        assert!(!String::from_utf8_lossy(answer.body()).contains("127.0.0.1"), "{answer:?}");
        signal(mall.pid().unwrap(), Signal::CONT);
        until("user.rpc is back", async || shopper.user_info(&mall).await.status() == 200).await;
    }
    assert_eq!(mall.services()["user.api"], gateway, "the gateway was not restarted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_service_is_504() {
    let mall = Mall::of(MALL).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let rpc = mall.services()["user.rpc"];
    signal(rpc, Signal::STOP);
    let answer = shopper.user_info(&mall).await;
    signal(rpc, Signal::CONT);
    assert_eq!((answer.status().as_u16(), &body(&answer)["code"]), (504, &json!(4)));
    assert_eq!(shopper.user_info(&mall).await.status(), 200);

    let url = format!("{}/api/traces/{}", mall.url("viewer"), trace_id(&answer));
    until("the span is marked", async || {
        let trace = mall.get(&url).await;
        let text = String::from_utf8_lossy(trace.body()).into_owned();
        text.contains("DEADLINE_EXCEEDED") && text.contains("504")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_fails_no_request_and_loses_no_span() {
    let collector = Collector::start(0).await;
    let mall = Mall::of(MALL).argument("--otlp").argument(&format!("http://{}", collector.otlp)).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let shared = Arc::new((mall, shopper, Mutex::new(vec![]), AtomicUsize::new(0), AtomicBool::new(false)));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move {
                let (mall, shopper, answered, count, stopping) = &*shared;
                loop {
                    let request = http::Request::post(mall.url("user.api") + "/api/user/userinfo")
                        .header("authorization", format!("Bearer {}", shopper.token))
                        .body(Default::default());
                    match mall.try_send(request.unwrap()).await {
                        Ok(answer) => {
                            assert_eq!(answer.status(), 200, "{answer:?}");
                            answered.lock().await.push(trace_id(&answer));
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        // The port is closed: there is nobody to ask any more.
                        Err(error) => {
                            assert!(stopping.load(Ordering::SeqCst), "{error}");
                            return;
                        }
                    }
                }
            })
        })
        .collect();
    let (mall, _, answered, count, stopping) = &*shared;
    until("there is load", async || count.load(Ordering::Relaxed) > 200).await;
    stopping.store(true, Ordering::SeqCst);
    mall.signal(Signal::TERM);
    for task in load {
        task.await.unwrap();
    }
    until("the mall ends", async || mall.services().is_empty()).await;
    let answered = answered.lock().await;
    for id in &*answered {
        let trace = collector.trace(mall, id).await.unwrap_or_else(|| panic!("the trace {id} is lost"));
        assert_eq!((trace.roots().len(), trace.orphans().len()), (1, 0), "{trace:#?}");
        // REST, the call, its handling and the statement; perhaps a wait for a connection.
        assert!(trace.spans.len() >= 4, "{trace:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_503_until_it_is_free() {
    let mall = Mall::of(MALL).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let file = mall.data().join("user.db");
    let mut other = diesel::SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    other.batch_execute("begin immediate").unwrap();
    let account = json!({ "name": "Bea", "gender": 2, "mobile": "15838607662", "password": "secret" });
    let refused = mall.post("user.api", "/api/user/register", None, &account).await;
    assert_eq!((refused.status().as_u16(), &body(&refused)["code"]), (503, &json!(14)));
    assert_eq!(shopper.user_info(&mall).await.status(), 200, "reading goes on");
    other.batch_execute("rollback").unwrap();
    assert_eq!(mall.post("user.api", "/api/user/register", None, &account).await.status(), 200);
}
