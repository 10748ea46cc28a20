//! One test of what is answered, for the viewer and for real Jaeger: what holds for one holds for the other.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::{ask, get};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use rpc::Lifecycle;
use serde_json::{Value, json};

#[path = "query/client.rs"]
mod client;

const LONG: &str = "5b8efff798038103d269b633813fc60c";
const OTHER: &str = "5b8efff798038103d269b633813fc60d";
/// Its first half is zero.
const SHORT: &str = "000000000000000000000000000abcde";

/// Where to send spans and where to ask for them.
struct System {
    query: String,
    otlp_grpc: String,
    otlp_http: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_answers() {
    let lifecycle = Lifecycle::new();
    let viewer = viewer::Viewer::bind(client::config_on_free_ports(), lifecycle.clone()).await.unwrap();
    let addresses = viewer.config().clone();
    let serving = tokio::spawn(viewer.serve());
    answers(&System {
        query: format!("http://{}", addresses.listen),
        otlp_grpc: format!("http://{}", addresses.otlp_grpc),
        otlp_http: format!("http://{}", addresses.otlp_http),
    })
    .await;
    lifecycle.drain();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jaeger_answers() {
    let Some(jaeger) = testkit::jaeger::start().await else { return };
    answers(&System {
        query: jaeger.query.clone(),
        otlp_grpc: jaeger.otlp_grpc.clone(),
        otlp_http: jaeger.otlp_http.clone(),
    })
    .await;
}

async fn answers(system: &System) {
    assert_eq!(ok(system, "/api/v3/services").await, json!({}), "it is empty");
    let start = now() - 60_000_000_000;
    send(system, start).await;
    services_and_operations(system).await;
    traces_by_id(system, start).await;
    traces_by_search(system, start).await;
    traces_as_the_ui_shows_them(system, start).await;
    traces_as_the_ui_finds_them(system, start).await;
    dependencies(system).await;
    errors(system).await;
}

/// Nanoseconds since 1970, without what is less than a millisecond.
fn now() -> u64 {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
    u64::try_from(millis).expect("a clock before 2554") * 1_000_000
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Attributes are in the order of their keys, events in that of their names: Jaeger sorts both.
fn resource_spans(service: &str, spans: Value) -> Value {
    json!({
        "resource": { "attributes": [text("service.instance.id", "the-same"), text("service.name", service)] },
        "scopeSpans": [{ "scope": { "name": "lib", "version": "1.2" }, "spans": spans }],
    })
}

/// A request through two services that say that they are the same instance.
fn long_trace(start: u64) -> [Value; 2] {
    let api = json!([{
        "traceId": LONG, "spanId": "00000000000000a1", "name": "POST /buy", "kind": 2,
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 50_000_000).to_string(),
        "attributes": [text("http.route", "/buy")],
        "status": {},
    }, {
        "traceId": LONG, "spanId": "00000000000000a2", "parentSpanId": "00000000000000a1", "name": "shop.v1.Shop/Buy",
        "kind": 3, "flags": 257, "traceState": "vendor=value",
        "startTimeUnixNano": (start + 1_000_000).to_string(), "endTimeUnixNano": (start + 40_000_000).to_string(),
        "status": {},
    }]);
    let rpc = json!([{
        "traceId": LONG, "spanId": "00000000000000b1", "parentSpanId": "00000000000000a2", "name": "shop.v1.Shop/Buy",
        "kind": 2,
        "startTimeUnixNano": (start + 2_000_000).to_string(), "endTimeUnixNano": (start + 30_000_000).to_string(),
        "attributes": [
            { "key": "a.bool", "value": { "boolValue": false } },
            { "key": "a.double", "value": { "doubleValue": 0.5 } },
            { "key": "a.large", "value": { "intValue": "9007199254740993" } },
            { "key": "a.list", "value": { "arrayValue": { "values": [{ "stringValue": "x" }, { "intValue": "1" }] } } },
            { "key": "a.map", "value": { "kvlistValue": { "values": [{ "key": "k", "value": { "boolValue": true } }] } } },
            { "key": "a.number", "value": { "intValue": "-42" } },
            { "key": "a.text", "value": { "stringValue": "" } },
            { "key": "bytes", "value": { "bytesValue": "AAECAw==" } },
            text("color", "red"),
        ],
        "droppedAttributesCount": 1,
        "events": [
            { "timeUnixNano": (start + 3_000_000).to_string(), "name": "looked", "attributes": [text("found", "no")] },
            { "timeUnixNano": (start + 4_000_000).to_string(), "name": "retried", "droppedAttributesCount": 2 },
        ],
        "links": [{ "traceId": OTHER, "spanId": "00000000000000c1", "attributes": [text("why", "retry")] }],
        "status": { "message": "sold out", "code": 2 },
    }]);
    [resource_spans("shop.api", api), resource_spans("shop.rpc", rpc)]
}

fn single_span(trace: &str, start: u64, name: &str) -> Value {
    let span = json!([{
        "traceId": trace, "spanId": "00000000000000c1", "name": name, "kind": 1,
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 2_000_000_000).to_string(),
        "attributes": [text("color", "blue")], "status": { "code": 1 },
    }]);
    resource_spans("shop.worker", span)
}

async fn send(system: &System, start: u64) {
    // The two services of the first trace send on their own, one of them over gRPC.
    let [api, rpc] = long_trace(start);
    let request: ExportTraceServiceRequest =
        serde_json::from_value(json!({ "resourceSpans": [api] })).expect("an OTLP message");
    let mut grpc = TraceServiceClient::connect(system.otlp_grpc.clone()).await.expect("a gRPC connection");
    grpc.export(request).await.expect("spans are taken over gRPC");
    let rest =
        [rpc, single_span(OTHER, start + 1_000_000_000, "work"), single_span(SHORT, start + 2_000_000_000, "rest")];
    for resource_spans in rest {
        let message = json!({ "resourceSpans": [resource_spans] }).to_string();
        let url = format!("{}/v1/traces", system.otlp_http);
        let answer = ask("POST", &url, &[("content-type", "application/json")], message.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // Whoever writes later than it answers may take a moment.
    let last = format!("{}/api/v3/traces/{SHORT}", system.query);
    for _ in 0..100 {
        if get(&last).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the spans do not arrive");
}

async fn ok(system: &System, path: &str) -> Value {
    let answer = get(&format!("{}{path}", system.query)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// A list without its order.
fn unordered(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(Value::to_string).collect()
}

async fn services_and_operations(system: &System) {
    let services = BTreeSet::from(["shop.api", "shop.rpc", "shop.worker"].map(|name| json!(name).to_string()));
    assert_eq!(unordered(&ok(system, "/api/v3/services").await["services"]), services);
    assert_eq!(unordered(&ok(system, "/api/services").await["data"]), services);
    let server = json!({ "name": "POST /buy", "spanKind": "server" });
    let both = unordered(&json!([server, { "name": "shop.v1.Shop/Buy", "spanKind": "client" }]));
    let operations = ok(system, "/api/v3/operations?service=shop.api").await;
    assert_eq!(unordered(&operations["operations"]), both);
    let operations = ok(system, "/api/v3/operations?service=shop.api&span_kind=server").await;
    assert_eq!(operations, json!({ "operations": [server] }));
    assert_eq!(ok(system, "/api/v3/operations?service=nobody").await, json!({ "operations": [] }));
    assert_eq!(unordered(&ok(system, "/api/operations?service=shop.api").await["data"]), both);
    assert_eq!(ok(system, "/api/operations?service=shop.api&spanKind=server").await["data"], json!([server]));
    let names = ok(system, "/api/services/shop.api/operations").await;
    assert_eq!(unordered(&names["data"]), unordered(&json!(["POST /buy", "shop.v1.Shop/Buy"])));
    assert_eq!(names["total"], 2);
}

/// Every span with its resource and scope, in no order.
fn flat(resource_spans: &Value) -> BTreeSet<String> {
    let mut spans = BTreeSet::new();
    for of_resource in resource_spans.as_array().into_iter().flatten() {
        for of_scope in of_resource["scopeSpans"].as_array().into_iter().flatten() {
            for span in of_scope["spans"].as_array().into_iter().flatten() {
                spans.insert(json!([of_resource["resource"], of_scope["scope"], span]).to_string());
            }
        }
    }
    spans
}

async fn traces_by_id(system: &System, start: u64) {
    for (id, expected) in [
        (LONG, json!(long_trace(start))),
        (OTHER, json!([single_span(OTHER, start + 1_000_000_000, "work")])),
        (SHORT, json!([single_span(SHORT, start + 2_000_000_000, "rest")])),
        ("abcde", json!([single_span(SHORT, start + 2_000_000_000, "rest")])),
    ] {
        let found = ok(system, &format!("/api/v3/traces/{id}")).await;
        assert_eq!(flat(&found["result"]["resourceSpans"]), flat(&expected), "{id}");
        assert_eq!(found.as_object().map(|object| object.len()), Some(1), "only the result");
    }
}

fn rfc3339(nanos: u64) -> String {
    let seconds = (nanos / 1_000_000_000) as i64;
    prost_types::Timestamp { seconds, nanos: (nanos % 1_000_000_000) as i32 }.to_string()
}

async fn traces_by_search(system: &System, start: u64) {
    let minutes = 60_000_000_000;
    let always = (start - minutes, start + minutes);
    for (question, (from, to), expected) in [
        ("query.service_name=shop.api", always, [LONG].as_slice()),
        ("query.service_name=shop.rpc", always, &[LONG]),
        ("query.service_name=shop.worker", always, &[OTHER, SHORT]),
        ("query.service_name=shop.worker&query.num_traces=1", always, &[SHORT]),
        ("query.service_name=shop.worker&query.operation_name=work", always, &[OTHER]),
        ("query.service_name=shop.worker&query.operation_name=wor", always, &[]),
        ("query.service_name=nobody", always, &[]),
        ("query.service_name=shop.worker", (start - minutes, start + 1_500_000_000), &[OTHER]),
        ("query.service_name=shop.worker", (start + 1_500_000_000, start + minutes), &[SHORT]),
        ("query.service_name=shop.worker", (start - minutes, start), &[]),
        ("query.service_name=shop.api&query.duration_min=45ms", always, &[LONG]),
        ("query.service_name=shop.api&query.duration_min=0.06s", always, &[]),
        ("query.service_name=shop.api&query.duration_max=39ms", always, &[LONG]),
        ("query.service_name=shop.api&query.duration_max=1ms", always, &[]),
    ] {
        let (from, to) = (rfc3339(from), rfc3339(to));
        let number = if question.contains("num_traces") { "" } else { "&query.num_traces=10" };
        let path = format!("/api/v3/traces?query.start_time_min={from}&query.start_time_max={to}&{question}{number}");
        let answer = get(&format!("{}{path}", system.query)).await;
        if expected.is_empty() {
            let nothing = json!({ "error": { "httpCode": 404, "message": "No traces found" } });
            assert_eq!((answer.status, answer.json()), (404, nothing), "{path}");
            continue;
        }
        let spans = flat(&answer.json()["result"]["resourceSpans"]);
        let ids: BTreeSet<_> = spans
            .iter()
            .filter_map(|span| serde_json::from_str::<Value>(span).ok()?[2]["traceId"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(ids, expected.iter().map(|id| (*id).to_owned()).collect(), "{path}");
    }
}

/// A trace of the UI with what has no order sorted, and each span with its process in place of the process's number.
fn comparable(trace: &Value) -> Value {
    let sorted = |list: &Value| {
        let mut list = list.as_array().cloned().unwrap_or_default();
        list.sort_by_key(|entry| entry["key"].to_string());
        list
    };
    let mut spans = trace["spans"].as_array().cloned().unwrap_or_default();
    for span in &mut spans {
        let process = &trace["processes"][span["processID"].as_str().unwrap_or_default()];
        let process = json!({ "serviceName": process["serviceName"], "tags": sorted(&process["tags"]) });
        let mut logs = span["logs"].as_array().cloned().unwrap_or_default();
        logs.sort_by_key(|log| log["timestamp"].as_u64());
        span["tags"] = sorted(&span["tags"]).into();
        span["logs"] = logs.into();
        span["process"] = process;
        span.as_object_mut().expect("a span").remove("processID");
    }
    spans.sort_by_key(|span| span["spanID"].to_string());
    json!({ "traceID": trace["traceID"], "spans": spans, "warnings": trace["warnings"] })
}

/// The long trace as the UI wants it.
fn shown(start: u64) -> Value {
    let micros = |nanos: u64| (start + nanos) / 1_000;
    let tag = |key: &str, kind: &str, value: Value| json!({ "key": key, "type": kind, "value": value });
    let text = |key: &str, value: &str| tag(key, "string", value.into());
    let process = |service: &str| json!({ "serviceName": service, "tags": [text("service.instance.id", "the-same")] });
    let parent = |span: &str| json!({ "refType": "CHILD_OF", "traceID": LONG, "spanID": span });
    let scope = [text("otel.scope.name", "lib"), text("otel.scope.version", "1.2")];
    let [name, version] = &scope;
    json!({ "traceID": LONG, "warnings": null, "spans": [{
        "traceID": LONG, "spanID": "00000000000000a1", "operationName": "POST /buy", "references": [],
        "startTime": micros(0), "duration": 50_000,
        "tags": [text("http.route", "/buy"), name, version, text("span.kind", "server")],
        "logs": [], "process": process("shop.api"), "warnings": null,
    }, {
        "traceID": LONG, "spanID": "00000000000000a2", "operationName": "shop.v1.Shop/Buy",
        "references": [parent("00000000000000a1")],
        "startTime": micros(1_000_000), "duration": 39_000,
        "tags": [name, version, text("span.kind", "client"), text("w3c.tracestate", "vendor=value")],
        "logs": [], "process": process("shop.api"), "warnings": null,
    }, {
        "traceID": LONG, "spanID": "00000000000000b1", "operationName": "shop.v1.Shop/Buy",
        "references": [
            parent("00000000000000a2"),
            { "refType": "FOLLOWS_FROM", "traceID": OTHER, "spanID": "00000000000000c1" },
        ],
        "startTime": micros(2_000_000), "duration": 28_000,
        "tags": [
            tag("a.bool", "bool", false.into()),
            tag("a.double", "float64", 0.5.into()),
            tag("a.large", "int64", "9007199254740993".into()),
            text("a.list", r#"["x",1]"#),
            text("a.map", r#"{"k":true}"#),
            tag("a.number", "int64", (-42).into()),
            text("a.text", ""),
            tag("bytes", "binary", "AAECAw==".into()),
            text("color", "red"),
            tag("error", "bool", true.into()),
            name, version,
            text("otel.status_code", "ERROR"),
            text("otel.status_description", "sold out"),
            text("span.kind", "server"),
        ],
        "logs": [
            { "timestamp": micros(3_000_000), "fields": [text("event", "looked"), text("found", "no")] },
            { "timestamp": micros(4_000_000), "fields": [text("event", "retried")] },
        ],
        "process": process("shop.rpc"), "warnings": null,
    }]})
}

async fn traces_as_the_ui_shows_them(system: &System, start: u64) {
    let found = ok(system, &format!("/api/traces/{LONG}")).await;
    assert_eq!(comparable(&found["data"][0]), shown(start));
    assert_eq!(found["errors"], Value::Null);
    let upper = ok(system, &format!("/api/traces/{}", LONG.to_uppercase())).await;
    assert_eq!(comparable(&upper["data"][0]), shown(start));
    for id in [SHORT, "abcde", "0abcde"] {
        let found = ok(system, &format!("/api/traces/{id}")).await;
        assert_eq!(found["data"][0]["traceID"], SHORT[16..]);
        assert_eq!(found["data"][0]["spans"][0]["operationName"], "rest");
    }
}

async fn traces_as_the_ui_finds_them(system: &System, start: u64) {
    let range = format!("start={}&end={}", (start - 1_000_000_000) / 1_000, (start + 60_000_000_000) / 1_000);
    for (question, expected) in [
        ("service=shop.api", [LONG].as_slice()),
        ("service=shop.worker", &[OTHER, &SHORT[16..]]),
        ("service=shop.worker&limit=1", &[&SHORT[16..]]),
        ("service=shop.worker&operation=work", &[OTHER]),
        ("service=shop.worker&minDuration=2s", &[OTHER, &SHORT[16..]]),
        ("service=shop.worker&maxDuration=1.9s", &[]),
        ("service=shop.rpc&tags=%7B%22color%22%3A%22red%22%7D", &[LONG]),
        ("service=shop.rpc&tags=%7B%22color%22%3A%22red%22%2C%22a.number%22%3A%22-42%22%7D", &[LONG]),
        ("service=shop.rpc&tags=%7B%22color%22%3A%22blue%22%7D", &[]),
        ("service=shop.rpc&tag=a.double:0.5&tag=a.bool:false", &[LONG]),
        ("service=shop.rpc&tag=found:no", &[LONG]),
        ("service=shop.rpc&tag=service.instance.id:the-same", &[LONG]),
        ("service=nobody", &[]),
        ("traceID=abcde&traceID=5b8efff798038103d269b633813fc60d", &[OTHER, &SHORT[16..]]),
    ] {
        let found = ok(system, &format!("/api/traces?{range}&{question}")).await;
        let ids = found["data"].as_array().into_iter().flatten().filter_map(|trace| trace["traceID"].as_str());
        assert_eq!(ids.collect::<BTreeSet<_>>(), expected.iter().copied().collect(), "{question}");
        assert_eq!(found["errors"], Value::Null, "{question}");
    }
    let found = ok(system, &format!("/api/traces?{range}&service=shop.rpc")).await;
    assert_eq!(comparable(&found["data"][0]), shown(start), "a search finds whole traces");
    let found = ok(system, "/api/traces?traceID=1").await;
    assert_eq!(found["data"], json!([]));
    assert_eq!(found["errors"], json!([{ "msg": "trace not found", "traceID": "0000000000000001" }]));
}

async fn dependencies(system: &System) {
    let millis = now() / 1_000_000 + 60_000;
    let found = ok(system, &format!("/api/dependencies?endTs={millis}&lookback=3600000")).await;
    // Jaeger's store in memory counts calls within a service, too.
    let calls: Vec<_> =
        found["data"].as_array().into_iter().flatten().filter(|call| call["parent"] != call["child"]).collect();
    assert_eq!(calls, [&json!({ "parent": "shop.api", "child": "shop.rpc", "callCount": 1 })]);
    let found = ok(system, &format!("/api/dependencies?endTs={millis}&lookback=1000")).await;
    assert_eq!(found["data"], json!([]));
}

async fn errors(system: &System) {
    for (path, status, at, text) in [
        ("/api/v3/traces/zzz", 400, "/error/message", "malformed parameter trace_id"),
        ("/api/v3/traces/123", 404, "/error/message", "No traces found"),
        ("/api/v3/traces", 400, "/error/message", "query.start_time_min and query.start_time_max are required"),
        ("/api/v3/traces?query.start_time_min=2026-01-01T00:00:00Z", 400, "/error/message", "are required"),
        (
            "/api/v3/traces?query.start_time_min=today&query.start_time_max=2026-01-01T00:00:00Z",
            400,
            "/error/message",
            "malformed parameter query.start_time_min",
        ),
        (
            "/api/v3/traces?query.start_time_min=2026-01-01T00:00:00Z&query.start_time_max=2026-01-02T00:00:00Z&query.num_traces=x",
            400,
            "/error/message",
            "malformed parameter query.num_traces",
        ),
        (
            "/api/v3/traces?query.start_time_min=2026-01-01T00:00:00Z&query.start_time_max=2026-01-02T00:00:00Z&query.duration_min=5",
            400,
            "/error/message",
            "malformed parameter query.duration_min",
        ),
        ("/api/traces/123", 404, "/errors/0/msg", "trace not found"),
        ("/api/traces/zzz", 400, "/errors/0/msg", ""),
        ("/api/traces", 400, "/errors/0/msg", "parameter 'service' is required"),
        ("/api/traces?service=a&start=x", 400, "/errors/0/msg", "unable to parse param 'start'"),
        ("/api/traces?service=a&minDuration=5", 400, "/errors/0/msg", "unable to parse param 'minDuration'"),
        (
            "/api/traces?service=a&minDuration=2s&maxDuration=1s",
            400,
            "/errors/0/msg",
            "'maxDuration' should be greater",
        ),
        ("/api/traces?service=a&tag=color", 400, "/errors/0/msg", "expecting key:value"),
        ("/api/traces?service=a&tags=color", 400, "/errors/0/msg", "malformed 'tags' parameter"),
        ("/api/operations", 400, "/errors/0/msg", "parameter 'service' is required"),
        ("/api/dependencies?endTs=x", 400, "/errors/0/msg", "unable to parse param 'endTs'"),
    ] {
        let answer = get(&format!("{}{path}", system.query)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let body = answer.json();
        let message = body.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("{path}: {body}"));
        assert!(message.contains(text), "{path}: {message}");
        let code = body.pointer("/error/httpCode").or_else(|| body.pointer("/errors/0/code"));
        assert_eq!(code, Some(&json!(status)), "{path}");
    }
}
