//! The chassis and the channel, over real connections, around a service that does what a test tells it.

use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::told::{Running, Told, client, config, start, start_told};

/// A server that sends the address of each call's client to `seen`.
async fn start_with(config: rpc::server::Config, seen: mpsc::UnboundedSender<String>) -> Running {
    let tell = move |client: Option<IpAddr>| {
        seen.send(client.unwrap().to_string()).unwrap();
        ready(Ok(()))
    };
    start_told(config, Told::new(tell)).await
}

/// A client that knows of no deadlines, so that the server's own word is heard: tonic's channel would speak first.
fn plain(address: SocketAddr) -> UserServiceClient<legacy::Client<HttpConnector, tonic::body::Body>> {
    let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    UserServiceClient::with_origin(client, format!("http://{address}").parse().unwrap())
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_follows_the_process() {
    let release = Arc::new(Notify::new());
    let (entered, mut entries) = mpsc::unbounded_channel();
    let server = start(config(), {
        let release = release.clone();
        move || {
            let (release, entered) = (release.clone(), entered.clone());
            async move {
                entered.send(()).unwrap();
                release.notified().await;
                Ok(())
            }
        }
    })
    .await;
    let channel =
        rpc::client::connect(&rpc::client::Config { target: server.address.into(), ..Default::default() }).unwrap();
    for service in ["", "mall.user.v1.UserService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut states = HealthClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
        while states.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    }
    assert!(get(server.admin, "/readyz").await.starts_with("HTTP/1.1 200"));

    let request = HealthCheckRequest { service: String::new() };
    let mut states = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut client = server.client();
    let call = tokio::spawn(async move { client.user_info(UserInfoRequest {}).await });
    entries.recv().await.unwrap();
    server.lifecycle.drain();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop(states);
    let ready = get(server.admin, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("draining\n"), "{ready}");
    assert!(get(server.admin, "/livez").await.starts_with("HTTP/1.1 200"));

    release.notify_one();
    call.await.unwrap().expect("a call in flight is finished");
    server.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_ends() {
    let (entered, mut entries) = mpsc::unbounded_channel();
    let config = rpc::server::Config { drain: Duration::from_millis(50), ..config() };
    let server = start(config, move || {
        entered.send(()).unwrap();
        std::future::pending()
    })
    .await;
    let mut client = server.client();
    let call = tokio::spawn(async move { client.user_info(UserInfoRequest {}).await });
    entries.recv().await.unwrap();
    server.lifecycle.drain();
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
    server.served.await.unwrap().expect("it does not wait for a call that never ends");
}

#[tokio::test]
async fn it_tells_what_it_serves() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient as V1;
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as V1Alpha;
    let server = start(config(), async || Ok(())).await;
    let channel =
        rpc::client::connect(&rpc::client::Config { target: server.address.into(), ..Default::default() }).unwrap();
    macro_rules! services {
        ($client:ident, $version:ident) => {{
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            let message_request = Some(MessageRequest::ListServices(String::new()));
            let request =
                tonic_reflection::pb::$version::ServerReflectionRequest { message_request, ..Default::default() };
            let request = tokio_stream::once(request);
            let answer = $client::new(channel.clone()).server_reflection_info(request).await.unwrap();
            match answer.into_inner().message().await.unwrap().unwrap().message_response {
                Some(MessageResponse::ListServicesResponse(list)) => {
                    list.service.into_iter().map(|one| one.name).collect()
                }
                other => panic!("{other:?}"),
            }
        }};
    }
    for services in [services!(V1, v1), services!(V1Alpha, v1alpha)] {
        let services: Vec<String> = services;
        for name in ["mall.user.v1.UserService", "grpc.health.v1.Health"] {
            assert!(services.iter().any(|service| service == name), "{services:?}");
        }
    }
}

#[tokio::test]
async fn a_deadline_ends_the_call_and_drops_its_handler() {
    struct Dropped(mpsc::UnboundedSender<Option<Duration>>, Option<Duration>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(self.1);
        }
    }
    let (sender, mut dropped) = mpsc::unbounded_channel();
    let server = start(config(), move || {
        let sender = sender.clone();
        async move {
            let _dropped = Dropped(sender, rpc::deadline::remaining());
            std::future::pending().await
        }
    })
    .await;
    let mut plain = plain(server.address);
    let mut request = Request::new(UserInfoRequest {});
    request.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
    assert_eq!(plain.user_info(request).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(dropped.recv().await.unwrap().unwrap() <= Duration::from_millis(50));

    // Ours gives up by itself, and tells the server how long it has.
    let mut hasty = client(server.address, Duration::from_millis(60));
    assert_eq!(hasty.user_info(UserInfoRequest {}).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(dropped.recv().await.unwrap().unwrap() <= Duration::from_millis(60));
}

#[tokio::test]
async fn the_time_left_goes_with_every_call() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let server = start(config(), move || {
        sender.send(rpc::deadline::remaining().unwrap()).unwrap();
        std::future::ready(Ok(()))
    })
    .await;
    let deadline = |left| tokio::time::Instant::now() + left;
    rpc::deadline::scope(deadline(Duration::from_secs(7)), server.client().user_info(UserInfoRequest {}))
        .await
        .unwrap();
    assert!(seen.recv().await.unwrap() <= Duration::from_secs(7));

    let late = rpc::deadline::scope(deadline(Duration::ZERO), server.client().user_info(UserInfoRequest {})).await;
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(seen.try_recv().is_err(), "a call without time is not made");

    let config = rpc::server::Config { max_timeout: Duration::from_secs(3), ..config() };
    let (sender, mut seen) = mpsc::unbounded_channel();
    let server = start(config, move || {
        sender.send(rpc::deadline::remaining().unwrap()).unwrap();
        std::future::ready(Ok(()))
    })
    .await;
    server.client().user_info(UserInfoRequest {}).await.unwrap();
    assert!(seen.recv().await.unwrap() <= Duration::from_secs(3));
}

#[tokio::test]
async fn a_malformed_timeout_is_refused() {
    let server = start(config(), async || Ok(())).await;
    let mut plain = plain(server.address);
    let mut request = Request::new(UserInfoRequest {});
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(plain.user_info(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn one_call_too_many_is_refused_at_once() {
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let (entered, mut entries) = mpsc::unbounded_channel();
    let config = rpc::server::Config { max_in_flight: 1, max_queued: 1, ..config() };
    let server = start(config, {
        let release = release.clone();
        move || {
            let (release, entered) = (release.clone(), entered.clone());
            async move {
                entered.send(()).unwrap();
                release.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    })
    .await;
    let call = || {
        let mut client = server.client();
        tokio::spawn(async move { client.user_info(UserInfoRequest {}).await })
    };
    let mut running = vec![call()];
    entries.recv().await.unwrap();
    // Of two more, whichever arrives first waits and the other is refused.
    running.extend([call(), call()]);
    let (refused, which, rest) = futures::future::select_all(running).await;
    assert!(which > 0);
    let refused = refused.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());

    let endpoint = format!("http://{}", server.address);
    let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
    let alive = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(alive.status(), ServingStatus::Serving, "health is asked past the limit");

    release.add_permits(3);
    for call in rest {
        call.await.unwrap().expect("the one that ran and the one that waited are served");
    }
    server.client().user_info(UserInfoRequest {}).await.expect("and there is room again");
}

#[tokio::test]
async fn a_panic_ends_one_call() {
    let server = start(config(), || -> std::future::Ready<_> { panic!("of the test") }).await;
    for _ in 0..3 {
        let status = server.client().user_info(UserInfoRequest {}).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
    }
}

#[tokio::test]
async fn oversized_calls_are_refused() {
    let server = start(rpc::server::Config { max_message_bytes: 1024, ..config() }, async || Ok(())).await;
    let mut client = server.client();
    let large = RegisterRequest { name: "x".repeat(2048), ..Default::default() };
    let status = client.register(large).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");

    let mut request = Request::new(UserInfoRequest {});
    request.metadata_mut().insert("x-large", "x".repeat(64 * 1024).parse().unwrap());
    assert!(client.user_info(request).await.is_err());
    server.client().user_info(UserInfoRequest {}).await.expect("others are served");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_its_senders_fault() {
    let server = start(config(), async || Ok(())).await;
    let framed = |flag: u8, length: u8, bytes: &[u8]| [&[flag, 0, 0, 0, length], bytes].concat();
    for (what, body) in [
        ("cut-off protobuf", framed(0, 2, &[0x0a, 0x05])),
        ("invalid UTF-8", framed(0, 4, &[0x0a, 0x02, 0xff, 0xfe])),
        ("wrong wire type", framed(0, 2, &[0x08, 0x01])),
        ("cut-off frame", framed(0, 9, b"x")),
        ("unknown flag", framed(7, 0, b"")),
        ("compressed without saying how", framed(1, 1, b"x")),
    ] {
        let request = http::Request::post(format!("http://{}/mall.user.v1.UserService/Register", server.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(http_body_util::Full::new(bytes::Bytes::from(body)));
        let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let answer = client.request(request.unwrap()).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], (Code::InvalidArgument as i32).to_string(), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn only_a_gateway_says_who_its_client_is() {
    let seen = async |trusted: &str| {
        let (sender, mut seen) = mpsc::unbounded_channel();
        let config = rpc::server::Config { trusted_gateways: vec![trusted.parse().unwrap()], ..config() };
        let server = start_with(config, sender).await;
        let mut request = Request::new(UserInfoRequest {});
        request.metadata_mut().insert(rpc::CLIENT_ADDRESS, "192.0.2.7".parse().unwrap());
        server.client().user_info(request).await.unwrap();
        seen.recv().await.unwrap()
    };
    assert_eq!(seen("127.0.0.0/8").await, "192.0.2.7");
    assert_eq!(seen("10.0.0.0/8").await, "127.0.0.1");
}

#[tokio::test]
async fn a_dead_peer_is_unavailable_until_it_is_back() {
    let reserved = rpc::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let mut client = client(address, Duration::from_secs(20));
    let status = client.user_info(UserInfoRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.message().contains("127.0.0.1"), "{status:?}");

    for _ in 0..2 {
        let server = start(rpc::server::Config { listen: address, ..config() }, async || Ok(())).await;
        client.user_info(UserInfoRequest {}).await.expect("the peer is back");
        server.lifecycle.drain();
        server.served.await.unwrap().unwrap();
        assert_eq!(client.user_info(UserInfoRequest {}).await.unwrap_err().code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = rpc::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = rpc::Server::bind(rpc::server::Config { listen: address, ..config() }, rpc::Lifecycle::new()).await;
    assert!(error.unwrap_err().to_string().contains(&format!("port {}", address.port())));
}
