//! A service that does what a test tells it, the server around it, and its client.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::user_service_server::{UserService, UserServiceServer};
use proto::user::v1::*;
use rpc::Lifecycle;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

type Behaviour = Arc<dyn Fn(Option<IpAddr>) -> Pin<Box<dyn Future<Output = Result<(), Status>> + Send>> + Send + Sync>;

/// A service whose `UserInfo`, which has no side effects, and whose `Register`, which must not be called twice, are the test's;
/// the rest is not there.
#[derive(Clone)]
pub(crate) struct Told(Behaviour);

impl Told {
    /// It does this with each call, knowing the address of who calls.
    pub(crate) fn new<F>(behaviour: impl Fn(Option<IpAddr>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        Self(Arc::new(move |client| Box::pin(behaviour(client))))
    }
}

#[tonic::async_trait]
impl UserService for Told {
    async fn user_info(&self, request: Request<UserInfoRequest>) -> Result<Response<UserInfoResponse>, Status> {
        (self.0)(rpc::client_address(&request)).await?;
        Ok(Response::new(UserInfoResponse::default()))
    }
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        (self.0)(rpc::client_address(&request)).await?;
        Ok(Response::new(RegisterResponse::default()))
    }
    async fn login(&self, _: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn change_password(
        &self,
        _: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn update_profile(
        &self,
        _: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

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
