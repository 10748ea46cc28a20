use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

const MAX_MESSAGE: usize = 64 << 10;
const ID: &str = "0102030405060708090a0b0c0d0e0f10";

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(routes: &Router, request: axum::http::request::Builder, body: impl Into<Body>) -> Answer {
    let response = routes.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

async fn get(routes: &Router, uri: &str) -> Answer {
    ask(routes, Request::get(uri).header("host", "localhost:5000"), "").await
}

fn sink() -> Sink {
    Sink { store: Arc::new(RwLock::new(Store::new(4 << 20))), max_message: MAX_MESSAGE }
}

async fn viewer() -> (Router, Sink) {
    let sink = sink();
    (pages(sink.store.clone(), SocketAddr::from(([127, 0, 0, 1], 5000)), vec!["traces.test".to_owned()]).await, sink)
}

fn spans() -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
        "scopeSpans": [{ "spans": [{ "traceId": ID, "spanId": "0000000000000001", "name": "buy", "startTimeUnixNano": "1000" }] }],
    }]})
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn otlp_over_http_is_taken_in_both_encodings_zipped_and_not() {
    let span = Span { trace_id: vec![1; 16], span_id: vec![1; 8], ..Default::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    let protobuf = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let json = spans().to_string().into_bytes();
    for (content_type, body, answer) in [
        ("application/x-protobuf", &protobuf, b"".as_slice()),
        ("application/json", &json, b"{}"),
        ("Application/JSON; charset=utf-8", &json, b"{}"),
    ] {
        for (encoding, body) in [(None, body.clone()), (Some("identity"), body.clone()), (Some("gzip"), gzip(body))] {
            let sink = sink();
            let routes = otlp::http::router(sink.clone());
            let mut request = Request::post("/v1/traces").header("content-type", content_type);
            if let Some(encoding) = encoding {
                request = request.header("content-encoding", encoding);
            }
            let found = ask(&routes, request, body).await;
            assert_eq!((found.status, found.body.as_slice()), (200, answer), "{content_type} {encoding:?}");
            let essence = content_type.split(';').next().unwrap().to_ascii_lowercase();
            assert_eq!(found.header("content-type"), essence);
            assert_eq!(sink.store.read().await.services().len(), 1);
        }
    }
}

#[tokio::test]
async fn bad_otlp_over_http_gets_a_status_in_its_own_encoding() {
    let bomb = gzip(&vec![0; 100 * MAX_MESSAGE]);
    assert!(bomb.len() < MAX_MESSAGE);
    let (json, protobuf) = (Some("application/json"), Some("application/x-protobuf"));
    let large = vec![b' '; MAX_MESSAGE + 1];
    type Case<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, Option<&'a str>, Vec<u8>, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("another method", "GET", "/v1/traces", None, None, vec![], 405, "POST"),
        ("a preflight", "OPTIONS", "/v1/traces", None, None, vec![], 405, "POST"),
        ("metrics", "POST", "/v1/metrics", json, None, b"{}".to_vec(), 404, "only traces"),
        ("logs", "POST", "/v1/logs", protobuf, None, vec![], 404, "only traces"),
        ("no content type", "POST", "/v1/traces", None, None, vec![], 415, "content type"),
        ("another content type", "POST", "/v1/traces", Some("text/plain"), None, vec![], 415, "content type"),
        ("another compression", "POST", "/v1/traces", json, Some("zstd"), vec![], 415, "gzip"),
        ("no gzip", "POST", "/v1/traces", json, Some("gzip"), b"{}".to_vec(), 400, "no gzip"),
        ("half a gzip", "POST", "/v1/traces", json, Some("gzip"), gzip(b"{}")[..12].to_vec(), 400, "no gzip"),
        ("too large", "POST", "/v1/traces", json, None, large, 413, "larger than 65536"),
        ("a bomb", "POST", "/v1/traces", json, Some("gzip"), bomb.clone(), 413, "larger than 65536"),
        ("a bomb of protobuf", "POST", "/v1/traces", protobuf, Some("gzip"), bomb, 413, "larger than 65536"),
        ("bad JSON", "POST", "/v1/traces", json, None, b"{".to_vec(), 400, "EOF"),
        ("bad protobuf", "POST", "/v1/traces", protobuf, None, b"{".to_vec(), 400, "no protobuf"),
    ];
    let sink = sink();
    let routes = otlp::http::router(sink.clone());
    for (name, method, path, content_type, encoding, body, status, text) in cases {
        let mut request = Request::builder().method(method).uri(path);
        for (key, value) in [("content-type", content_type), ("content-encoding", encoding)] {
            if let Some(value) = value {
                request = request.header(key, value);
            }
        }
        let answer = ask(&routes, request, body).await;
        assert_eq!(answer.status, status, "{name}");
        let message = if status != 404 && content_type == protobuf {
            assert_eq!(answer.header("content-type"), "application/x-protobuf", "{name}");
            tonic_status(&answer.body)
        } else {
            answer.json()["message"].as_str().unwrap().to_owned()
        };
        assert!(message.contains(text), "{name}: {message}");
        if status == 405 {
            assert!(answer.header("allow").contains("POST"), "{name}");
        }
    }
    assert!(sink.store.read().await.services().is_empty());
}

