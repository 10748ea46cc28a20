//! The HTTP layer, around services made for the test.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use opentelemetry::trace::{SpanKind, Status, TraceId};
use opentelemetry_sdk::trace::SpanData;
use telemetry::http::{Route, ServerLayer};
use telemetry::semconv;
use telemetry::testing::{attribute, install};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// A trace that only this test has.
fn trace() -> TraceId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    TraceId::from(0x47 << 64 | u128::from(NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn answer(status: u16, route: Option<&str>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(route) = route {
        response.extensions_mut().insert(Route::new(route));
    }
    response
}

/// Sends a request to a router that answers so; the answer's head and the span.
async fn send(method: &str, uri: &str, status: u16, route: Option<&'static str>) -> (http::HeaderMap, SpanData) {
    let captured = install(1.0);
    let trace = trace();
    let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(answer(status, route)));
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(semconv::TRACEPARENT, format!("00-{trace}-00f067aa0ba902b7-01"))
        .header("authorization", "Bearer hunter2")
        .body(())
        .unwrap();
    let response = ServerLayer.layer(inner).oneshot(request).await.unwrap();
    let headers = response.headers().clone();
    response.into_body().collect().await.unwrap();
    let mut spans = captured.wait(trace, 1).await;
    assert_eq!(spans.len(), 1);
    (headers, spans.remove(0))
}

#[tokio::test]
async fn a_span_is_named_by_its_route() {
    let (headers, span) = send("POST", "/api/product/7?token=hunter2", 200, Some("/api/product/{id}")).await;
    assert_eq!((span.name.as_ref(), &span.span_kind), ("POST /api/product/{id}", &SpanKind::Server));
    for (key, value) in [
        (semconv::HTTP_REQUEST_METHOD, "POST"),
        (semconv::HTTP_ROUTE, "/api/product/{id}"),
        (semconv::URL_PATH, "/api/product/7"),
        (semconv::URL_SCHEME, "http"),
        (semconv::HTTP_RESPONSE_STATUS_CODE, "200"),
        (semconv::ERROR_TYPE, ""),
    ] {
        assert_eq!(attribute(&span, key), value, "{key}");
    }
    assert_eq!(span.status, Status::Unset);
    assert!(!format!("{span:?}").contains("hunter2"));
    let context = &span.span_context;
    assert_eq!(headers[semconv::X_TRACE_ID], context.trace_id().to_string());
    assert_eq!(headers[semconv::TRACERESPONSE], format!("00-{}-{}-01", context.trace_id(), context.span_id()));
}

#[tokio::test]
async fn a_path_without_a_route_is_not_recorded() {
    for (method, name) in [("GET", "GET"), ("POST", "POST"), ("hunter2", "HTTP"), ("get", "HTTP")] {
        let (headers, span) = send(method, "/hunter2/../etc?q=hunter2", 404, None).await;
        assert_eq!(span.name, name);
        assert_eq!(attribute(&span, semconv::HTTP_REQUEST_METHOD), if name == "HTTP" { "_OTHER" } else { method });
        assert_eq!(attribute(&span, semconv::URL_PATH), "");
        assert_eq!(span.status, Status::Unset);
        assert!(!format!("{span:?}").contains("hunter2"), "{span:?}");
        assert!(headers.contains_key(semconv::X_TRACE_ID));
    }
    assert!(!telemetry::metrics_text().contains("hunter2"));
}

#[tokio::test]
async fn only_the_servers_faults_are_errors() {
    for (status, fault) in
        [(200, false), (302, false), (400, false), (404, false), (429, false), (500, true), (503, true)]
    {
        let (headers, span) = send("GET", "/api/x", status, Some("/api/x")).await;
        assert_eq!(matches!(span.status, Status::Error { .. }), fault, "{status}");
        let kind = if fault { status.to_string() } else { String::new() };
        assert_eq!(attribute(&span, semconv::ERROR_TYPE), kind);
        assert!(headers.contains_key(semconv::TRACERESPONSE) && headers.contains_key(semconv::X_TRACE_ID));
    }
}

#[tokio::test]
async fn the_path_of_a_long_request_is_cut() {
    let (_, span) = send("GET", &format!("/api/{}", "x".repeat(5000)), 200, Some("/api/{name}")).await;
    assert!(attribute(&span, semconv::URL_PATH).len() <= 256);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_span() {
    let captured = install(1.0);
    let trace = trace();
    let inner = service_fn(async |_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>().await);
    let request = Request::delete("/api/slow")
        .header(semconv::TRACEPARENT, format!("00-{trace}-00f067aa0ba902b7-01"))
        .body(())
        .unwrap();
    let mut call = Box::pin(ServerLayer.layer(inner).oneshot(request));
    std::future::poll_fn(|poller| {
        assert!(call.as_mut().poll(poller).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    assert_eq!(active(&telemetry::metrics_text()), "1");
    drop(call);
    let span = captured.wait(trace, 1).await.remove(0);
    assert_eq!((span.name.as_ref(), attribute(&span, semconv::ERROR_TYPE).as_str()), ("DELETE", "cancelled"));
    assert_eq!(attribute(&span, semconv::HTTP_RESPONSE_STATUS_CODE), "");
    assert!(matches!(span.status, Status::Error { .. }));
    let metrics = telemetry::metrics_text();
    assert_eq!(active(&metrics), "0");
    let counted = |line: &&str| {
        line.starts_with("http_server_request_duration_seconds_count{") && line.contains(r#"error_type="cancelled""#)
    };
    assert_eq!(metrics.lines().filter(counted).count(), 1, "{metrics}");
}

#[tokio::test]
async fn a_body_that_breaks_is_an_error() {
    let captured = install(1.0);
    let trace = trace();
    let inner = service_fn(async |_: Request<()>| {
        let broken = tokio_stream::iter([Err::<http_body::Frame<Bytes>, _>(std::io::Error::other("hunter2"))]);
        Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(broken)))
    });
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let request = Request::get("/api/x").header(semconv::TRACEPARENT, parent).body(()).unwrap();
    let response = ServerLayer.layer(inner).oneshot(request).await.unwrap();
    http_body_util::BodyExt::collect(response.into_body()).await.unwrap_err();
    let span = captured.wait(trace, 1).await.remove(0);
    assert_eq!(attribute(&span, semconv::HTTP_RESPONSE_STATUS_CODE), "200");
    assert_eq!(attribute(&span, semconv::ERROR_TYPE), "broken");
    assert!(matches!(span.status, Status::Error { .. }) && !format!("{span:?}").contains("hunter2"));
}

/// How many DELETE requests are in flight.
fn active(metrics: &str) -> &str {
    let line = |line: &&str| line.starts_with("http_server_active_requests{") && line.contains("DELETE");
    metrics.lines().find(line).and_then(|line| line.rsplit(' ').next()).unwrap_or_default()
}

#[tokio::test]
async fn the_handler_and_the_body_run_in_the_span() {
    let captured = install(1.0);
    let inner = service_fn(async |_: Request<()>| {
        let id = telemetry::trace_id().unwrap();
        tokio::task::yield_now().await;
        assert_eq!(telemetry::trace_id(), Some(id));
        let mut response = answer(200, Some("/api/x"));
        response.headers_mut().insert("x-seen", id.to_string().parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let response = ServerLayer.layer(inner).oneshot(Request::get("/api/x").body(()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-seen"], response.headers()[semconv::X_TRACE_ID]);
    let id = TraceId::from_hex(response.headers()["x-seen"].to_str().unwrap()).unwrap();
    assert_eq!(captured.trace(id).len(), 0);
    drop(response);
    assert_eq!(captured.wait(id, 1).await.len(), 1);
    assert_eq!(telemetry::trace_id(), None);
}
