//! A service that is told to stop: it says so first, serves on for as long as it was told to, and loses no request.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proto::user::v1::UserInfoRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use testkit::eventually;
use testkit::process::{Mall, Signal, gone, signal};
use testkit::service::with_token;
use testkit::shopper::Shopper;
use tokio::net::TcpStream;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

const LAME_DUCK: Duration = Duration::from_secs(2);

/// A mall whose services are lame ducks for so long.
async fn start(lame_duck: &str) -> Mall {
    let mall = Mall::of(MALL).variable("MALL__LAME_DUCK", lame_duck).variable("MALL__SERVER__LAME_DUCK", lame_duck);
    mall.patient().start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_clients_that_never_pause_lose_nothing_when_a_service_stops() {
    let mall = start("2s").await;
    let address = mall.address("user.api", "listen");
    let stopped = stop_under_load(&mall, "user.api", |count| get_without_pause(address, count)).await;
    assert!(stopped.iter().all(|after| *after >= LAME_DUCK), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_that_never_pause_lose_nothing_when_a_service_stops() {
    let mall = start("2s").await;
    let token = Shopper::new(&mall, "15838607661").await.token;
    let config = testkit::service::client(mall.address("user.rpc", "listen"));
    let call = |count| call_without_pause(rpc::client::connect(&config).unwrap(), token.clone(), count);
    let stopped = stop_under_load(&mall, "user.rpc", call).await;
    assert!(stopped.iter().all(|after| *after >= LAME_DUCK), "{stopped:?}");
}

/// Stops a service that clients call until it is gone, and answers how long after the word that was for each.
async fn stop_under_load<F>(mall: &Mall, service: &str, client: impl Fn(Arc<AtomicUsize>) -> F) -> Vec<Duration>
where
    F: Future<Output = Instant> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(client(count.clone()))).collect();
    eventually("there is load", async || (count.load(Ordering::Relaxed) > 100).then_some(())).await;
    let pid = mall.services()[service];
    signal(pid, Signal::TERM);
    let told = Instant::now();
    let ready = format!("http://{}/readyz", mall.address(service, "admin"));
    eventually("it says that it stops", async || (mall.get(&ready).await.body() == "stopping\n").then_some(())).await;
    let before = count.load(Ordering::Relaxed);
    eventually("it serves on", async || (count.load(Ordering::Relaxed) > before + 50).then_some(())).await;
    assert!(told.elapsed() < LAME_DUCK, "the machine is too slow for this test");
    let mut stopped = Vec::new();
    for client in clients {
        stopped.push(tokio::time::timeout(Duration::from_secs(60), client).await.unwrap().unwrap() - told);
    }
    gone(&[pid]).await;
    stopped
}

/// Asks over connections that are kept for as long as the server keeps them, until there are no more to be had.
async fn get_without_pause(address: SocketAddr, count: Arc<AtomicUsize>) -> Instant {
    while let Ok(stream) = TcpStream::connect(address).await {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        while sender.ready().await.is_ok() {
            let request = Request::get("/openapi.json").header("host", "a").body(Empty::<bytes::Bytes>::new()).unwrap();
            let answer = match sender.send_request(request).await {
                Ok(answer) => answer,
                // It was closed before the request was written.
                Err(error) if error.is_canceled() => break,
                Err(error) => panic!("{error:?}"),
            };
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    Instant::now()
}

/// Calls until the service is gone.
async fn call_without_pause(channel: rpc::Channel, token: String, count: Arc<AtomicUsize>) -> Instant {
    let mut client = UserServiceClient::new(channel);
    loop {
        match client.user_info(with_token(&token, UserInfoRequest {})).await {
            Ok(_) => count.fetch_add(1, Ordering::Relaxed),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
                return Instant::now();
            }
        };
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_lame_duck_at_once() {
    let mut mall = start("1h").await;
    for service in ["user.api", "user.rpc"] {
        let pid = mall.services()[service];
        let ready = format!("http://{}/readyz", mall.address(service, "admin"));
        signal(pid, Signal::TERM);
        eventually("it says that it stops", async || (mall.get(&ready).await.body() == "stopping\n").then_some(()))
            .await;
        signal(pid, Signal::TERM);
        gone(&[pid]).await;
    }
    mall.logs().lines("is ready again", 2).await.unwrap();
    let services: Vec<_> = mall.services().into_values().collect();
    mall.signal(Signal::TERM);
    mall.logs().line("stopping; a second Ctrl-C").await.unwrap();
    mall.signal(Signal::TERM);
    assert_eq!(mall.wait().await.code(), Some(1));
    gone(&services).await;
}
