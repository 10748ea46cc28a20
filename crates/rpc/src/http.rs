//! Serving HTTP: connections that are counted, that speak HTTP/1.1 or HTTP/2, with TLS or without, that must begin in time,
//! and that end without the loss of a request that was on its way.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use crate::accept::{self, Accepted, Acceptor, LINGER};
use crate::lifecycle::Lifecycle;
use crate::tls;

/// hyper's own limit, within which it needs no memory for them from the heap; beyond it, its 431 has no body.
const HYPER_HEADERS: usize = 100;

/// What connections may take. Twice the headers that are given here are read, so that it is the service that refuses them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at one time; one more waits to be accepted.
    pub connections: usize,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// Requests that one HTTP/2 connection may have open.
    pub streams: u32,
    /// Bytes of a request's headers and path.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// The time until a connection has agreed on TLS, and until it has sent the head of its next request.
    pub header_timeout: Duration,
    /// How long a quiet HTTP/2 connection is left alone before it is pinged.
    pub keepalive_interval: Duration,
    /// How long a ping may go unanswered before the connection is closed.
    pub keepalive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            http2: true,
            streams: 128,
            header_bytes: 16 * 1024,
            headers: 64,
            header_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

/// The other end of the connection that a request came by; in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// How a process ends that serves HTTP.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What the process stands at.
    pub lifecycle: Lifecycle,
    /// How long requests are still served after the word to stop.
    pub lame_duck: Duration,
    /// How long requests in flight may take to finish after that.
    pub drain: Duration,
}

/// Serves until the process drains, and then what it has for at most the drain.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<tls::Acceptor>,
    limits: &Limits,
    Ending { lifecycle, lame_duck, drain }: Ending,
    service: S,
) where
    S: Service<Request, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let closing = CancellationToken::new();
    let connections = Connections::new(limits, tls, closing.clone());
    let permits = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let mut tasks = JoinSet::new();
    let start = |tasks: &mut JoinSet<()>, accepted: Accepted| {
        tasks.spawn(connections.clone().serve(accepted, service.clone()));
    };
    // HTTP/1 clients are told `connection: close` with each answer meanwhile; a lame duck has lingered.
    let linger = LINGER.saturating_sub(lame_duck).min(drain);
    let mut end = pin!(async {
        lifecycle.lame_duck(lame_duck).await;
        sleep(linger).await;
    });
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(_) = tasks.join_next() => {}
            accepted = accept::next(&listener, &permits) => start(&mut tasks, accepted),
        }
    }
    for accepted in accept::last(listener, permits) {
        start(&mut tasks, accepted);
    }
    closing.cancel();
    let deadline = Instant::now() + drain.saturating_sub(linger);
    while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
    if !tasks.is_empty() {
        tracing::warn!(after = ?drain, "requests were still running at the end of the drain and were cut off");
    }
}

/// How connections are served.
#[derive(Clone, Debug)]
struct Connections {
    http1: http1::Builder,
    http2: Option<http2::Builder<TokioExecutor>>,
    acceptor: Acceptor,
    closing: CancellationToken,
}

impl Connections {
    /// Connections that end after the request at hand once `closing` is cancelled.
    fn new(limits: &Limits, tls: Option<tls::Acceptor>, closing: CancellationToken) -> Self {
        let mut http1 = http1::Builder::new();
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
        let acceptor = Acceptor { tls, timeout: limits.header_timeout };
        Self { http1, http2: limits.http2.then_some(http2), acceptor, closing }
    }

    /// Serves one until its end. How it ends concerns nobody but its client.
    async fn serve<S, B>(self, accepted: Accepted, service: S)
    where
        S: Service<Request, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        // It counts until the end of this.
        let Accepted { stream, peer, permit: _permit } = accepted;
        let service = service_fn(move |request: http::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            service.clone().oneshot(request)
        });
        let connection = tokio::select! {
            connection = self.acceptor.open(stream) => connection,
            () = overdue(&self.closing) => return,
        };
        let Some(connection) = connection else { return };
        let http2 = self.http2.filter(|_| connection.speaks_http2());
        let io = TokioIo::new(connection);
        match http2 {
            Some(http2) => drive(pin!(http2.serve_connection(io, service)), &self.closing).await,
            None => drive(pin!(self.http1.serve_connection(io, service)), &self.closing).await,
        }
    }
}

/// Ends when no connection may begin any more.
async fn overdue(closing: &CancellationToken) {
    closing.cancelled().await;
    sleep(LINGER).await;
}

/// Runs a connection to its end, which is after the request at hand once `closing` is cancelled.
async fn drive<C: GracefulConnection>(mut connection: Pin<&mut C>, closing: &CancellationToken) {
    tokio::select! {
        // A request that is already here is taken before the connection hears that it is the last.
        biased;
        _ = connection.as_mut() => return,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
