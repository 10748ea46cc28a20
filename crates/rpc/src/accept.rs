//! Taking connections, to the last one that a client believes it has: with TLS or without, and no longer than their clients
//! take to begin.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::{Lifecycle, tls};

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long at least busy clients are told that a connection ends before the port is shut and quiet connections with it, and
/// how long new ones then have to begin: a request that is on its way over a connection when that is closed is lost.
pub(crate) const LINGER: Duration = Duration::from_millis(250);

/// A connection that is counted until its permit is dropped.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The next connection, once one may be had.
pub(crate) async fn next(listener: &TcpListener, permits: &Arc<Semaphore>) -> Accepted {
    // Nobody closes the semaphore.
    let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return std::future::pending().await };
    let (stream, peer) = accept(listener).await;
    Accepted { stream, peer, permit }
}

/// Those that the system let in and nobody took yet, as many as may be had; the port is shut after them.
pub(crate) fn last(listener: TcpListener, permits: Arc<Semaphore>) -> impl Iterator<Item = Accepted> {
    waiting(listener).map_while(move |(stream, peer)| {
        let permit = Arc::clone(&permits).try_acquire_owned().ok()?;
        Some(Accepted { stream, peer, permit })
    })
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // An answer is written at once or not at all; without it, the last packet may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                // Often the process has no file descriptor left; only time brings one.
                tracing::warn!(error = &error as &dyn std::error::Error, "accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn waiting(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let listener = listener.into_std();
    std::iter::from_fn(move || {
        loop {
            match listener.as_ref().ok()?.accept() {
                Ok((stream, peer)) => {
                    if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                        let _ = stream.set_nodelay(true);
                        return Some((stream, peer));
                    }
                }
                // Whoever it was is gone again; others may wait behind.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(_) => return None,
            }
        }
    })
}

/// How connections begin.
#[derive(Clone, Debug)]
pub struct Acceptor {
    /// Without it they are plain.
    pub tls: Option<tls::Acceptor>,
    /// The time for TLS, and for the first bytes after it.
    pub timeout: Duration,
}

impl Acceptor {
    /// A connection whose client has begun to speak; nothing where it took too long, went away, or cannot agree on TLS.
    pub async fn open(&self, stream: TcpStream) -> Option<Connection> {
        let addresses = stream.connect_info();
        let open = async {
            let io = match &self.tls {
                Some(tls) => Either::Right(Box::new(tls.accept(stream).await?)),
                None => Either::Left(stream),
            };
            let names = if let Either::Right(io) = &io { tls::names(io) } else { Vec::new() };
            let info = Info { addresses, identity: Identity(names.into()) };
            let mut connection =
                Connection { io, info, begun: Vec::new(), read: 0, speaks_http2: false, _permit: None };
            connection.begin().await?;
            io::Result::Ok(connection)
        };
        match timeout(self.timeout, open).await {
            Ok(Ok(connection)) => Some(connection),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection did not come about");
                None
            }
            Err(_) => None,
        }
    }
}

/// Every connection until the process drains, at most `most` at a time.
pub(crate) fn until_draining(
    listener: TcpListener,
    acceptor: Acceptor,
    most: usize,
    lifecycle: Lifecycle,
) -> impl Stream<Item = Connection> {
    let most = most.clamp(1, Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(most));
    let ending = lifecycle.clone();
    let accepting = stream::unfold(Some(listener), move |listener| {
        let (lifecycle, permits) = (lifecycle.clone(), Arc::clone(&permits));
        async move {
            let listener = listener?;
            let accepted = tokio::select! {
                accepted = next(&listener, &permits) => Some(accepted),
                () = lifecycle.draining() => None,
            };
            Some(match accepted {
                Some(accepted) => (vec![accepted], Some(listener)),
                None => (last(listener, permits).collect(), None),
            })
        }
    });
    let opening = accepting.flat_map(stream::iter).map(move |Accepted { stream, permit, .. }| {
        let (acceptor, ending) = (acceptor.clone(), ending.clone());
        async move {
            let overdue = async {
                ending.draining().await;
                tokio::time::sleep(LINGER).await;
            };
            // In a task of its own: agreeing on keys takes more of a core than whoever accepts has.
            let opening = AbortOnDropHandle::new(tokio::spawn(async move { acceptor.open(stream).await }));
            let connection = tokio::select! {
                connection = opening => connection.ok()??,
                () = overdue => return None,
            };
            Some(Connection { _permit: Some(permit), ..connection })
        }
    });
    // One client that is slow to begin keeps nobody waiting.
    opening.buffer_unordered(most).filter_map(std::future::ready)
}

/// A connection from or to another process, plain or with TLS.
pub(crate) type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A client's connection, of which the first bytes were looked at.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    info: Info,
    /// What was looked at and is to be read, from `read` on.
    begun: Vec<u8>,
    read: usize,
    speaks_http2: bool,
    /// Held to its end.
    _permit: Option<OwnedSemaphorePermit>,
}

/// Whose connection a call came by.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its ends.
    pub addresses: TcpConnectInfo,
    /// Who showed a certificate.
    pub identity: Identity,
}

/// The DNS names of the certificate that whoever made a call showed; none without TLS, if it showed none, or if it is a gateway's
/// call for its client.
#[derive(Clone, Debug)]
pub struct Identity(pub Arc<[String]>);

impl Connection {
    /// Whether the client began as HTTP/2 does.
    pub fn speaks_http2(&self) -> bool {
        self.speaks_http2
    }

    /// Reads as many bytes as tell whether it is HTTP/2, or all that the client sends.
    async fn begin(&mut self) -> io::Result<()> {
        let mut begun = Vec::with_capacity(PREFACE.len());
        while begun.len() < PREFACE.len() && PREFACE.starts_with(&begun) {
            let rest = (PREFACE.len() - begun.len()) as u64;
            if (&mut self.io).take(rest).read_buf(&mut begun).await? == 0 {
                break;
            }
        }
        self.speaks_http2 = begun == PREFACE;
        self.begun = begun;
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Info;

    fn connect_info(&self) -> Info {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read < self.begun.len() {
            let count = (self.begun.len() - self.read).min(buffer.remaining());
            buffer.put_slice(&self.begun[self.read..self.read + count]);
            self.read += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
