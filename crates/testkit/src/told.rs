//! A service that does what a test tells it.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use proto::user::v1::user_service_server::UserService;
use proto::user::v1::*;
use tonic::{Request, Response, Status};

type Behaviour = Arc<dyn Fn(Option<IpAddr>) -> Pin<Box<dyn Future<Output = Result<(), Status>> + Send>> + Send + Sync>;

/// A service whose `UserInfo`, which has no side effects, and whose `Register`, which must not be called twice, are the test's;
/// the rest is not there.
#[derive(Clone)]
pub struct Told(Behaviour);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

impl Told {
    /// It does this with each call, knowing the address of who calls.
    pub fn new<F>(behaviour: impl Fn(Option<IpAddr>) -> F + Send + Sync + 'static) -> Self
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
