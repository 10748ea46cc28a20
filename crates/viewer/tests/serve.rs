//! The whole viewer on real ports: OTLP over gRPC with its errors, health, metrics and the end.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use rpc::Lifecycle;
use tonic::Code;
use tonic::codec::CompressionEncoding;

#[path = "query/client.rs"]
mod client;

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
}

fn span(name: &str) -> Span {
    Span { trace_id: vec![7; 16], span_id: vec![7; 8], name: name.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn it_takes_spans_over_grpc_says_how_it_is_and_drains() {
    let lifecycle = Lifecycle::new();
    let viewer = viewer::Viewer::bind(client::config_on_free_ports(), lifecycle.clone()).await.unwrap();
    let addresses = viewer.config().clone();
    let admin = format!("http://{}", addresses.admin);
    assert_eq!(client::get(&format!("{admin}/readyz")).await.status, 503, "it does not serve yet");
    let serving = tokio::spawn(viewer.serve());
    let mut otlp = TraceServiceClient::connect(format!("http://{}", addresses.otlp_grpc)).await.unwrap();

    let answer = otlp.export(request(vec![span("plain")])).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    let mut zipped = otlp.clone().send_compressed(CompressionEncoding::Gzip);
    zipped.export(request(vec![Span { span_id: vec![8; 8], ..span("zipped") }])).await.unwrap();
    let trace = client::get(&format!("http://{}/api/traces/{}", addresses.listen, "07".repeat(16))).await;
    let names: Vec<_> =
        trace.json()["data"][0]["spans"].as_array().unwrap().iter().map(|span| span["operationName"].clone()).collect();
    assert_eq!(names, ["plain", "zipped"]);

    let error = otlp.export(request(vec![Span { trace_id: vec![7; 3], ..span("x") }])).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "a trace id has 16 bytes, not 3"));
    let large = request(vec![span(&"x".repeat(5 << 20))]);
    assert_eq!(otlp.export(large.clone()).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(zipped.export(large).await.unwrap_err().code(), Code::ResourceExhausted, "a bomb");
    let refused = otlp.export(request(vec![span(&"x".repeat(2 << 20))])).await.unwrap().into_inner();
    assert_eq!(refused.partial_success.unwrap().rejected_spans, 1);
    let metrics = client::get(&format!("{admin}/metrics")).await;
    assert!(metrics.body.contains("mall_viewer_spans_refused_total 1"), "{}", metrics.body);

    let mut grpc = tonic::client::Grpc::new(
        tonic::transport::Endpoint::from_shared(format!("http://{}", addresses.otlp_grpc)).unwrap().connect_lazy(),
    );
    grpc.ready().await.unwrap();
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceRequest>::default();
    let error = grpc.unary(tonic::Request::new(request(vec![])), path, codec).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);

    assert_eq!(client::get(&format!("{admin}/readyz")).await.status, 200);
    let metrics = client::get(&format!("{admin}/metrics")).await.body;
    assert!(metrics.contains("mall_viewer_spans_stored"), "{metrics}");
    assert!(metrics.contains("mall_viewer_store_usage"), "{metrics}");

    lifecycle.drain();
    let end = tokio::time::timeout(Duration::from_secs(30), serving).await;
    end.expect("it ends although clients are connected").unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let otlp_http = taken.local_addr().unwrap();
    let config = viewer::Config { otlp_http, ..client::config_on_free_ports() };
    let error = viewer::serve(config, Lifecycle::new()).await.unwrap_err().to_string();
    assert!(error.contains(&otlp_http.to_string()), "{error}");
}
