//! Sampler 0: new traces are not recorded, but told to everybody; a sampled caller is followed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use opentelemetry::trace::TraceId;
use telemetry::semconv;
use telemetry::testing::install;
use tower::{Layer as _, ServiceExt as _, service_fn};

async fn send(parent: Option<&str>) -> Response<Full<Bytes>> {
    let inner = service_fn(async |_: Request<()>| {
        let peer = service_fn(async |request: Request<()>| {
            let mut response = Response::new(Full::new(Bytes::new()));
            response.headers_mut().insert("x-sent", request.headers()[semconv::TRACEPARENT].clone());
            Ok::<_, Infallible>(response)
        });
        let client = telemetry::grpc::ClientLayer::new("user.rpc").layer(peer);
        client.oneshot(Request::post("/shop.Service/Buy").body(()).unwrap()).await
    });
    let mut request = Request::get("/api/x").body(()).unwrap();
    if let Some(parent) = parent {
        request.headers_mut().insert(semconv::TRACEPARENT, parent.parse().unwrap());
    }
    let (head, body) = telemetry::http::ServerLayer.layer(inner).oneshot(request).await.unwrap().into_parts();
    Response::from_parts(head, Full::new(body.collect().await.unwrap().to_bytes()))
}

#[tokio::test]
async fn the_sampler_decides_on_new_traces_alone() {
    let captured = install(0.0);
    let response = send(None).await;
    let id = response.headers()[semconv::X_TRACE_ID].to_str().unwrap();
    let sent = response.headers()["x-sent"].to_str().unwrap();
    assert!(sent.starts_with(&format!("00-{id}-")) && sent.ends_with("-00"), "{sent}");
    assert!(captured.spans().is_empty());

    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let response = send(Some(parent)).await;
    assert!(response.headers()["x-sent"].to_str().unwrap().ends_with("-01"));
    let trace = TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
    assert_eq!(captured.wait(trace, 2).await.len(), 2);
}
