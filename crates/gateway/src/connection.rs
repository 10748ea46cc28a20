//! One connection: which HTTP it speaks, how long it may take to say so, and how it ends.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use crate::Limits;
use crate::peer::Peer;

/// How long busy clients are told `connection: close` before the port is shut and quiet connections with it, and how
/// long new ones then have to begin: a request that is on its way over a connection when that is closed is lost.
pub(crate) const LINGER: Duration = Duration::from_millis(250);

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper's own limit, within which it needs no memory for them from the heap; beyond it, its 431 has no body.
const HYPER_HEADERS: usize = 100;

/// The answer to a head that was begun and not finished in time.
const LATE_HEAD: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\n\
    content-length: 66\r\n\r\n{\"code\":4,\"message\":\"the request's headers took too long to come\"}";

/// How connections are served.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_timeout: Duration,
    closing: CancellationToken,
}

impl Connections {
    /// Connections that end after the request at hand once `closing` is cancelled.
    pub(crate) fn new(limits: &Limits, closing: CancellationToken) -> Self {
        let mut http1 = http1::Builder::new();
        // Twice what we allow, so that it is we who answer.
        http1.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
        http1.max_buf_size((limits.header_bytes * 2).max(64 * 1024));
        if limits.headers >= HYPER_HEADERS {
            http1.max_headers(limits.headers * 2);
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.header_bytes * 2).unwrap_or(u32::MAX));
        Self { http1, http2, header_timeout: limits.header_timeout, closing }
    }

    /// Serves one until its end. How it ends concerns nobody but its client.
    pub(crate) async fn serve<S, B>(self, stream: TcpStream, peer: SocketAddr, service: S)
    where
        S: Service<Request, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let service = service_fn(move |request: http::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer::from(peer));
            service.clone().oneshot(request)
        });
        let speaks_http2 = tokio::select! {
            found = timeout(self.header_timeout, speaks_http2(&stream)) => found,
            () = self.overdue() => return,
        };
        match speaks_http2 {
            Ok(Ok(true)) => {
                let mut connection = self.http2.serve_connection(TokioIo::new(stream), service);
                let _ = drive(Pin::new(&mut connection), &self.closing).await;
            }
            Ok(Ok(false)) => {
                let mut connection = self.http1.serve_connection(TokioIo::new(stream), service);
                let result = drive(Pin::new(&mut connection), &self.closing).await;
                let parts = connection.into_parts();
                if result.is_err_and(|error| error.is_timeout()) && !parts.read_buf.is_empty() {
                    let _ = parts.io.inner().try_write(LATE_HEAD);
                }
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }

    /// Ends when no connection may begin any more.
    async fn overdue(&self) {
        self.closing.cancelled().await;
        sleep(LINGER).await;
    }
}

/// Runs a connection to its end, which is after the request at hand once `closing` is cancelled.
async fn drive<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    closing: &CancellationToken,
) -> Result<(), C::Error> {
    tokio::select! {
        // A request that is already here is taken before the connection hears that it is the last.
        biased;
        result = connection.as_mut() => return result,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// Whether the first bytes, which stay unread, are those of HTTP/2.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        if length == 0 || length == PREFACE.len() || !PREFACE.starts_with(&first[..length]) {
            return Ok(first[..length] == *PREFACE);
        }
        // What was peeked at stays readable, so there is no event to wait for; hardly a client splits the preface.
        sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_late_head_is_answered_with_the_length_it_says() {
        let text = std::str::from_utf8(LATE_HEAD).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
