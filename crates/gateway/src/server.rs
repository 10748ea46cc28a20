//! Listening, accepting, and the bounded end.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use rpc::admin::AdminServer;
use rpc::lifecycle::Lifecycle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::RequestDecompressionLayer;

use crate::answer::Answers;
use crate::call::{self, Calls};
use crate::connection::{Connections, LINGER};
use crate::refusal::Refusal;
use crate::{Api, Config, Error, cors, docs};

/// A gateway that listens and is not yet ready.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    lifecycle: Lifecycle,
    listener: TcpListener,
    admin: AdminServer,
    answers: Answers,
}

impl Gateway {
    /// Takes both addresses, so that a taken port is known before anything else is begun. The upstream may be down.
    pub async fn bind(api: Api, config: Config, lifecycle: Lifecycle) -> Result<Self, Error> {
        let channel = rpc::client::connect(&config.upstream)?;
        let listener = rpc::listen(config.listen).await?;
        let admin = rpc::admin::serve(config.admin, lifecycle.clone()).await?;
        let router = api
            .router(channel, Calls::new(&config))
            .merge(docs::router(api))
            .method_not_allowed_fallback(call::wrong_method)
            .fallback(async || Refusal::no_route())
            .layer(
                ServiceBuilder::new()
                    .option_layer(cors::layer(&config.cors)?)
                    .layer(CatchPanicLayer::custom(answer_panic))
                    .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true)),
            );
        let answers = Answers::new(router, &config.limits, lifecycle.clone());
        Ok(Self { config, lifecycle, listener, admin, answers })
    }

    /// Where REST is served, with the port that the system chose if that was left to it.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        Ok(self.listener.local_addr()?)
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Serves until the process drains, and then for at most [`Config::drain`].
    pub async fn serve(self) -> Result<(), Error> {
        let Self { config, lifecycle, listener, admin: _admin, answers } = self;
        let service = ServiceBuilder::new()
            .layer(telemetry::http::ServerLayer)
            .layer(CompressionLayer::new().compress_when(SizeAbove::new(1024)))
            .service_fn(move |request| answers.clone().answer(request));
        let closing = CancellationToken::new();
        let connections = Connections::new(&config.limits, closing.clone());
        let permits = Arc::new(Semaphore::new(config.limits.connections.min(Semaphore::MAX_PERMITS)));
        let mut tasks = JoinSet::new();
        let start = |tasks: &mut JoinSet<()>, accepted: Accepted| {
            let serving = connections.clone().serve(accepted.stream, accepted.peer, service.clone());
            tasks.spawn(async move {
                serving.await;
                drop(accepted.permit);
            });
        };

        tracing::info!(address = %listener.local_addr()?, "serving");
        lifecycle.set_serving();
        let mut end = std::pin::pin!(async {
            lifecycle.draining().await;
            sleep(LINGER.min(config.drain)).await;
        });
        loop {
            tokio::select! {
                () = &mut end => break,
                Some(_) = tasks.join_next() => {}
                accepted = accept(&listener, &permits) => start(&mut tasks, accepted),
            }
        }
        for accepted in queued(listener, &permits) {
            start(&mut tasks, accepted);
        }
        closing.cancel();
        let deadline = Instant::now() + config.drain.saturating_sub(LINGER);
        while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
        if !tasks.is_empty() {
            tracing::warn!(after = ?config.drain, "requests were still running at the end of the drain and were cut off");
        }
        Ok(())
    }
}

struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Those that the system let in before the port was shut, which it now is.
fn queued(listener: TcpListener, permits: &Arc<Semaphore>) -> Vec<Accepted> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let accept = || {
        let permit = Arc::clone(permits).try_acquire_owned().ok()?;
        let (stream, peer) = listener.accept().ok()?;
        stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).ok()?;
        Some(Accepted { stream: TcpStream::from_std(stream).ok()?, peer, permit })
    };
    std::iter::from_fn(accept).collect()
}

/// The next connection, once one may be had.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> Accepted {
    // Nobody closes the semaphore.
    let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // An answer is written at once or not at all; without it, the last packet may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                return Accepted { stream, peer, permit };
            }
            Err(error) => {
                // Often the process has no file descriptor left; only time brings one.
                tracing::warn!(error = &error as &dyn std::error::Error, "accept a connection");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A panic ends its request and nothing else. Its message may hold anything, so it is not repeated here.
fn answer_panic(_: Box<dyn Any + Send>) -> http::Response<Body> {
    tracing::error!("a request panicked");
    Refusal::panicked().into_response()
}
