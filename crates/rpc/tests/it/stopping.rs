//! The end of a server that real clients call without pause: none of them loses a call that was taken.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use proto::user::v1::UserInfoRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use rpc::lifecycle::{Lifecycle, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::Service;

/// A service that counts the calls it takes, and answers nothing to each.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl NamedService for Counting {
    const NAME: &'static str = "mall.user.v1.UserService";
}

impl Service<Request<Body>> for Counting {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.0.fetch_add(1, Ordering::SeqCst);
        let message = http_body_util::Full::from(&[0; 5][..]);
        let answer = Response::builder().header("content-type", "application/grpc").header("grpc-status", "0");
        ready(Ok(answer.body(Body::new(message)).unwrap()))
    }
}

struct Running {
    address: SocketAddr,
    admin: SocketAddr,
    lifecycle: Lifecycle,
    taken: Arc<AtomicUsize>,
    served: JoinHandle<Result<(), rpc::Error>>,
}

async fn start(lame_duck: Duration) -> Running {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = rpc::server::Config { listen: any, admin: any, lame_duck, ..Default::default() };
    let lifecycle = Lifecycle::new();
    let server = rpc::Server::bind(config, lifecycle.clone()).await.unwrap();
    let (address, admin) = (server.address().unwrap(), server.admin_address());
    let service = Counting::default();
    let taken = service.0.clone();
    let served = tokio::spawn(server.serve(|_| service));
    Running { address, admin, lifecycle, taken, served }
}

impl Running {
    fn channel(&self) -> rpc::Channel {
        let target = self.address.into();
        rpc::client::connect(&rpc::client::Config { target, timeout: Duration::from_secs(20), ..Default::default() })
            .unwrap()
    }

    async fn readiness(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn a_lame_duck_is_not_ready_and_takes_calls() {
    let server = start(Duration::from_secs(2)).await;
    let mut client = UserServiceClient::new(server.channel());
    client.user_info(UserInfoRequest {}).await.unwrap();
    let mut health =
        HealthClient::new(server.channel()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    while health.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}

    server.lifecycle.stop();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let ready = server.readiness().await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("stopping\n"), "{ready}");
    client.user_info(UserInfoRequest {}).await.expect("a connection that was there is served");
    UserServiceClient::new(server.channel()).user_info(UserInfoRequest {}).await.expect("so is a new one");
    assert_eq!(server.lifecycle.state(), State::LameDuck);

    server.served.await.unwrap().unwrap();
    assert_eq!(client.user_info(UserInfoRequest {}).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_that_was_taken_fails_under_load() {
    for lame_duck in [Duration::ZERO, Duration::from_millis(500)] {
        let server = start(lame_duck).await;
        let answered = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..8)
            .map(|_| tokio::spawn(call_until_closed(server.channel(), server.lifecycle.clone(), answered.clone())))
            .collect();
        while answered.load(Ordering::SeqCst) < 200 {
            tokio::task::yield_now().await;
        }
        server.lifecycle.stop();
        server.served.await.unwrap().unwrap();
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!(server.taken.load(Ordering::SeqCst), answered.load(Ordering::SeqCst));
    }
}

/// Calls until the port is shut; a call that fails before fails the test.
async fn call_until_closed(channel: rpc::Channel, lifecycle: Lifecycle, answered: Arc<AtomicUsize>) {
    let mut client = UserServiceClient::new(channel);
    loop {
        match client.user_info(UserInfoRequest {}).await {
            Ok(_) => answered.fetch_add(1, Ordering::SeqCst),
            Err(status) => {
                assert_eq!((status.code(), lifecycle.state()), (Code::Unavailable, State::Draining), "{status:?}");
                return;
            }
        };
    }
}
