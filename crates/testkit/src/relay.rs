//! Something between a service and the collector that passes spans on, late or not at all.

use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

/// What becomes of a batch of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It is passed on, and the answer is the collector's.
    Willing,
    /// The same, after a time.
    Slow(Duration),
    /// UNAVAILABLE, and the collector never hears of it.
    Unwilling,
}

/// A running relay; it goes when this is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    task: AbortHandle,
}

impl Relay {
    /// Starts one on a free port, which passes on to the collector at this URL.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub async fn start(collector: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a free port");
        let address = listener.local_addr().expect("the port that was bound");
        let channel = Endpoint::from_shared(collector.to_owned()).expect("a URL").connect_lazy();
        let (mood, now) = watch::channel(Mood::Willing);
        let passing = Passing { collector: TraceServiceClient::new(channel), mood: now };
        let router = Server::builder().add_service(TraceServiceServer::new(passing));
        let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
        Self { address, mood, task: tokio::spawn(serving).abort_handle() }
    }

    /// Where it takes OTLP over gRPC.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What becomes of the batches that come from now on.
    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Passing {
    collector: TraceServiceClient<Channel>,
    mood: watch::Receiver<Mood>,
}

#[tonic::async_trait]
impl TraceService for Passing {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Willing => {}
            Mood::Slow(time) => tokio::time::sleep(time).await,
            Mood::Unwilling => return Err(Status::unavailable("not now")),
        }
        self.collector.clone().export(Request::new(request.into_inner())).await
    }
}
