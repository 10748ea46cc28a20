//! A client that is as cheap as one can be, for what is measured with the client on the same cores: a request that is always
//! the same, over one HTTP/1.1 connection.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::traffic::Call;

/// One client; a clone has a connection of its own.
pub(crate) struct Wire {
    address: SocketAddr,
    request: Arc<[u8]>,
    stream: Option<TcpStream>,
    answer: BytesMut,
}

impl Clone for Wire {
    fn clone(&self) -> Self {
        Self { address: self.address, request: Arc::clone(&self.request), stream: None, answer: BytesMut::new() }
    }
}

impl Wire {
    /// POST of `body` to `path`, with a token where there is one.
    pub(crate) fn post(address: SocketAddr, path: &str, token: Option<&str>, body: &str) -> Self {
        let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: mall\r\ncontent-type: application/json\r\n{authorization}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { address, request: request.into_bytes().into(), stream: None, answer: BytesMut::new() }
    }
}

impl Call for Wire {
    async fn call(&mut self) -> anyhow::Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            let read = stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the connection was closed");
            if let Some(length) = length(&self.answer)?
                && self.answer.len() >= length
            {
                let is_good = self.answer.starts_with(b"HTTP/1.1 200");
                ensure!(is_good, "{}", String::from_utf8_lossy(&self.answer));
                return Ok(());
            }
        }
    }
}

/// How long the whole answer is, once its head is there.
fn length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?;
    let length = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.to_owned())
    };
    let body = text.lines().find_map(length).context("an answer of no length")?;
    Ok(Some(head + 4 + body.parse::<usize>()?))
}
