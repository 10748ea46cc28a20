//! The reference's own chapter: register, log in, ask for userinfo, find that request's trace. In our viewer, in real
//! Jaeger and in real Zipkin.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use proto::user::v1::UserInfoRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use serde_json::Value;
use testkit::process::{Mall, json};
use testkit::shopper::{Shopper, trace_id};
use testkit::trace::Trace;
use testkit::{jaeger, zipkin};

const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// HTTP server, gRPC client, gRPC server, database: what a userinfo request passes through.
const PATH: [&str; 4] = ["user.api server", "user.api client", "user.rpc server", "user.rpc client"];

/// Asks for `url` until `read` finds what it looks for in the answer: spans are on their way for a moment.
async fn eventually<T>(mall: &Mall, url: &str, read: impl Fn(&Value) -> Option<T>) -> T {
    testkit::eventually(url, async || read(&serde_json::from_slice(mall.get(url).await.body()).ok()?)).await
}

/// A trace that is all there: with as many spans as the path is long.
fn whole(trace: Trace) -> Option<Trace> {
    (trace.spans.len() >= PATH.len()).then_some(trace)
}

/// One root, no orphan, the path from REST to the database, each within its parent.
fn assert_whole(trace: &Trace) {
    assert_eq!(trace.roots().len(), 1, "{trace:#?}");
    assert_eq!(trace.orphans().len(), 0, "{trace:#?}");
    let statement = trace.spans.iter().find(|span| span.name.to_lowercase().starts_with("select")).unwrap();
    assert_eq!(trace.path(statement), PATH, "{trace:#?}");
    for span in &trace.spans {
        if let Some(parent) = trace.parent(span) {
            // Clocks are read in microseconds, so an edge may be off by one on each side.
            let slack = Duration::from_micros(2);
            assert!(span.start + slack >= parent.start, "{span:?} begins before {parent:?}");
            assert!(
                span.start + span.duration <= parent.start + parent.duration + slack,
                "{span:?} outlasts {parent:?}"
            );
        }
    }
    let services: std::collections::BTreeSet<_> = trace.spans.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services.into_iter().collect::<Vec<_>>(), ["user.api", "user.rpc"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_seen_in_the_viewer() {
    let mall = Mall::of(MALL).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let answer = shopper.user_info(&mall).await;
    assert_eq!(answer.status(), 200);
    let info = json(&answer);
    assert_eq!((&info["id"], &info["name"], &info["gender"]), (&"1".into(), &"Ann".into(), &2.into()));
    assert_eq!(info["mobile"], shopper.mobile);

    let id = trace_id(&answer);
    let traceresponse = answer.headers()["traceresponse"].to_str().unwrap();
    assert!(traceresponse.starts_with(&format!("00-{id}-")), "{traceresponse}");
    let viewer = mall.url("viewer");
    let url = format!("{viewer}/api/traces/{id}");
    let trace = eventually(&mall, &url, |json| whole(Trace::from_jaeger(json)?)).await;
    assert_whole(&trace);
    let root = trace.roots()[0];
    assert_eq!((root.name.as_str(), root.kind.as_str()), ("POST /api/user/userinfo", "server"));
    let server = trace.spans.iter().find(|span| span.service == "user.rpc" && span.kind == "server").unwrap();
    assert_eq!(server.name, "mall.user.v1.UserService/UserInfo");

    // Nothing of the person is in any span, nor in what the services wrote.
    let all = eventually(&mall, &format!("{viewer}/api/traces?service=user.api&limit=100&lookback=1h"), |json| {
        (json["data"].as_array()?.len() >= 3).then(|| json.to_string())
    })
    .await;
    let logs = mall.logs().text();
    for secret in [shopper.password, &shopper.mobile, &shopper.token, shopper.token.split('.').nth(2).unwrap()] {
        assert!(!all.contains(secret), "a span tells `{secret}`");
        assert!(!logs.contains(secret), "a log line tells `{secret}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_is_seen_as_well() {
    let mall = Mall::of(MALL).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let target = mall.url("user.rpc");
    // A caller of our own, which has begun a trace.
    let endpoint = tonic::transport::Endpoint::from_shared(target).unwrap().connect().await.unwrap();
    let mut request = tonic::Request::new(UserInfoRequest {});
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("bearer {}", shopper.token).parse().unwrap());
    metadata.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    let info = UserServiceClient::new(endpoint).user_info(request).await.unwrap().into_inner();
    assert_eq!(info.mobile, shopper.mobile);

    let url = format!("{}/api/traces/0af7651916cd43dd8448eb211c80319c", mall.url("viewer"));
    let two = |json: &Value| Trace::from_jaeger(json).filter(|trace| trace.spans.len() == 2);
    let trace = eventually(&mall, &url, two).await;
    let statement = trace.spans.iter().find(|span| span.kind == "client").unwrap();
    assert_eq!(trace.path(statement), ["user.rpc server", "user.rpc client"]);
    assert_eq!(trace.orphans()[0].parent.as_deref(), Some("b7ad6b7169203331"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incoming_trace_is_continued() {
    let mall = Mall::of(MALL).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let ask = async |traceparent: &str| {
        let request = http::Request::post(mall.url("user.api") + "/api/user/userinfo")
            .header("authorization", format!("Bearer {}", shopper.token))
            .header("traceparent", traceparent)
            .body(Default::default());
        let answer = mall.send(request.unwrap()).await;
        assert_eq!(answer.status(), 200);
        trace_id(&answer)
    };
    let viewer = mall.url("viewer");

    let unsampled = ask("00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").await;
    assert_eq!(unsampled, "1af7651916cd43dd8448eb211c80319c", "its id is kept for the logs");
    for malformed in ["", "00-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff-x", &"0".repeat(500)] {
        let id = ask(malformed).await;
        assert_eq!(id.len(), 32, "a new trace is begun");
    }
    let continued = ask("00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").await;
    assert_eq!(continued, "2af7651916cd43dd8448eb211c80319c");

    let url = format!("{viewer}/api/traces/{continued}");
    let trace = eventually(&mall, &url, |json| whole(Trace::from_jaeger(json)?)).await;
    assert_eq!(trace.orphans()[0].parent.as_deref(), Some("b7ad6b7169203331"));
    // The services send in order, and the later trace has arrived from both.
    let answer = mall.get(&format!("{viewer}/api/traces/{unsampled}")).await;
    assert_eq!(answer.status(), 404, "an unsampled parent stays unsampled");
}

/// Asks who that is, with one header more; gives the answer's trace.
async fn ask_with(mall: &Mall, shopper: &Shopper, (name, value): (&str, &str)) -> String {
    let request = http::Request::post(mall.url("user.api") + "/api/user/userinfo")
        .header("authorization", format!("Bearer {}", shopper.token))
        .header(name, value)
        .body(Default::default());
    let answer = mall.send(request.unwrap()).await;
    assert_eq!(answer.status(), 200);
    trace_id(&answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_in_every_form() {
    let (id, parent) = ("3af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    for (propagators, header, value) in [
        ("b3", "b3", format!("{id}-{parent}-1")),
        // Either of Zipkin's forms is read, whichever is written.
        ("b3multi", "b3", format!("{id}-{parent}-1")),
        ("jaeger", "uber-trace-id", format!("{id}:{parent}:0:1")),
        ("tracecontext,jaeger", "uber-trace-id", format!("{id}:{parent}:0:1")),
    ] {
        let mall = Mall::of(MALL).variable("OTEL_PROPAGATORS", propagators).start().await;
        let shopper = Shopper::new(&mall, "15838607661").await;
        assert_eq!(ask_with(&mall, &shopper, (header, &value)).await, id, "{propagators}");
        let url = format!("{}/api/traces/{id}", mall.url("viewer"));
        let trace = eventually(&mall, &url, |json| whole(Trace::from_jaeger(json)?)).await;
        // From user.api to user.rpc as well, in the form that is written.
        let statement = trace.spans.iter().find(|span| span.name.starts_with("SELECT")).unwrap();
        assert_eq!(trace.path(statement), PATH, "{propagators}");
        assert_eq!(trace.orphans()[0].parent.as_deref(), Some(parent), "{propagators}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_kept_on_demand_where_that_is_allowed() {
    for allowed in [true, false] {
        let mall = Mall::of(MALL)
            .variable("OTEL_TRACES_SAMPLER", "parentbased_always_off")
            .variable("MALL__TELEMETRY__DEBUG", if allowed { "true" } else { "false" })
            .start()
            .await;
        let shopper = Shopper::new(&mall, "15838607661").await;
        let asked = ask_with(&mall, &shopper, ("baggage", "debug=1")).await;
        let other = ask_with(&mall, &shopper, ("baggage", "tenant=1")).await;
        let url = |id: &str| format!("{}/api/traces/{id}", mall.url("viewer"));
        if allowed {
            assert_whole(&eventually(&mall, &url(&asked), |json| whole(Trace::from_jaeger(json)?)).await);
        } else {
            // What is sent is sent within a second.
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(mall.get(&url(&asked)).await.status(), 404);
        }
        assert_eq!(mall.get(&url(&other)).await.status(), 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_made_where_a_caller_asks_for_it_if_that_is_allowed() {
    let mall = Mall::of(MALL).variable("MALL__SERVER__FAULTS", "true").start().await;
    let url = format!("{}/api/product/1", mall.url("product.api"));
    let ask = async |mall: &Mall, url: &str, fault: &str| {
        let request = http::Request::get(url).header("baggage", format!("fault={fault}")).body(Default::default());
        let began = std::time::Instant::now();
        (mall.send(request.unwrap()).await, began.elapsed())
    };
    let (answer, took) = ask(&mall, &url, "ProductService/Detail:delay=300ms").await;
    assert!(answer.status() == 200 && took >= Duration::from_millis(300), "{answer:?} after {took:?}");
    let (answer, _) = ask(&mall, &url, "ProductService/*:error=ABORTED").await;
    assert_eq!(answer.status(), 409);
    let trace = format!("{}/api/traces/{}", mall.url("viewer"), trace_id(&answer));
    let faulty = eventually(&mall, &trace, |json| {
        let data = &json["data"][0];
        let tag = |span: &Value| span["tags"].as_array()?.iter().find(|tag| tag["key"] == "mall.fault").cloned();
        let mut faulty = data["spans"].as_array()?.iter().filter_map(|span| Some((span, tag(span)?)));
        let (span, tag) = faulty.next()?;
        let process = &data["processes"][span["processID"].as_str()?];
        Some((process["serviceName"].clone(), tag["value"].clone()))
    });
    assert_eq!(faulty.await, ("product.rpc".into(), "ProductService/*:error=ABORTED".into()));

    // What is meant for others passes by, and what means nothing is told so.
    assert_eq!(ask(&mall, &url, "OrderService/*:error=ABORTED").await.0.status(), 200);
    let (answer, _) = ask(&mall, &url, "ProductService:error=ABORTED").await;
    assert_eq!(answer.status(), 400);
    assert!(String::from_utf8_lossy(answer.body()).contains("SERVICE/METHOD:delay=200ms"), "{answer:?}");

    let strict = Mall::of(MALL).start().await;
    let url = format!("{}/api/product/1", strict.url("product.api"));
    assert_eq!(ask(&strict, &url, "ProductService/*:error=ABORTED").await.0.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_seen_in_jaeger() {
    let Some(jaeger) = jaeger::start().await else { return };
    let mall = Mall::of(MALL).argument("--otlp").argument(&jaeger.otlp_grpc).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let id = trace_id(&shopper.user_info(&mall).await);
    let url = format!("{}/api/traces/{id}", jaeger.query);
    assert_whole(&eventually(&mall, &url, |json| whole(Trace::from_jaeger(json)?)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_seen_in_zipkin() {
    let Some(zipkin) = zipkin::start().await else { return };
    let mall = Mall::of(MALL)
        .variable("OTEL_TRACES_EXPORTER", "zipkin")
        .variable("OTEL_EXPORTER_ZIPKIN_ENDPOINT", &format!("{}/api/v2/spans", zipkin.url))
        .start()
        .await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let id = trace_id(&shopper.user_info(&mall).await);
    let url = format!("{}/api/v2/trace/{id}", zipkin.url);
    assert_whole(&eventually(&mall, &url, |json| whole(Trace::from_zipkin(json)?)).await);
}