/// The message in an encoded `google.rpc.Status`.
fn tonic_status(encoded: &[u8]) -> String {
    String::from_utf8(crate::wire::field(encoded, 2).unwrap_or_default().to_vec()).unwrap()
}

#[tokio::test]
async fn spans_that_are_not_kept_are_counted_in_the_answer() {
    let sink = Sink { max_message: 8 << 20, ..sink() };
    let mut message = spans();
    message["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] = "x".repeat(2 << 20).into();
    let request = Request::post("/v1/traces").header("content-type", "application/json");
    let answer = ask(&otlp::http::router(sink), request, message.to_string()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["partialSuccess"]["rejectedSpans"], "1");
    assert!(answer.json()["partialSuccess"]["errorMessage"].as_str().unwrap().contains("larger than"));
}

#[tokio::test]
async fn bad_questions_get_errors_as_jaeger_writes_them() {
    let (routes, _) = viewer().await;
    let old = |code: u16, text: &'static str| (code, "/errors/0/msg", "/errors/0/code", text);
    let new = |code: u16, text: &'static str| (code, "/error/message", "/error/httpCode", text);
    for (path, (status, at_text, at_code, text)) in [
        ("/api/traces", old(400, "parameter 'service' is required")),
        ("/api/traces?service=a&start=x", old(400, "unable to parse param 'start'")),
        ("/api/traces?service=a&end=-1", old(400, "unable to parse param 'end'")),
        ("/api/traces?service=a&lookback=long", old(400, "unable to parse param 'lookback'")),
        ("/api/traces?service=a&limit=0", old(400, "unable to parse param 'limit'")),
        ("/api/traces?service=a&limit=many", old(400, "unable to parse param 'limit'")),
        ("/api/traces?service=a&minDuration=5", old(400, "unable to parse param 'minDuration'")),
        ("/api/traces?service=a&minDuration=2s&maxDuration=1s", old(400, "'maxDuration' should be greater")),
        ("/api/traces?service=a&tag=color", old(400, "expecting key:value")),
        ("/api/traces?service=a&tags=color", old(400, "cannot read JSON")),
        ("/api/traces?traceID=xyz", old(400, "no trace id")),
        ("/api/traces/xyz", old(400, "no trace id")),
        ("/api/traces/+1", old(400, "no trace id")),
        ("/api/traces/0102030405060708090a0b0c0d0e0f1011", old(400, "no trace id")),
        ("/api/traces/1", old(404, "trace not found")),
        ("/api/operations", old(400, "parameter 'service' is required")),
        ("/api/dependencies?endTs=now", old(400, "unable to parse param 'endTs'")),
        ("/api/metrics/calls?service=a", old(501, "no metrics")),
        ("/api/nothing", old(404, "no such API")),
        ("/api/v3/nothing", new(404, "no such API")),
        ("/api/v3/traces/xyz", new(400, "malformed parameter trace_id")),
        ("/api/v3/traces/1", new(404, "No traces found")),
        ("/api/v3/traces", new(400, "query.start_time_min and query.start_time_max are required")),
    ] {
        let answer = get(&routes, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        assert_eq!(answer.json().pointer(at_code).unwrap(), status, "{path}");
        let found = answer.json().pointer(at_text).unwrap().to_string();
        assert!(found.contains(text), "{path}: {found}");
    }
}

#[tokio::test]
async fn a_file_can_be_shown_without_being_kept() {
    let (routes, sink) = viewer().await;
    let answer = ask(&routes, Request::post("/api/transform").header("host", "localhost"), spans().to_string()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["data"][0]["traceID"], ID);
    assert!(sink.store.read().await.services().is_empty());
    let answer = ask(&routes, Request::post("/api/transform").header("host", "localhost"), "{").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn one_file_is_read_at_a_time() {
    let (routes, _) = viewer().await;
    let upload = || Request::post("/api/transform").header("host", "localhost");
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    // It arrives once the other one was refused.
    let slow = Body::new(http_body_util::Full::new(Bytes::from(spans().to_string())).with_trailers(async {
        receiver.await.unwrap();
        None
    }));
    let mut slow = Box::pin(ask(&routes, upload(), slow));
    assert!(futures::poll!(&mut slow).is_pending());
    assert_eq!(ask(&routes, upload(), "{}").await.status, 503);
    sender.send(()).unwrap();
    assert_eq!(slow.await.status, 200);
    assert_eq!(ask(&routes, upload(), "{}").await.status, 200);
}

#[tokio::test]
async fn a_trace_is_told_once_and_in_lines_if_asked_to() {
    let (routes, sink) = viewer().await;
    sink.put(crate::otlp::Batch::from_json(spans().to_string().as_bytes()).unwrap()).await;
    let repeated =
        get(&routes, &format!("/api/traces?traceID=77{}", format!("&traceID={ID}").repeat(100))).await.json();
    assert_eq!(repeated["data"].as_array().unwrap().len(), 1, "{repeated}");
    assert_eq!(repeated["errors"], json!([{ "msg": "trace not found", "traceID": "0000000000000077" }]));
    let lines = async |query: &str| {
        let answer = get(&routes, &format!("/api/traces/{ID}{query}")).await;
        assert_eq!(answer.json()["data"][0]["traceID"], ID);
        answer.body.split(|byte| *byte == b'\n').count()
    };
    assert_eq!((lines("").await, lines("?prettyPrint=false").await), (1, 1));
    assert!(lines("?prettyPrint=true").await > 10);
}

#[tokio::test]
async fn a_message_that_is_late_may_be_sent_again() {
    let sink = sink();
    let _busy = sink.store.write().await;
    let limits = limits(Duration::from_millis(20));
    for (routes, path, content_type, body) in [
        (otlp::http::router(sink.clone()), "/v1/traces", "application/json", spans().to_string().into_bytes()),
        (otlp::grpc::router(sink.clone()), otlp::grpc::EXPORT, "application/grpc", vec![0; 5]),
    ] {
        let request = Request::post(path).header("content-type", content_type);
        assert_eq!(ask(&routes.layer(limits.clone()), request, body).await.status, 503, "{path}");
    }
}

#[tokio::test]
async fn the_ui_is_there_at_every_path_of_its_own_and_can_be_cached() {
    let (routes, _) = viewer().await;
    let mut pages = Vec::new();
    for path in ["/", "/search", "/trace/0102", "/trace/1...2", "/dependencies", "/index.html"] {
        let answer = get(&routes, path).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "no-cache"), "{path}");
        assert!(answer.header("content-type").starts_with("text/html"));
        pages.push(answer.body);
    }
    pages.dedup();
    let [page] = pages.as_slice() else { panic!("all are the same page") };
    let page = String::from_utf8_lossy(page);
    assert!(page.contains(r#"JAEGER_CONFIG = {"#), "the settings are in it");
    let assets: Vec<_> = page
        .split('"')
        .filter_map(|text| text.strip_prefix("./static/"))
        .filter(|name| !name.contains("legacy"))
        .collect();
    assert!(assets.len() >= 3, "{assets:?}");
    for asset in assets {
        let request =
            Request::get(format!("/static/{asset}")).header("host", "127.0.0.1").header("accept-encoding", "gzip");
        let answer = ask(&routes, request, "").await;
        assert_eq!(answer.status, 200, "{asset}");
        assert!(answer.header("cache-control").contains("immutable"), "{asset}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(asset.ends_with(".ico") || answer.header("content-encoding") == "gzip", "{asset}");
    }
    for path in ["/static/none.js", "/static/..%2findex.html", "/static/%20"] {
        assert_eq!(get(&routes, path).await.status, 404, "{path}");
    }
    assert_eq!(ask(&routes, Request::post("/search").header("host", "localhost"), "").await.status, 405);
}

#[tokio::test]
async fn only_names_of_this_machine_are_answered() {
    let (routes, sink) = viewer().await;
    for (host, status) in [
        ("localhost", 200),
        ("localhost:5000", 200),
        ("LOCALHOST:5000", 200),
        ("viewer.localhost:5000", 200),
        ("127.0.0.1:5000", 200),
        ("10.0.0.7", 200),
        ("[::1]:5000", 200),
        ("traces.test:80", 200),
        ("evil.example", 403),
        ("evil.example:5000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:5000", 403),
    ] {
        for path in ["/api/services", "/"] {
            let answer = ask(&routes, Request::get(path).header("host", host), "").await;
            assert_eq!(answer.status, status, "{host} {path}");
        }
    }
    for (site, mode, status) in [
        ("cross-site", "navigate", 200),
        ("cross-site", "no-cors", 403),
        ("cross-site", "cors", 403),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ] {
        let request = Request::get("/api/services").header("host", "localhost");
        let answer = ask(&routes, request.header("sec-fetch-site", site).header("sec-fetch-mode", mode), "").await;
        assert_eq!(answer.status, status, "{site} {mode}");
    }
    // Who listens for the network has more names than can be known.
    let routes = pages(sink.store, SocketAddr::from(([0, 0, 0, 0], 5000)), vec![]).await;
    assert_eq!(ask(&routes, Request::get("/api/services").header("host", "viewer"), "").await.status, 200);
}
