//! The end: readiness falls, then the port closes, and no request that was taken fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rpc::lifecycle::{Lifecycle, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Running, soon, start, start_with};

#[tokio::test]
async fn what_is_in_flight_is_finished() {
    let mut gateway = start().await;
    let mut waiting = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /api/user/password HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
    waiting.write_all(head.as_bytes()).await.unwrap();
    soon(gateway.stub.waiting.notified()).await;
    gateway.lifecycle.drain();

    let ready = Request::get(format!("http://{}/readyz", gateway.admin)).body(Default::default()).unwrap();
    assert_eq!(gateway.send(ready).await.unwrap().status, 503);
    let closed = async { while TcpStream::connect(gateway.address).await.is_ok() {} };
    soon(closed).await;

    gateway.stub.gate.0.add_permits(1);
    let mut answer = String::new();
    soon(waiting.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    soon(&mut gateway.gateway.0).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off() {
    let mut gateway = start_with(|config| config.drain = Duration::from_millis(300)).await;
    let mut waiting = TcpStream::connect(gateway.address).await.unwrap();
    waiting.write_all(b"POST /api/user/password HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    soon(gateway.stub.waiting.notified()).await;
    gateway.lifecycle.drain();
    soon(&mut gateway.gateway.0).await.unwrap().unwrap();
    soon(gateway.stub.dropped.notified()).await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let mut gateway = start().await;
    let silent = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(gateway.get("/docs").await.status, 200);
    gateway.lifecycle.drain();
    soon(&mut gateway.gateway.0).await.unwrap().unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_lame_duck_serves_on_and_sends_its_clients_away() {
    let mut gateway = start_with(|config| config.lame_duck = Duration::from_secs(2)).await;
    let (mut quiet, connection) =
        http1::handshake(TokioIo::new(TcpStream::connect(gateway.address).await.unwrap())).await.unwrap();
    tokio::spawn(connection);
    let ask = || Request::get("/api/user/userinfo").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
    let answer = quiet.send_request(ask()).await.unwrap();
    assert!(!answer.headers().contains_key("connection"), "{answer:?}");
    answer.into_body().collect().await.unwrap();

    gateway.lifecycle.stop();
    let ready = Request::get(format!("http://{}/readyz", gateway.admin)).body(Default::default()).unwrap();
    let ready = gateway.send(ready).await.unwrap();
    assert_eq!((ready.status.as_u16(), &ready.body[..]), (503, &b"stopping\n"[..]));
    // A connection that was there and one that is new are served once more each.
    soon(quiet.ready()).await.unwrap();
    let answer = quiet.send_request(ask()).await.unwrap();
    assert!(answer.status() == 200 && answer.headers()["connection"] == "close", "{answer:?}");
    answer.into_body().collect().await.unwrap();
    assert!(soon(quiet.ready()).await.is_err(), "it was closed");
    let mut new = TcpStream::connect(gateway.address).await.unwrap();
    new.write_all(b"GET /api/user/userinfo HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(new.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(gateway.lifecycle.state(), State::LameDuck);

    soon(&mut gateway.gateway.0).await.unwrap().unwrap();
    assert!(TcpStream::connect(gateway.address).await.is_err());
}

/// How long the lame ducks of these tests live: not, and longer than connections linger.
const LAME_DUCKS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(500)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_under_load_over_http1() {
    for lame_duck in LAME_DUCKS {
        let gateway = start_with(|config| config.lame_duck = lame_duck).await;
        let (address, lifecycle) = (gateway.address, gateway.lifecycle.clone());
        stop_under_load(gateway, |done| call_over_http1(address, lifecycle.clone(), done)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_under_load_over_http2() {
    for lame_duck in LAME_DUCKS {
        let gateway = start_with(|config| config.lame_duck = lame_duck).await;
        let (address, lifecycle) = (gateway.address, gateway.lifecycle.clone());
        stop_under_load(gateway, |done| call_over_http2(address, lifecycle.clone(), done)).await;
    }
}

async fn stop_under_load<F>(mut gateway: Running, call_until_closed: impl Fn(Arc<AtomicUsize>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(call_until_closed(Arc::clone(&done)))).collect();
    let busy = async {
        while done.load(Ordering::Relaxed) < 200 {
            tokio::task::yield_now().await;
        }
    };
    soon(busy).await;
    gateway.lifecycle.stop();
    soon(&mut gateway.gateway.0).await.unwrap().unwrap();
    for client in clients {
        soon(client).await.unwrap();
    }
}

/// Calls until no connection is to be had; a call that fails over one that has worked fails the test.
async fn call_over_http1(address: SocketAddr, lifecycle: Lifecycle, done: Arc<AtomicUsize>) {
    while let Ok(stream) = TcpStream::connect(address).await {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut calls = 0;
        while sender.ready().await.is_ok() {
            let request = Request::get("/api/user/userinfo").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
            match sender.send_request(request).await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 200);
                    answer.into_body().collect().await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                    calls += 1;
                }
                Err(error) if error.is_canceled() => break,
                // The system let it into the queue of a port that was then shut.
                Err(_) if calls == 0 && lifecycle.state() == State::Draining => return,
                Err(error) => panic!("after {calls} calls: {error:?}"),
            }
        }
    }
}

/// Calls until no connection is to be had; a call that was taken and fails, fails the test.
async fn call_over_http2(address: SocketAddr, lifecycle: Lifecycle, done: Arc<AtomicUsize>) {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    loop {
        let url = format!("http://{address}/api/user/userinfo");
        match client.request(Request::get(url).body(Empty::<Bytes>::new()).unwrap()).await {
            Ok(answer) => {
                assert_eq!(answer.status(), 200);
                answer.into_body().collect().await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.is_connect() && lifecycle.state() == State::Draining => return,
            // By the protocol, what meets a GOAWAY was not taken and may be sent again.
            Err(error) if format!("{error:?}").contains("NO_ERROR") => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}
