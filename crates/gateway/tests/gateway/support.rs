//! A gRPC service that does as it is told, a gateway in front of it, and a client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::{Api, Config, Gateway};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use proto::user::v1::user_service_server::{UserService, UserServiceServer};
use proto::user::v1::*;
use rpc::lifecycle::Lifecycle;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::{Response, Status};

/// What a stub has seen and how it is released.
#[derive(Clone, Default)]
pub(crate) struct Stub {
    /// The metadata of every call.
    pub(crate) seen: Arc<Mutex<Vec<MetadataMap>>>,
    /// A call that waits gives notice with this ..
    pub(crate) waiting: Arc<Notify>,
    /// .. answers when it gets a permit of this ..
    pub(crate) gate: Arc<Gate>,
    /// .. and gives notice with this when it is dropped before.
    pub(crate) dropped: Arc<Notify>,
    /// What logging in answers.
    pub(crate) refusal: Arc<Mutex<Option<Status>>>,
}

pub(crate) struct Gate(pub(crate) Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tonic::async_trait]
impl UserService for Stub {
    /// Answers what it was given.
    async fn register(&self, request: tonic::Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        self.seen.lock().unwrap().push(request.metadata().clone());
        let RegisterRequest { name, gender, mobile, .. } = request.into_inner();
        Ok(Response::new(RegisterResponse { id: i64::MAX, name, gender, mobile }))
    }

    async fn login(&self, request: tonic::Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        self.seen.lock().unwrap().push(request.metadata().clone());
        match self.refusal.lock().unwrap().clone() {
            Some(status) => Err(status),
            None => Ok(Response::new(LoginResponse { access_token: "token".to_owned(), access_expire: 1 })),
        }
    }

    async fn user_info(&self, request: tonic::Request<UserInfoRequest>) -> Result<Response<UserInfoResponse>, Status> {
        self.seen.lock().unwrap().push(request.metadata().clone());
        let answer = UserInfoResponse { id: 7, name: "Ann".to_owned(), gender: 0, mobile: String::new() };
        let mut response = Response::new(answer);
        response.metadata_mut().insert("x-secret", "inside".parse().unwrap());
        response.metadata_mut().insert("set-cookie", "a=b".parse().unwrap());
        Ok(response)
    }

    /// Waits at the gate.
    async fn change_password(
        &self,
        _: tonic::Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let guard = NotifyOnDrop(Arc::clone(&self.dropped));
        self.waiting.notify_one();
        self.gate.0.acquire().await.unwrap().forget();
        std::mem::forget(guard);
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn update_profile(
        &self,
        request: tonic::Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        let UpdateProfileRequest { name, gender } = request.into_inner();
        let (name, gender) = (name.unwrap_or_default(), gender.unwrap_or_default());
        Ok(Response::new(UpdateProfileResponse { id: 7, name, gender, mobile: String::new() }))
    }
}

impl Stub {
    /// The metadata of the newest call.
    pub(crate) fn last(&self) -> MetadataMap {
        self.seen.lock().unwrap().last().cloned().unwrap()
    }

    pub(crate) fn serve(&self, listener: TcpListener) -> Task<()> {
        let service = UserServiceServer::new(self.clone());
        let layer = telemetry::grpc::ServerLayer::new(["mall.user.v1.UserService/UserInfo".to_owned()]);
        let router = tonic::transport::Server::builder().layer(layer).add_service(service);
        Task(tokio::spawn(async move { router.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() }))
    }
}

/// A task that ends with this.
pub(crate) struct Task<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A gateway, its upstream and a client.
pub(crate) struct Running {
    pub(crate) stub: Stub,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) gateway: Task<Result<(), gateway::Error>>,
    pub(crate) client: Client<HttpConnector, Full<Bytes>>,
    upstream: Option<Task<()>>,
}

pub(crate) async fn start() -> Running {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stub = Stub::default();
    let target = listener.local_addr().unwrap();
    let upstream = stub.serve(listener);
    let mut running = start_without_upstream(target, change).await;
    running.stub = stub;
    running.upstream = Some(upstream);
    running
}

pub(crate) async fn start_without_upstream(target: SocketAddr, change: impl FnOnce(&mut Config)) -> Running {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config { listen: any, admin: any, ..Config::default() };
    config.upstream.target = target.into();
    change(&mut config);
    let lifecycle = Lifecycle::new();
    let gateway = Gateway::bind(Api::User, config, lifecycle.clone()).await.unwrap();
    let (address, admin) = (gateway.address().unwrap(), gateway.admin_address());
    let gateway = Task(tokio::spawn(gateway.serve()));
    let client = Client::builder(TokioExecutor::new()).build_http();
    Running { stub: Stub::default(), address, admin, lifecycle, gateway, client, upstream: None }
}

/// A port that refuses connections and stays ours until it listens.
pub(crate) fn refusing() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Checks that this is a refusal as all are.
    pub(crate) fn refused(&self, status: u16, code: i32) -> Value {
        let json = self.json();
        assert_eq!((self.status.as_u16(), &json["code"]), (status, &code.into()), "{json}");
        assert_eq!(self.header("content-type"), "application/json");
        assert!(json["message"].as_str().is_some_and(|message| !message.is_empty()), "{json}");
        json
    }
}

impl Running {
    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call("POST", path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let (parts, body) = self.client.request(request).await?.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// Fails a test that waits for what does not come.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it comes within 10 s")
}
