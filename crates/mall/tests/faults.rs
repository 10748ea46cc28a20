//! What users notice, and must not, when parts of a mall are killed, locked or away.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use rpc::lifecycle::Lifecycle;
use serde_json::json;
use testkit::eventually;
use testkit::process::{Mall, Signal, json as body, signal};
use testkit::shopper::{Shopper, trace_id};
use testkit::trace::Trace;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// A collector of this test's own: the viewer, in this process.
struct Collector {
    otlp: SocketAddr,
    query: String,
}

impl Collector {
    async fn start() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = viewer::Config { listen: any, otlp_grpc: any, otlp_http: any, admin: any, ..Default::default() };
        let viewer = viewer::Viewer::bind(config, Lifecycle::new()).await.unwrap();
        let addresses = viewer.config().clone();
        let (otlp, query) = (addresses.otlp_grpc, format!("http://{}", addresses.listen));
        tokio::spawn(viewer.serve());
        Self { otlp, query }
    }

    async fn trace(&self, mall: &Mall, id: &str) -> Option<Trace> {
        let answer = mall.get(&format!("{}/api/traces/{id}", self.query)).await;
        Trace::from_jaeger(&serde_json::from_slice(answer.body()).ok()?)
    }
}

/// Waits until `holds`.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
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
    // The port is the test's own all the time: while nobody listens there, the system refuses connections.
    let port = TcpSocket::new_v4().unwrap();
    port.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = port.local_addr().unwrap();
    let mall = Mall::of(MALL)
        .argument("--otlp")
        .argument(&format!("http://{address}"))
        .variable("MALL__TELEMETRY__QUEUE__TIMEOUT", "1s")
        .start()
        .await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    // The shopper has registered and logged in.
    let asked = AtomicU32::new(2);
    let ask = async || {
        let answer = shopper.user_info(&mall).await;
        assert_eq!(answer.status(), 200);
        asked.fetch_add(1, Ordering::Relaxed);
        trace_id(&answer)
    };
    // Each request has a span of its own in the gateway and one for its call. Every one is sent or dropped, and counted;
    // waits for that, and gives the number of the dropped.
    let settled = async || {
        let counted = async || {
            let sent = counter(&mall, "user.api", "mall_telemetry_spans_sent").await;
            let dropped = counter(&mall, "user.api", "mall_telemetry_spans_dropped").await;
            (sent + dropped == f64::from(2 * asked.load(Ordering::Relaxed))).then_some(dropped)
        };
        eventually("as many spans are sent or dropped as were made", counted).await
    };
    for _ in 0..50 {
        ask().await;
    }
    assert_eq!(settled().await, 104.0, "nothing can be sent");

    let collector = Collector::start().await;
    let closed = CancellationToken::new();
    let relay = tokio::spawn(relay(port.listen(64).unwrap(), collector.otlp, closed.clone()));
    let before = eventually("spans arrive when the collector is there", async || {
        let id = ask().await;
        let dropped = settled().await;
        collector.trace(&mall, &id).await.map(|_| dropped)
    })
    .await;

    // From now on it takes connections and says nothing.
    closed.cancel();
    for _ in 0..50 {
        ask().await;
    }
    assert_eq!(settled().await, before + 100.0, "nothing is answered");
    relay.abort();
}

/// Passes connections on to `target` until `closed`; then those there are, and those that come, get no answer.
async fn relay(listener: TcpListener, target: SocketAddr, closed: CancellationToken) {
    while let Ok((mut caller, _)) = listener.accept().await {
        let closed = closed.clone();
        tokio::spawn(async move {
            let pass = async {
                let mut there = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut caller, &mut there).await
            };
            if closed.run_until_cancelled(pass).await.is_none() {
                std::future::pending::<()>().await;
            }
            drop(caller);
        });
    }
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
    let has = |trace: &serde_json::Value, key: &str, value: serde_json::Value| {
        let spans = trace["data"][0]["spans"].as_array().into_iter().flatten();
        spans.flat_map(|span| span["tags"].as_array()).flatten().any(|tag| tag["key"] == key && tag["value"] == value)
    };
    let trace = eventually("the gateway's span is marked", async || {
        Some(body(&mall.get(&url).await)).filter(|trace| has(trace, "http.response.status_code", json!(504)))
    })
    .await;
    // The call's span ended before, so it is there as well.
    assert!(has(&trace, "rpc.response.status_code", json!("DEADLINE_EXCEEDED")), "{trace:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_fails_no_request_and_loses_no_span() {
    let collector = Collector::start().await;
    let mall = Mall::of(MALL)
        .argument("--otlp")
        .argument(&format!("http://{}", collector.otlp))
        // What is said on the command line counts for more.
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .variable("OTEL_TRACES_EXPORTER", "none")
        .start()
        .await;
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
        tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
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
