//! Collectors for tests, on real sockets: present, refusing, hanging, absent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};

/// What a collector was sent: the headers and the spans.
pub(crate) type Received = UnboundedReceiver<(HeaderMap, ExportTraceServiceRequest)>;

struct Collector {
    answer: Code,
    /// The spans of every request that it says it rejects.
    rejects: i64,
    received: UnboundedSender<(HeaderMap, ExportTraceServiceRequest)>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, spans) = request.into_parts();
        // Not every test looks.
        let _ = self.received.send((metadata.into_headers(), spans));
        if self.answer == Code::Ok {
            let partial = ExportTracePartialSuccess { rejected_spans: self.rejects, ..Default::default() };
            Ok(Response::new(ExportTraceServiceResponse { partial_success: (self.rejects > 0).then_some(partial) }))
        } else {
            Err(Status::new(self.answer, "the collector's own words"))
        }
    }
}

/// An OTLP collector over gRPC that gives every export this answer.
pub(crate) fn grpc(listener: TcpListener, answer: Code, identity: Option<Identity>) -> Received {
    collector(listener, answer, 0, identity)
}

/// One that takes every request, but so many spans of it.
pub(crate) fn rejecting(listener: TcpListener, rejects: i64) -> Received {
    collector(listener, Code::Ok, rejects, None)
}

fn collector(listener: TcpListener, answer: Code, rejects: i64, identity: Option<Identity>) -> Received {
    let (received, receiver) = unbounded_channel();
    let mut server = Server::builder();
    if let Some(identity) = identity {
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
    }
    let service = TraceServiceServer::new(Collector { answer, rejects, received });
    let router = server.add_service(service.accept_compressed(CompressionEncoding::Gzip));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    receiver
}

/// An HTTP server that gives every request this answer.
pub(crate) fn http(listener: TcpListener, answer: StatusCode) -> UnboundedReceiver<(String, HeaderMap, Bytes)> {
    http_in_turn(listener, &[], (answer, Bytes::new()))
}

/// One that refuses the first requests by these statuses, and gives all others an answer.
pub(crate) fn http_in_turn(
    listener: TcpListener,
    first: &[StatusCode],
    answer: (StatusCode, Bytes),
) -> UnboundedReceiver<(String, HeaderMap, Bytes)> {
    let (received, receiver) = unbounded_channel();
    let first = Arc::new(Mutex::new(VecDeque::from(first.to_vec())));
    let app = axum::Router::new().fallback(async move |request: axum::extract::Request| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let _ = received.send((format!("{} {}", head.method, head.uri), head.headers, body));
        let refused = first.lock().unwrap().pop_front();
        refused.map(|status| (status, Bytes::new())).unwrap_or(answer)
    });
    tokio::spawn(async { axum::serve(listener, app).await });
    receiver
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that is taken, but where nobody listens until [`TcpSocket::listen`].
pub(crate) fn absent() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// All spans of a request.
pub(crate) fn spans(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    request.resource_spans.iter().flat_map(|spans| &spans.scope_spans).flat_map(|spans| &spans.spans)
}
