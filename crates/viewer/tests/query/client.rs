//! A viewer on free ports, and the little of HTTP that the tests need.

use std::net::SocketAddr;

use bytesize::ByteSize;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A configuration in which the system chooses every port.
pub(crate) fn config_on_free_ports() -> viewer::Config {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let memory = ByteSize::mib(8);
    viewer::Config { listen: free, otlp_grpc: free, otlp_http: free, admin: free, memory, ..Default::default() }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) async fn get(url: &str) -> Answer {
    ask("GET", url, &[], b"").await
}

/// Asks by HTTP 1.0, whose answers simply end with the connection.
pub(crate) async fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL with a path");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{method} /{path} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    let mut stream = TcpStream::connect(host).await.expect("a listener");
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("send the question");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read the answer");
    let answer = String::from_utf8(answer).expect("an answer in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer with a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, body: body.to_owned() }
}
