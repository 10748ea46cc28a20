//! HTTP/1 against a gateway.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::process::Mall;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::frames::pour;
use crate::victim::{Honest, MALL, Memory};

/// Attacks product.api beside an honest client.
async fn on_gateway(attack: impl AsyncFn(SocketAddr)) {
    let mall = Mall::of(MALL)
        .variable("MALL__LIMITS__HEADER_TIMEOUT", "1s")
        .variable("MALL__LIMITS__BODY_TIMEOUT", "1s")
        .start()
        .await;
    let memory = Memory::of(&mall, "product.api");
    let (client, url) = (testkit::http::Client::default(), format!("{}/api/product/1", mall.url("product.api")));
    let honest = Honest::start(move || {
        let (client, request) = (client.clone(), http::Request::get(&url).body(Default::default()));
        async move { assert_eq!(client.try_send(request.unwrap()).await.unwrap().status(), 200) }
    });
    attack(mall.address("product.api", "listen")).await;
    honest.stop().await;
    memory.is_bounded();
    memory.is_at_rest().await;
}

/// Sends the beginning, and then byte after byte of the rest, for ever, by many connections; each is closed or answered 408.
async fn drip(address: SocketAddr, beginning: &'static str) {
    let dripping = (0..300).map(|_| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let (mut input, mut output) = stream.into_split();
        let mut answer = Vec::new();
        let drip = async {
            while output.write_all(b"a").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = drip => {}
            _ = input.read_to_end(&mut answer) => {}
        }
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    });
    timeout(Duration::from_secs(60), futures::future::join_all(dripping)).await.expect("they are sent away");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_come_byte_by_byte() {
    on_gateway(async |address| drip(address, "GET /api/product/1 HTTP/1.1\r\nhost: victim\r\nx-slow: ").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_come_byte_by_byte() {
    let beginning = "POST /api/product/detail HTTP/1.1\r\nhost: victim\r\ncontent-type: application/json\r\n\
                     content-length: 100000\r\n\r\n";
    on_gateway(async |address| drip(address, beginning).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_end_whose_answers_nobody_reads() {
    on_gateway(async |address| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let batch = "GET /api/product?pageSize=100 HTTP/1.1\r\nhost: victim\r\n\r\n".repeat(1000);
        for _ in 0..100 {
            if pour(&mut stream, batch.as_bytes()).await.is_err() {
                return;
            }
        }
        panic!("it took 100,000 requests without a pause");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_one_behind_another_are_answered_in_turn() {
    on_gateway(async |address| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let one = "GET /api/product/1 HTTP/1.1\r\nhost: victim\r\n\r\n";
        let last = "GET /api/product/1 HTTP/1.1\r\nhost: victim\r\nconnection: close\r\n\r\n";
        stream.write_all((one.repeat(199) + last).as_bytes()).await.unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 200);
    })
    .await;
}
