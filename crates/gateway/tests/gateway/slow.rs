//! Clients that take their time.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Running, soon, start, start_with};

async fn short() -> Running {
    start_with(|config| {
        config.limits.header_timeout = Duration::from_millis(100);
        config.limits.body_timeout = Duration::from_millis(100);
    })
    .await
}

/// What comes back for `text` until the gateway closes the connection.
async fn answer(gateway: &Running, text: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_head_that_is_not_finished_in_time_is_closed() {
    let gateway = short().await;
    for head in ["", "P", "G", "PRI * HTTP/2.0\r\n", "GET /docs HTTP/1.1\r\nhost:", "PRX"] {
        assert_eq!(answer(&gateway, head).await, "", "{head:?}");
    }
    let idle = answer(&gateway, "GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(idle.starts_with("HTTP/1.1 404 "), "{idle}");
}

#[tokio::test]
async fn a_head_may_come_in_pieces() {
    let gateway = start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in ["P", "OST /nowhere HTTP/1.1\r\nconnection: close\r\n", "host: a\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_not_finished_is_408() {
    let gateway = short().await;
    for body in ["content-length: 10\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let head = format!("POST /api/user/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{body}");
        let answer = answer(&gateway, &head).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{body:?}: {answer}");
        assert!(answer.contains("\"code\":4"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_of_its_client() {
    let gateway = short().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(b"POST /api/user/login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
