//! Sizes, counts, coding and protocols.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{Request, Version};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{soon, start, start_with};

const REGISTER: &str = "/api/user/register";
const GZIP: [(&str, &str); 2] = [("content-type", "application/json"), ("content-encoding", "gzip")];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_read_and_written() {
    let gateway = start().await;
    let name = "a".repeat(5000);
    let body = gzip(format!("{{\"name\":\"{name}\"}}").as_bytes());
    let answer = gateway.call("POST", REGISTER, &GZIP, body.clone()).await;
    assert_eq!(answer.json()["name"], name);
    assert_eq!(answer.header("content-encoding"), "");

    let accepting = [GZIP[0], GZIP[1], ("accept-encoding", "br, gzip")];
    let answer = gateway.call("POST", REGISTER, &accepting, body).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap();
    assert!(text.contains(&name));
    let small = gateway.call("POST", REGISTER, &[("accept-encoding", "gzip")], "{}").await;
    assert_eq!(small.header("content-encoding"), "", "it would not get smaller");
}

#[tokio::test]
async fn a_gzip_bomb_is_413_and_what_is_not_gzip_is_400() {
    let gateway = start().await;
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024);
    gateway.call("POST", REGISTER, &GZIP, bomb).await.refused(413, 3);
    let whole = gzip(b"{\"name\":\"Ann\"}");
    for broken in [&b"{}"[..], &whole[..whole.len() - 5], &[0; 64]] {
        gateway.call("POST", REGISTER, &GZIP, broken.to_vec()).await.refused(400, 3);
    }
}

#[tokio::test]
async fn a_gzip_body_is_granted_what_it_inflates_to() {
    let gateway = start_with(|config| config.limits.total_body_bytes = 64).await;
    assert_eq!(gateway.call("POST", REGISTER, &GZIP, gzip(b"{\"name\":\"Ann\"}")).await.status, 200);
    gateway.call("POST", REGISTER, &GZIP, gzip(&[b' '; 65])).await.refused(503, 14);
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_large_is_not_asked_for() {
    let gateway = start().await;
    let head = |length: usize| {
        format!("POST {REGISTER} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    for (length, status) in [(2, b"HTTP/1.1 100"), (1024 * 1024 + 1, b"HTTP/1.1 413")] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(head(length).as_bytes()).await.unwrap();
        let mut start = [0; 12];
        soon(stream.read_exact(&mut start)).await.unwrap();
        assert_eq!(&start, status);
    }
}

#[tokio::test]
async fn headers_that_are_too_many_or_too_large_are_431() {
    let gateway = start().await;
    let large = "a".repeat(20 * 1024);
    gateway.call("GET", "/api/user/userinfo", &[("x-large", &large)], "").await.refused(431, 3);
    gateway.get(&format!("/api/user/userinfo?{large}")).await.refused(431, 3);
    let many: Vec<_> = (0..80).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    gateway.call("GET", "/api/user/userinfo", &many, "").await.refused(431, 3);

    for extreme in ["x-large: ".to_owned() + &"a".repeat(300 * 1024), "x: 1\r\n".repeat(5000)] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{extreme}\r\n\r\n");
        // The gateway answers before it has read all of it.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut start = [0; 12];
        soon(stream.read_exact(&mut start)).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 431");
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let gateway = start().await;
    for text in [
        "\r\n\r\nhello\r\n\r\n",
        "GET\r\n\r\n",
        "PRI * HTTP/3\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01",
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        soon(stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{text:?}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(gateway.get("/docs").await.status, 200);
}

#[tokio::test]
async fn http2_is_spoken_without_tls() {
    let gateway = start().await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<hyper::body::Bytes>>();
    let calls = (0..50).map(|_| {
        let request =
            Request::get(format!("http://{}/api/user/userinfo", gateway.address)).body(Default::default()).unwrap();
        client.request(request)
    });
    for answer in soon(futures::future::join_all(calls)).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    }
}

#[tokio::test]
async fn a_connection_more_than_allowed_waits_for_one_to_end() {
    let gateway = start_with(|config| config.limits.connections = 1).await;
    let mut first = TcpStream::connect(gateway.address).await.unwrap();
    first.write_all(b"GET /docs HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    soon(first.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");

    let mut second = std::pin::pin!(gateway.get("/docs"));
    let waited = tokio::time::timeout(Duration::from_millis(100), second.as_mut()).await;
    assert!(waited.is_err(), "{waited:?}");
    drop(first);
    assert_eq!(soon(second).await.status, 200);
}
