//! Two clients that ask who they are, one over REST and one over gRPC, each as an ordinary client of its protocol does.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use proto::user::v1::UserInfoRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use testkit::process::Mall;
use testkit::shopper::Shopper;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{self, StdError};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};

use crate::system;

/// Connections at one time where the throughput counts.
pub(crate) const CONNECTIONS: usize = 16;

/// A client with a connection of its own, which its clones share.
pub(crate) trait Call: Clone + Send + 'static {
    /// Asks who the user is; any other answer is an error.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

#[derive(Clone)]
pub(crate) struct Rest {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    authorization: HeaderValue,
}

impl Rest {
    pub(crate) fn new(mall: &Mall, shopper: &Shopper) -> anyhow::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            uri: format!("{}/api/user/userinfo", mall.url("user.api")).parse()?,
            authorization: format!("Bearer {}", shopper.token).parse()?,
        })
    }

    pub(crate) fn many(mall: &Mall, shopper: &Shopper) -> anyhow::Result<Vec<Self>> {
        (0..CONNECTIONS).map(|_| Self::new(mall, shopper)).collect()
    }
}

impl Call for Rest {
    async fn call(&mut self) -> anyhow::Result<()> {
        let request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::AUTHORIZATION, self.authorization.clone())
            .body(Full::new(Bytes::from_static(b"{}")))?;
        let (head, body) = self.client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(head.status == StatusCode::OK, "{}: {}", head.status, String::from_utf8_lossy(&body));
        Ok(())
    }
}

/// By tonic's own channel, or by the one that services have.
#[derive(Clone)]
pub(crate) struct Grpc<T = Channel> {
    client: UserServiceClient<T>,
    authorization: AsciiMetadataValue,
}

impl Grpc {
    pub(crate) fn new(mall: &Mall, shopper: &Shopper) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(mall.url("user.rpc"))?.connect_lazy();
        Self::by(UserServiceClient::new(channel), &shopper.token)
    }

    pub(crate) fn many(mall: &Mall, shopper: &Shopper) -> anyhow::Result<Vec<Self>> {
        (0..CONNECTIONS).map(|_| Self::new(mall, shopper)).collect()
    }

    /// As many of any server.
    pub(crate) fn at(url: &str, token: &str) -> anyhow::Result<Vec<Self>> {
        let channel = || anyhow::Ok(Endpoint::from_shared(url.to_owned())?.connect_lazy());
        (0..CONNECTIONS).map(|_| Self::by(UserServiceClient::new(channel()?), token)).collect()
    }
}

impl Grpc<rpc::Channel> {
    pub(crate) fn balanced(mall: &Mall, shopper: &Shopper) -> anyhow::Result<Vec<Self>> {
        let target = mall.address("user.rpc", "listen").into();
        let config = rpc::client::Config { target, ..Default::default() };
        let client = || UserServiceClient::new(rpc::client::connect(&config).expect("a channel"));
        (0..CONNECTIONS).map(|_| Self::by(client(), &shopper.token)).collect()
    }
}

impl<T> Grpc<T> {
    fn by(client: UserServiceClient<T>, token: &str) -> anyhow::Result<Self> {
        Ok(Self { client, authorization: format!("Bearer {token}").parse()? })
    }
}

impl<T> Call for Grpc<T>
where
    T: GrpcService<Body, Error: Into<StdError>, Future: Send> + Clone + Send + 'static,
    T::ResponseBody: codegen::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    async fn call(&mut self) -> anyhow::Result<()> {
        let mut request = tonic::Request::new(UserInfoRequest {});
        request.metadata_mut().insert("authorization", self.authorization.clone());
        self.client.user_info(request).await?;
        Ok(())
    }
}

/// How a round of calls went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) calls: f64,
    pub(crate) per_second: f64,
    /// The share of one core that the client took: at 1, it is the client that is measured.
    pub(crate) client: f64,
    /// The median time of a call, in milliseconds.
    pub(crate) p50: f64,
    /// The time that 99 of 100 calls did not exceed, in milliseconds.
    pub(crate) p99: f64,
}

/// Every client calls again and again, for as long as is said.
pub(crate) async fn load<C: Call>(clients: &[C], time: Duration) -> anyhow::Result<Load> {
    let cpu = system::cpu(std::process::id())?;
    let start = Instant::now();
    let calling = clients.iter().cloned().map(|mut client| async move {
        let mut times = Vec::new();
        while start.elapsed() < time {
            let start = Instant::now();
            client.call().await?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(times)
    });
    let mut tasks: JoinSet<_> = calling.collect();
    let mut times = Vec::new();
    while let Some(called) = tasks.join_next().await {
        times.extend(called??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu = system::cpu(std::process::id())? - cpu;
    #[expect(clippy::cast_precision_loss, reason = "a number of calls is small")]
    let calls = times.len() as f64;
    let (client, p50) = (cpu.as_secs_f64() / seconds, crate::median(times.iter().copied()));
    Ok(Load { calls, per_second: calls / seconds, client, p50, p99: crate::p99(times) })
}

/// The median time of one call in microseconds, with one client.
pub(crate) async fn latency<C: Call>(client: &mut C, calls: usize) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        client.call().await?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(crate::median(times))
}
