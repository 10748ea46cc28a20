//! One trace from the client through the gateway to the service.

use telemetry::testing::{attribute, install};
use telemetry::{SpanKind, TraceId};

use crate::support::{Answer, start};

fn trace_of(answer: &Answer) -> TraceId {
    TraceId::from_hex(answer.header("x-trace-id")).unwrap()
}

#[tokio::test]
async fn a_request_is_one_trace_that_is_named_by_its_route() {
    let captured = install(1.0);
    let gateway = start().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("traceparent", parent), ("baggage", "shop=1"), ("tracestate", "a=b")];
    let answer = gateway.call("GET", "/api/user/userinfo", &headers, "").await;
    assert_eq!(answer.header("x-trace-id"), "0af7651916cd43dd8448eb211c80319c");
    assert!(answer.header("traceresponse").starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert_eq!(gateway.stub.last().get("baggage").unwrap(), "shop=1");
    assert_eq!(gateway.stub.last().get("tracestate").unwrap(), "a=b");

    let spans = captured.wait(trace_of(&answer), 3).await;
    let of = |kind: SpanKind, name: &str| spans.iter().find(|span| span.span_kind == kind && span.name == name);
    let http = of(SpanKind::Server, "GET /api/user/userinfo").unwrap();
    let client = of(SpanKind::Client, "mall.user.v1.UserService/UserInfo").unwrap();
    let server = of(SpanKind::Server, "mall.user.v1.UserService/UserInfo").unwrap();
    assert_eq!(http.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(client.parent_span_id, http.span_context.span_id());
    assert_eq!(server.parent_span_id, client.span_context.span_id());
    assert_eq!(attribute(http, "http.route"), "/api/user/userinfo");
}

#[tokio::test]
async fn every_answer_names_its_trace() {
    let captured = install(1.0);
    let gateway = start().await;
    let named = [
        ("GET", "/api/user/login", "GET /api/user/login"),
        ("GET", "/docs", "GET /docs"),
        ("GET", "/nowhere/17", "GET"),
        ("POST", "/api/user/login", "POST /api/user/login"),
    ];
    for (method, path, name) in named {
        let answer = gateway.call(method, path, &[], "").await;
        let spans = captured.wait(trace_of(&answer), 1).await;
        assert!(spans.iter().any(|span| span.name == name), "{method} {path}: {spans:?}");
    }
    let large = "a".repeat(20 * 1024);
    trace_of(&gateway.call("GET", "/docs", &[("x-large", &large)], "").await);
}
