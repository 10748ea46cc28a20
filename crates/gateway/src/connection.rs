//! One connection: which HTTP it speaks, how long it may take to say so, and how it ends.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rpc::accept::Acceptor;
use rpc::tls;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use crate::Limits;
use crate::peer::Peer;

/// How long at least busy clients are told `connection: close` before the port is shut and quiet connections with it, and
/// how long new ones then have to begin: a request that is on its way over a connection when that is closed is lost. So
/// only connections are closed between two requests that have been quiet for all that time, or for the whole lame duck.
pub(crate) const LINGER: Duration = Duration::from_millis(250);

/// hyper's own limit, within which it needs no memory for them from the heap; beyond it, its 431 has no body.
const HYPER_HEADERS: usize = 100;

/// How connections are served.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    acceptor: Acceptor,
    closing: CancellationToken,
}

impl Connections {
    /// Connections that end after the request at hand once `closing` is cancelled.
    pub(crate) fn new(limits: &Limits, tls: Option<tls::Acceptor>, closing: CancellationToken) -> Self {
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
        let acceptor = Acceptor { tls, timeout: limits.header_timeout };
        Self { http1, http2, acceptor, closing }
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
        let connection = tokio::select! {
            connection = self.acceptor.open(stream) => connection,
            () = self.overdue() => return,
        };
        let Some(connection) = connection else { return };
        let speaks_http2 = connection.speaks_http2();
        let io = TokioIo::new(connection);
        if speaks_http2 {
            drive(pin!(self.http2.serve_connection(io, service)), &self.closing).await;
        } else {
            drive(pin!(self.http1.serve_connection(io, service)), &self.closing).await;
        }
    }

    /// Ends when no connection may begin any more.
    async fn overdue(&self) {
        self.closing.cancelled().await;
        sleep(LINGER).await;
    }
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
