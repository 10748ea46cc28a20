//! What the exporters put on the wire, against real sockets and files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;
use opentelemetry::trace::{Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::trace::{TraceFlags, TraceId, TraceState, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
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

async fn export(config: &Config) -> Result<u64, String> {
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

/// Spans with something in every field, and with nothing in most.
fn of_every_kind() -> Vec<SpanData> {
    let captured = Captured::default();
    let provider = SdkTracerProvider::builder().with_span_processor(captured.clone()).build();
    let scope = opentelemetry::InstrumentationScope::builder("mall")
        .with_version("1.2.3")
        .with_schema_url("https://example/schema")
        .with_attributes([KeyValue::new("scope", "attribute")]);
    let (tracer, other) = (provider.tracer_with_scope(scope.build()), provider.tracer("other"));
    let state = TraceState::from_key_value([("congo", "t61rcWkgMzE"), ("rojo", "1")]).unwrap();
    let remote = SpanContext::new(TraceId::from(u128::MAX), SpanId::from(7), TraceFlags::SAMPLED, true, state);
    let link = opentelemetry::trace::Link::new(remote.clone(), vec![KeyValue::new("why", "began")], 3);
    let (root, parent) = (Context::new(), Context::new().with_remote_span_context(remote));
    let strings = opentelemetry::Array::String(vec!["a".into(), String::new().into()]);
    let values: Vec<opentelemetry::Value> = vec![
        "".into(),
        "x".repeat(127).into(),
        "y".repeat(128).into(),
        "\u{e9}\u{1f600}".repeat(20_000).into(),
        false.into(),
        true.into(),
        0.into(),
        (-1).into(),
        i64::MIN.into(),
        i64::MAX.into(),
        0.0.into(),
        (-2.5e-300).into(),
        opentelemetry::Value::Array(strings),
        opentelemetry::Value::Array(opentelemetry::Array::I64(vec![0, -7, 300])),
        opentelemetry::Value::Array(opentelemetry::Array::Bool(Vec::new())),
        opentelemetry::Value::Array(opentelemetry::Array::F64(vec![1.5])),
    ];
    let kinds = [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    for (number, kind) in kinds.into_iter().enumerate() {
        let tracer = if number == 2 { &other } else { &tracer };
        let builder =
            tracer.span_builder("w".repeat(number * 60)).with_kind(kind).with_links(vec![link.clone(); number]);
        let mut span = builder.start_with_context(tracer, if number == 0 { &root } else { &parent });
        for (key, value) in values.iter().enumerate() {
            span.set_attribute(KeyValue::new(format!("key.{key}"), value.clone()));
        }
        // More than are kept.
        (0..number * 100).for_each(|event| span.add_event(format!("event {event}"), vec![KeyValue::new("n", 1)]));
        span.set_status([Status::Unset, Status::Ok, Status::error("why")][number % 3].clone());
        span.end();
        // And one with nothing.
        tracer.start("").end();
    }
    captured.spans()
}

#[test]
fn what_is_encoded_is_what_opentelemetry_would_send() {
    use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
    let resource = resource::of(&config(Batcher::OtlpGrpc, "x:1"));
    for batch in [Vec::new(), batch(), of_every_kind()] {
        let encoded = encode::Encoder::new(&resource).encode(&batch);
        let mut sent = ExportTraceServiceRequest::decode(encoded).unwrap();
        let mut wanted =
            ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(batch, &(&resource).into()) };
        for request in [&mut sent, &mut wanted] {
            let [spans] = request.resource_spans.as_mut_slice() else { panic!("{request:?}") };
            spans.resource.as_mut().unwrap().attributes.sort_by(|one, other| one.key.cmp(&other.key));
            // Theirs has one group for each scope, ours one whenever the scope changes.
            let all: Vec<_> = std::mem::take(&mut spans.scope_spans);
            for group in all {
                let same = |other: &&mut opentelemetry_proto::tonic::trace::v1::ScopeSpans| {
                    (&other.scope, &other.schema_url) == (&group.scope, &group.schema_url)
                };
                match spans.scope_spans.iter_mut().find(same) {
                    Some(other) => other.spans.extend(group.spans),
                    None => spans.scope_spans.push(group),
                }
            }
        }
        assert_eq!(sent, wanted);
    }
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
async fn what_may_pass_is_tried_again_and_what_is_rejected_is_told() {
    let (listener, address) = fake::listen().await;
    let refusals = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".to_owned() };
    let taken = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let mut received = fake::http_in_turn(listener, &refusals, (StatusCode::OK, taken.into()));
    assert_eq!(export(&config(Batcher::OtlpHttp, address)).await, Ok(1));
    for _ in 0..=refusals.len() {
        is_whole(&ExportTraceServiceRequest::decode(received.recv().await.unwrap().2).unwrap());
    }
    assert!(received.try_recv().is_err(), "it is sent no more often than that");
    // What cannot pass is sent once, and what may pass four times.
    for (code, times) in [(Code::PermissionDenied, 1), (Code::ResourceExhausted, 1), (Code::Unavailable, 4)] {
        let (listener, address) = fake::listen().await;
        let mut received = fake::grpc(listener, code, None);
        export(&config(Batcher::OtlpGrpc, address)).await.unwrap_err();
        assert_eq!(std::iter::from_fn(|| received.try_recv().ok()).count(), times, "{code:?}");
    }
}

#[tokio::test]
async fn what_is_sent_may_be_compressed() {
    use std::io::Read as _;
    let (listener, address) = fake::listen().await;
    let mut received = fake::grpc(listener, Code::Ok, None);
    export(&Config { gzip: true, ..config(Batcher::OtlpGrpc, address) }).await.unwrap();
    let (headers, request) = received.recv().await.unwrap();
    assert_eq!(headers["grpc-encoding"], "gzip");
    is_whole(&request);
    let (listener, address) = fake::listen().await;
    let mut received = fake::http(listener, StatusCode::OK);
    export(&Config { gzip: true, ..config(Batcher::OtlpHttp, address) }).await.unwrap();
    let (_, headers, body) = received.recv().await.unwrap();
    assert_eq!(headers["content-encoding"], "gzip");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
    is_whole(&ExportTraceServiceRequest::decode(&*plain).unwrap());
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
