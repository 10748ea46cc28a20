//! The server around a service that does what a test tells it, and its client.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::user_service_server::UserServiceServer;
use rpc::Lifecycle;
pub(crate) use testkit::Told;
use tokio::task::JoinHandle;
use tonic::Status;

/// A server at work.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) served: JoinHandle<Result<(), rpc::Error>>,
}

/// A server's, on free ports.
pub(crate) fn config() -> rpc::server::Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    rpc::server::Config { listen: any, admin: any, ..Default::default() }
}

/// A server that does this with each call.
pub(crate) async fn start<F>(config: rpc::server::Config, behaviour: impl Fn() -> F + Send + Sync + 'static) -> Running
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    start_told(config, Told::new(move |_| behaviour())).await
}

pub(crate) async fn start_told(config: rpc::server::Config, told: Told) -> Running {
    let lifecycle = Lifecycle::new();
    let server = rpc::Server::bind(config, lifecycle.clone()).await.unwrap();
    let (address, admin) = (server.address().unwrap(), server.admin_address());
    let service = |most| UserServiceServer::new(told).max_decoding_message_size(most);
    let served = tokio::spawn(server.serve(service));
    Running { address, admin, lifecycle, served }
}

impl Running {
    pub(crate) fn client(&self) -> UserServiceClient<rpc::Channel> {
        client(self.address, Duration::from_secs(20))
    }
}

pub(crate) fn client(address: SocketAddr, timeout: Duration) -> UserServiceClient<rpc::Channel> {
    let config = rpc::client::Config { target: address.into(), timeout, ..Default::default() };
    UserServiceClient::new(rpc::client::connect(&config).unwrap())
}
