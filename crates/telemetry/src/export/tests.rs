//! What the exporters put on the wire, against real sockets and files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;
use opentelemetry::trace::{Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::trace::{TraceFlags, TraceId, TraceState, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message as _;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use redact::Secret;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;
use tonic::transport::Identity;

use super::*;
use crate::testing::Captured;
use crate::{fake, resource, semconv};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A server span with a remote parent, and a client span in it that failed.
fn batch() -> Vec<SpanData> {
    let captured = Captured::default();
    let provider = SdkTracerProvider::builder().with_span_processor(captured.clone()).build();
    let tracer = provider.tracer("test");
    let parent = SpanContext::new(
        TraceId::from_hex(TRACE).unwrap(),
        SpanId::from(7),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let parent = Context::new().with_remote_span_context(parent);
    let server =
        tracer.span_builder("shop.Service/Buy").with_kind(SpanKind::Server).start_with_context(&tracer, &parent);
    let parent = parent.with_span(server);
    let mut client = tracer.span_builder("SELECT").with_kind(SpanKind::Client).start_with_context(&tracer, &parent);
    client.set_attribute(KeyValue::new(semconv::SERVER_ADDRESS, "127.0.0.1"));
    client.set_attribute(KeyValue::new(semconv::SERVER_PORT, 5432));
    client.set_attribute(KeyValue::new(semconv::ERROR_TYPE, "timeout"));
    client.add_event("retried", vec![]);
    client.set_status(Status::error(""));
    client.end();
    drop(parent);
    captured.spans()
}

fn config(batcher: Batcher, endpoint: impl ToString) -> Config {
    Config {
        name: "shop".to_owned(),
        batcher,
        endpoint: Some(endpoint.to_string()),
        headers: [("x-token".to_owned(), Secret::new("hunter2".to_owned()))].into(),
        queue: crate::Queue { timeout: Duration::from_secs(5), ..Default::default() },
        ..Config::default()
    }
}

async fn export(config: &Config) -> Result<(), String> {
    Spans::new(config, &resource::of(config)).unwrap().export(batch()).await
}

fn is_whole(request: &ExportTraceServiceRequest) {
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let name = resource.attributes.iter().find(|attribute| attribute.key == semconv::SERVICE_NAME).unwrap();
    assert!(format!("{name:?}").contains("shop"));
    let spans: Vec<_> = fake::spans(request).collect();
    let [client, server] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(server.trace_id, TraceId::from_hex(TRACE).unwrap().to_bytes());
    assert_eq!(server.parent_span_id, 7_u64.to_be_bytes());
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!((server.name.as_str(), server.kind, client.kind), ("shop.Service/Buy", 2, 3));
    assert_eq!(client.status.as_ref().unwrap().code, 2);
}

#[tokio::test]
async fn otlp_over_grpc_carries_headers_resource_and_spans() {
    let (listener, address) = fake::listen().await;
    let mut received = fake::grpc(listener, Code::Ok, None);
    // As go-zero writes it, without a scheme.
    export(&config(Batcher::OtlpGrpc, address)).await.unwrap();
    let (headers, request) = received.recv().await.unwrap();
    assert_eq!(headers["x-token"], "hunter2");
    is_whole(&request);
}

#[tokio::test]
async fn otlp_over_http_carries_headers_resource_and_spans() {
    let (listener, address) = fake::listen().await;
    let mut received = fake::http(listener, StatusCode::OK);
    let config = Config { path: Some("in/traces".to_owned()), ..config(Batcher::OtlpHttp, address) };
    export(&config).await.unwrap();
    let (line, headers, body) = received.recv().await.unwrap();
    assert_eq!(line, "POST /in/traces");
    assert_eq!(headers["x-token"], "hunter2");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    is_whole(&ExportTraceServiceRequest::decode(body).unwrap());
}

#[tokio::test]
async fn an_http_collector_that_refuses_is_an_error() {
    for batcher in [Batcher::OtlpHttp, Batcher::Zipkin] {
        let (listener, address) = fake::listen().await;
        let _received = fake::http(listener, StatusCode::FORBIDDEN);
        let error = export(&config(batcher, address)).await.unwrap_err();
        assert!(error.contains("403") && !error.contains("hunter2"), "{error}");
        let (_socket, address) = fake::absent();
        assert!(export(&config(batcher, address)).await.is_err());
    }
}

#[tokio::test]
async fn zipkin_gets_its_own_json() {
    let (listener, address) = fake::listen().await;
    let mut received = fake::http(listener, StatusCode::ACCEPTED);
    export(&config(Batcher::Zipkin, address)).await.unwrap();
    let (line, headers, body) = received.recv().await.unwrap();
    assert_eq!(line, "POST /api/v2/spans");
    assert_eq!(headers["x-token"], "hunter2");
    assert_eq!(headers["content-type"], "application/json");
    let mut spans: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
    let id = spans[1]["id"].clone();
    assert!(id.as_str().is_some_and(|id| id.len() == 16));
    for span in spans.as_array_mut().unwrap() {
        let span = span.as_object_mut().unwrap();
        // Microseconds: within the last hour, and of the last hour.
        let timestamp = span.remove("timestamp").unwrap().as_u64().unwrap();
        assert!((now - 3_600_000_000..=now).contains(&timestamp));
        assert!((1..3_600_000_000).contains(&span.remove("duration").unwrap().as_u64().unwrap()));
        span.remove("id").unwrap();
    }
    assert!(spans[0]["annotations"][0]["timestamp"].take().is_u64());
    let wanted = serde_json::json!([
        {
            "traceId": TRACE, "parentId": id, "kind": "CLIENT", "name": "SELECT",
            "localEndpoint": {"serviceName": "shop"}, "remoteEndpoint": {"ipv4": "127.0.0.1"},
            "annotations": [{"timestamp": null, "value": "retried"}],
            "tags": {
                "server.address": "127.0.0.1", "server.port": "5432", "error.type": "timeout",
                "otel.status_code": "ERROR", "error": "timeout",
            },
        },
        {
            "traceId": TRACE, "parentId": "0000000000000007", "kind": "SERVER", "name": "shop.Service/Buy",
            "localEndpoint": {"serviceName": "shop"}, "annotations": [], "tags": {},
        },
    ]);
    assert_eq!(spans, wanted);
}

#[tokio::test]
async fn every_line_of_the_file_is_otlp_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans.jsonl");
    let config = config(Batcher::File, path.display());
    export(&config).await.unwrap();
    export(&config).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!((text.lines().count(), text.ends_with('\n')), (2, true));
    for line in text.lines() {
        let data: TracesData = serde_json::from_str(line).unwrap();
        is_whole(&ExportTraceServiceRequest { resource_spans: data.resource_spans });
        // As the specification writes ids, numbers and enumerations.
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!((&span["traceId"], &span["kind"]), (&TRACE.into(), &3.into()));
        assert!(span["startTimeUnixNano"].is_string());
        assert_eq!(span["attributes"][1]["value"], serde_json::json!({"intValue": "5432"}));
    }
    let missing = Config { endpoint: Some(directory.path().join("no/spans").display().to_string()), ..config };
    assert!(matches!(Spans::new(&missing, &resource::of(&missing)), Err(Error::File { .. })));
}

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// An HTTP server over TLS that answers one request.
async fn https(key: &CertifiedKey<rcgen::KeyPair>) -> std::net::SocketAddr {
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let (listener, address) = fake::listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(Arc::new(tls)).accept(stream).await else { return };
        let mut buffer = [0; 16 << 10];
        if stream.read(&mut buffer).await.is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    address
}

#[tokio::test]
async fn tls_is_spoken_to_a_certificate_that_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, key: &CertifiedKey<rcgen::KeyPair>| {
        let path = directory.path().join(name);
        std::fs::write(&path, key.cert.pem()).unwrap();
        path
    };
    let (key, other) = (certificate(), certificate());
    let (known, unknown) = (write("known.pem", &key), write("unknown.pem", &other));
    let identity = Identity::from_pem(key.cert.pem(), key.signing_key.serialize_pem());
    for (batcher, ca, works) in [
        (Batcher::OtlpGrpc, Some(known.clone()), true),
        (Batcher::OtlpGrpc, Some(unknown.clone()), false),
        (Batcher::OtlpGrpc, None, false),
        (Batcher::OtlpHttp, Some(known), true),
        (Batcher::OtlpHttp, Some(unknown), false),
        (Batcher::Zipkin, None, false),
    ] {
        let port = if batcher == Batcher::OtlpGrpc {
            let (listener, address) = fake::listen().await;
            fake::grpc(listener, Code::Ok, Some(identity.clone()));
            address.port()
        } else {
            https(&key).await.port()
        };
        let config = Config { ca, secure: true, ..config(batcher, format_args!("localhost:{port}")) };
        assert_eq!(export(&config).await.is_ok(), works, "{batcher:?} {:?}", config.ca);
    }
}

#[test]
fn what_cannot_be_sent_is_refused_at_the_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let refused = |config: Config| Spans::new(&config, &resource::of(&config)).unwrap_err().to_string();
    for (name, value) in [("bad name", "hunter2"), ("x-token", "hunter2\n")] {
        let headers = [(name.to_owned(), Secret::new(value.to_owned()))].into();
        let error = refused(Config { headers, ..config(Batcher::OtlpGrpc, "collector:4317") });
        assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
    }
    for batcher in [Batcher::OtlpGrpc, Batcher::OtlpHttp, Batcher::Zipkin] {
        let ca = Some(Path::new("/nonexistent/ca.pem").to_owned());
        let error = refused(Config { ca, ..config(batcher, "https://collector:4317") });
        assert!(error.contains("/nonexistent/ca.pem"), "{error}");
    }
}
