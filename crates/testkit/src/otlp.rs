//! An OTLP collector over gRPC that keeps whatever it is sent, of all three signals.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Everything that was sent so far.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Spans, in the order in which they came.
    pub spans: Vec<ResourceSpans>,
    /// Log records.
    pub logs: Vec<ResourceLogs>,
    /// Metrics, each time that they were pushed.
    pub metrics: Vec<ResourceMetrics>,
}

/// A running collector; it goes when this is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    received: Keeper,
    task: AbortHandle,
}

impl Sink {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::with(Keeper::default()).await
    }

    /// Starts one that keeps nothing: it takes a benchmark's spans.
    pub async fn discarding() -> Self {
        Self::with(Keeper { discards: true, ..Keeper::default() }).await
    }

    async fn with(received: Keeper) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a free port");
        let address = listener.local_addr().expect("the port that was bound");
        let router = Server::builder()
            .add_service(TraceServiceServer::new(received.clone()))
            .add_service(LogsServiceServer::new(received.clone()))
            .add_service(MetricsServiceServer::new(received.clone()));
        let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
        Self { address, received, task: tokio::spawn(serving).abort_handle() }
    }

    /// Where it takes OTLP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A copy of what it has.
    pub fn received(&self) -> Received {
        self.received.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Debug, Default)]
struct Keeper {
    all: Arc<Mutex<Received>>,
    discards: bool,
}

impl Keeper {
    fn keep(&self, keep: impl FnOnce(&mut Received)) {
        if !self.discards {
            keep(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.keep(|received| received.spans.extend(request.into_inner().resource_spans));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Keeper {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.keep(|received| received.logs.extend(request.into_inner().resource_logs));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Keeper {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.keep(|received| received.metrics.extend(request.into_inner().resource_metrics));
        Ok(Response::new(Default::default()))
    }
}
