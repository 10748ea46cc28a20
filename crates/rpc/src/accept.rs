//! Taking connections, to the last one that a client believes it has.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::net::{TcpListener, TcpStream};

use crate::Lifecycle;

/// The next connection, and whose it is.
pub async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
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

/// Those that the system let in and nobody took yet; the port is shut after them.
pub fn last(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
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

/// Every connection until the process drains.
pub(crate) fn until_draining(listener: TcpListener, lifecycle: Lifecycle) -> impl Stream<Item = TcpStream> {
    let accepting = stream::unfold(Some(listener), move |listener| {
        let lifecycle = lifecycle.clone();
        async move {
            let listener = listener?;
            let accepted = tokio::select! {
                (stream, _) = next(&listener) => Some(stream),
                () = lifecycle.draining() => None,
            };
            Some(match accepted {
                Some(stream) => (vec![stream], Some(listener)),
                None => (last(listener).map(|(stream, _)| stream).collect(), None),
            })
        }
    });
    accepting.flat_map(stream::iter)
}
