//! The gRPC layers, around services made for the test and around real tonic.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_sdk::trace::SpanData;
use telemetry::grpc::{ClientLayer, ServerLayer};
use telemetry::testing::{Captured, attribute, install};
use telemetry::{Span, semconv};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Server};
use tower::{Layer as _, ServiceExt as _, service_fn};

const METHOD: &str = "shop.Service/Buy";

type Frames = StreamBody<tokio_stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, tonic::Status>>>>;

fn body(frames: Vec<Result<Frame<Bytes>, tonic::Status>>) -> Frames {
    StreamBody::new(tokio_stream::iter(frames))
}

fn trailers(code: Code) -> HeaderMap {
    [("grpc-status".parse().unwrap(), (code as i32).into())].into_iter().collect()
}

/// A trace that only this test has.
fn trace() -> TraceId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    TraceId::from(0x51 << 64 | u128::from(NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn request(path: &str, trace: TraceId) -> Request<()> {
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    Request::post(path).header(semconv::TRACEPARENT, parent).body(()).unwrap()
}

/// Calls a server whose answer has these headers and frames, reads it to its end, and answers the call's span.
async fn serve(path: &str, headers: HeaderMap, frames: Vec<Result<Frame<Bytes>, tonic::Status>>) -> SpanData {
    let captured = install(1.0);
    let trace = trace();
    let inner = service_fn(async |_: Request<()>| {
        let mut response = Response::new(body(frames.clone_frames()));
        *response.headers_mut() = headers.clone();
        Ok::<_, Infallible>(response)
    });
    let response = ServerLayer::new([METHOD]).layer(inner).oneshot(request(path, trace)).await.unwrap();
    let _ = response.into_body().collect().await;
    only(captured.wait(trace, 1).await)
}

/// Frames are not `Clone`.
trait CloneFrames {
    fn clone_frames(&self) -> Self;
}

impl CloneFrames for Vec<Result<Frame<Bytes>, tonic::Status>> {
    fn clone_frames(&self) -> Self {
        let clone = |frame: &Frame<Bytes>| match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Frame::data(data.clone()),
            (_, Some(trailers)) => Frame::trailers(trailers.clone()),
            _ => unreachable!("a frame is data or trailers"),
        };
        self.iter().map(|frame| frame.as_ref().map(clone).map_err(Clone::clone)).collect()
    }
}

fn only(spans: Vec<SpanData>) -> SpanData {
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.into_iter().next().unwrap()
}

fn is_error(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

#[tokio::test]
async fn a_server_is_at_fault_for_its_own_faults_only() {
    for (code, name, fault) in [
        (Code::Ok, "OK", false),
        (Code::Cancelled, "CANCELLED", false),
        (Code::Unknown, "UNKNOWN", true),
        (Code::InvalidArgument, "INVALID_ARGUMENT", false),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", true),
        (Code::NotFound, "NOT_FOUND", false),
        (Code::AlreadyExists, "ALREADY_EXISTS", false),
        (Code::PermissionDenied, "PERMISSION_DENIED", false),
        (Code::ResourceExhausted, "RESOURCE_EXHAUSTED", false),
        (Code::FailedPrecondition, "FAILED_PRECONDITION", false),
        (Code::Aborted, "ABORTED", false),
        (Code::OutOfRange, "OUT_OF_RANGE", false),
        (Code::Unimplemented, "UNIMPLEMENTED", true),
        (Code::Internal, "INTERNAL", true),
        (Code::Unavailable, "UNAVAILABLE", true),
        (Code::DataLoss, "DATA_LOSS", true),
        (Code::Unauthenticated, "UNAUTHENTICATED", false),
    ] {
        let data = || Ok(Frame::data(Bytes::from_static(b"x")));
        // In the headers, where there is no body, and in the trailers behind one.
        let in_headers = serve("/shop.Service/Buy", trailers(code), vec![]).await;
        let in_trailers =
            serve("/shop.Service/Buy", HeaderMap::new(), vec![data(), Ok(Frame::trailers(trailers(code)))]).await;
        for span in [in_headers, in_trailers] {
            assert_eq!((span.name.as_ref(), &span.span_kind), (METHOD, &SpanKind::Server));
            assert_eq!(attribute(&span, semconv::RPC_SYSTEM_NAME), "grpc");
            assert_eq!(attribute(&span, semconv::RPC_METHOD), METHOD);
            assert_eq!(attribute(&span, semconv::RPC_RESPONSE_STATUS_CODE), name);
            assert_eq!(is_error(&span), fault, "{name}");
            assert_eq!(attribute(&span, semconv::ERROR_TYPE), if fault { name } else { "" });
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_or_ends_without_a_status_is_unknown() {
    for frames in [vec![], vec![Err(tonic::Status::internal("broken"))]] {
        let span = serve("/shop.Service/Buy", HeaderMap::new(), frames).await;
        assert_eq!(attribute(&span, semconv::RPC_RESPONSE_STATUS_CODE), "UNKNOWN");
        assert!(is_error(&span));
    }
}

#[tokio::test]
async fn names_are_not_made_up_by_callers() {
    let long = format!("/shop.Service/{}", "x".repeat(4000));
    for path in ["/shop.Service/Sell", "/", "/shop.Service/Buy/", "/shop.Service/Buy%20", "//shop.Service/Buy", &long] {
        let span = serve(path, trailers(Code::Unauthenticated), vec![]).await;
        assert_eq!(span.name, semconv::UNKNOWN_CALL, "{path}");
        assert_eq!(attribute(&span, semconv::RPC_METHOD), semconv::OTHER);
        assert!(!format!("{span:?}").contains("Sell") && !format!("{span:?}").contains("xxxx"));
    }
    let metrics = telemetry::metrics_text();
    assert!(metrics.contains(r#"rpc_method="_OTHER""#) && !metrics.contains("Sell") && !metrics.contains("xxxx"));
}

#[tokio::test]
async fn nothing_secret_is_recorded() {
    let captured = install(1.0);
    let trace = trace();
    let mut request = request("/shop.Service/Buy?token=hunter2", trace);
    request.headers_mut().insert("authorization", "Bearer hunter2".parse().unwrap());
    request.headers_mut().insert(semconv::BAGGAGE, "token=hunter2".parse().unwrap());
    let inner = service_fn(async |_: Request<()>| {
        let mut headers = trailers(Code::Internal);
        headers.insert("grpc-message", "hunter2".parse().unwrap());
        let mut response = Response::new(body(vec![]));
        *response.headers_mut() = headers;
        Ok::<_, Infallible>(response)
    });
    let response = ServerLayer::new([METHOD]).layer(inner).oneshot(request).await.unwrap();
    drop(response);
    let span = only(captured.wait(trace, 1).await);
    assert_eq!(span.name, METHOD);
    assert!(!format!("{span:?}").contains("hunter2"), "{span:?}");
}

#[tokio::test]
async fn probes_and_reflection_are_not_traced() {
    let captured = install(1.0);
    for path in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
        let trace = trace();
        let inner = service_fn(async |_: Request<()>| {
            assert_eq!(telemetry::trace_id(), None);
            Ok::<_, Infallible>(Response::new(body(vec![])))
        });
        let server = ServerLayer::new([METHOD]).layer(inner);
        ClientLayer::new("user.rpc").layer(server).oneshot(request(path, trace)).await.unwrap();
        assert_eq!(captured.trace(trace).len(), 0);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled() {
    let captured = install(1.0);
    // Before there is an answer.
    let first = trace();
    let inner = service_fn(async |_: Request<()>| pending::<Result<Response<Frames>, Infallible>>().await);
    let mut call = Box::pin(ServerLayer::new(["shop.Drop/One"]).layer(inner).oneshot(request("/shop.Drop/One", first)));
    assert!(is_pending(&mut call).await);
    drop(call);
    // In the middle of it.
    let second = trace();
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(body(vec![Ok(Frame::data(Bytes::from_static(b"x")))])))
    });
    let layer = ClientLayer::new("user.rpc");
    let root = Span::start_under(&telemetry::extract(request("/", second).headers()), SpanKind::Internal, "root");
    let response = root.run(layer.layer(inner).oneshot(request("/shop.Drop/One", second))).await.unwrap();
    let mut unread = response.into_body();
    unread.frame().await.unwrap().unwrap();
    drop(unread);
    drop(root);
    // A caller who leaves is not the server's error.
    for (trace, count, error) in [(first, 1, ""), (second, 2, "CANCELLED")] {
        let span = captured.wait(trace, count).await.into_iter().find(|span| span.name == "shop.Drop/One").unwrap();
        assert_eq!(attribute(&span, semconv::RPC_RESPONSE_STATUS_CODE), "CANCELLED");
        assert_eq!(attribute(&span, semconv::ERROR_TYPE), error);
        assert_eq!(is_error(&span), !error.is_empty());
    }
    let metrics = telemetry::metrics_text();
    for metric in ["rpc_server_call_duration_seconds_count", "rpc_client_call_duration_seconds_count"] {
        assert_eq!(value(&metrics, metric, r#"rpc_method="shop.Drop/One""#), "1", "{metrics}");
    }
    for metric in ["mall_rpc_server_active_calls", "mall_rpc_client_active_calls"] {
        assert_eq!(value(&metrics, metric, r#"rpc_method="shop.Drop/One""#), "0", "{metrics}");
    }
}

/// Polls once.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|poller| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(poller).is_pending()))
        .await
}

/// The value of the one line of a metric with a label.
fn value<'a>(metrics: &'a str, metric: &str, label: &str) -> &'a str {
    let line =
        |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{')) && line.contains(label);
    metrics.lines().find(line).and_then(|line| line.rsplit(' ').next()).unwrap_or_default()
}

#[tokio::test]
async fn the_conventions_buckets_are_used() {
    serve("/shop.Service/Buy", trailers(Code::Ok), vec![]).await;
    let metrics = telemetry::metrics_text();
    let bucket = |le: &str| {
        let wanted = [r#"rpc_method="shop.Service/Buy""#, r#"rpc_response_status_code="OK""#, &format!(r#"le="{le}""#)];
        let line = |line: &str| {
            line.starts_with("rpc_server_call_duration_seconds_bucket{")
                && wanted.iter().all(|part| line.contains(part))
        };
        metrics.lines().any(line)
    };
    let telemetry::metric::Kind::Histogram(boundaries) = telemetry::metric::RPC_SERVER_CALL_DURATION.kind else {
        panic!()
    };
    for boundary in boundaries {
        assert!(bucket(&boundary.to_string()), "{boundary}: {metrics}");
    }
    assert!(!bucket("15"));
}

#[tokio::test]
async fn an_unsampled_caller_stays_unsampled_and_a_malformed_one_is_ignored() {
    let captured = install(1.0);
    let unsampled = trace();
    let seen = service_fn(async |_: Request<()>| {
        assert_eq!(telemetry::baggage("tenant").as_deref(), Some("blue sky"));
        // The next service is told the same.
        let inner = service_fn(async |request: Request<()>| {
            assert_eq!(request.headers()[semconv::BAGGAGE], "tenant=blue%20sky");
            Ok::<_, Infallible>(Response::new(body(vec![Ok(Frame::trailers(trailers(Code::Ok)))])))
        });
        let sent = ClientLayer::new("user.rpc").layer(inner).oneshot(Request::post("/shop.Next/Go").body(()).unwrap());
        sent.await.unwrap().into_body().collect().await.unwrap();
        let id = telemetry::trace_id().unwrap().to_string();
        let mut response = Response::new(body(vec![Ok(Frame::trailers(trailers(Code::Ok)))]));
        response.headers_mut().insert("x-seen", id.parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let server = ServerLayer::new([METHOD]).layer(seen);
    let send = async |parent: String| {
        let request = Request::post("/shop.Service/Buy")
            .header(semconv::TRACEPARENT, parent)
            .header(semconv::BAGGAGE, "tenant=blue%20sky")
            .body(())
            .unwrap();
        let response = server.clone().oneshot(request).await.unwrap();
        let seen = response.headers()["x-seen"].to_str().unwrap().to_owned();
        response.into_body().collect().await.unwrap();
        TraceId::from_hex(&seen).unwrap()
    };
    assert_eq!(send(format!("00-{unsampled}-00f067aa0ba902b7-00")).await, unsampled);
    let malformed = trace();
    let new = send(format!("00-{malformed}-00f067aa0ba902b7-1")).await;
    assert_ne!(new, malformed);
    let spans = captured.wait(new, 2).await;
    assert_eq!(spans.iter().filter(|span| span.parent_span_id == SpanId::INVALID).count(), 1);
    assert_eq!(captured.trace(unsampled).len(), 0);
}

#[derive(Clone)]
struct Sink;

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        match request.metadata().get("x-fail") {
            Some(_) => Err(tonic::Status::not_found("no such thing")),
            None => Ok(tonic::Response::new(ExportTraceServiceResponse::default())),
        }
    }
}

const EXPORT: &str = "opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A call through both layers and real tonic: the trace's spans, root last.
async fn call(captured: &Captured, fail: bool) -> Vec<SpanData> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().layer(ServerLayer::new([EXPORT])).add_service(TraceServiceServer::new(Sink));
    let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let target = format!("http://{address}");
    let channel = Channel::from_shared(target.clone()).unwrap().connect_lazy();
    let channel = channel.map_err(|error| tonic::Status::from_error(error.into()));
    let mut client = TraceServiceClient::new(ClientLayer::new(&target).layer(channel));
    let mut request = tonic::Request::new(ExportTraceServiceRequest::default());
    if fail {
        request.metadata_mut().insert("x-fail", "1".parse().unwrap());
    }
    let root = Span::start(SpanKind::Internal, "root");
    let id = root.span_context().trace_id();
    assert_eq!(root.run(client.export(request)).await.is_err(), fail);
    drop(root);
    let mut spans = captured.wait(id, 3).await;
    server.abort();
    spans.sort_by_key(|span| {
        ["Server", "Client"].iter().position(|kind| format!("{:?}", span.span_kind) == *kind).unwrap_or(2)
    });
    let port = address.port().to_string();
    for span in &spans[..2] {
        assert_eq!(span.name, EXPORT);
        assert_eq!(attribute(span, semconv::SERVER_ADDRESS), "127.0.0.1");
        assert_eq!(attribute(span, semconv::SERVER_PORT), port);
    }
    assert_eq!(attribute(&spans[0], semconv::NETWORK_PEER_ADDRESS), "127.0.0.1");
    spans
}

#[tokio::test]
async fn client_and_server_over_tonic_make_one_trace() {
    let captured = install(1.0);
    let spans = call(&captured, false).await;
    let [server, client, root] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(server.parent_span_id, client.span_context.span_id());
    assert_eq!(client.parent_span_id, root.span_context.span_id());
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    assert!(server.parent_span_is_remote && !client.parent_span_is_remote);
    assert!(root.start_time <= client.start_time && client.start_time <= server.start_time);
    assert!(client.end_time <= root.end_time);
    assert!(spans.iter().all(|span| span.status == Status::Unset));
}

#[tokio::test]
async fn any_failure_is_an_error_of_the_client() {
    let captured = install(1.0);
    let spans = call(&captured, true).await;
    assert_eq!(attribute(&spans[0], semconv::RPC_RESPONSE_STATUS_CODE), "NOT_FOUND");
    assert_eq!(attribute(&spans[1], semconv::RPC_RESPONSE_STATUS_CODE), "NOT_FOUND");
    assert_eq!((is_error(&spans[0]), is_error(&spans[1])), (false, true));
    assert_eq!(attribute(&spans[1], semconv::ERROR_TYPE), "NOT_FOUND");
}

#[tokio::test]
async fn an_answer_without_body_is_passed_through_as_it_is() {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(http_body_util::Full::new(Bytes::from_static(b"four"))))
    });
    let response =
        ServerLayer::new([METHOD]).layer(inner).oneshot(request("/shop.Service/Buy", trace())).await.unwrap();
    let mut body = response.into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(4), false));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "four");
    assert!(body.is_end_stream());
}
