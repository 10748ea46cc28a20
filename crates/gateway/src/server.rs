//! Listening, accepting, and the bounded end.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

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
    tls: Option<rpc::tls::Acceptor>,
    admin: AdminServer,
    answers: Answers,
}

impl Gateway {
    /// Takes both addresses, so that a taken port is known before anything else is begun. The upstream may be down.
    pub async fn bind(api: Api, config: Config, lifecycle: Lifecycle) -> Result<Self, Error> {
        let channel = rpc::client::connect(&config.upstream)?;
        let protocols = [rpc::tls::H2, rpc::tls::HTTP1];
        let tls = config.tls.as_ref().map(|tls| rpc::tls::Acceptor::new(tls, &protocols)).transpose();
        let tls = tls.map_err(rpc::Error::from)?;
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
        Ok(Self { config, lifecycle, listener, tls, admin, answers })
    }

    /// Where REST is served, with the port that the system chose if that was left to it.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        Ok(self.listener.local_addr()?)
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Serves until the process is told to stop, for [`Config::lame_duck`] more, and then what it has for at most
    /// [`Config::drain`].
    pub async fn serve(self) -> Result<(), Error> {
        let Self { config, lifecycle, listener, tls, admin: _admin, answers } = self;
        let service = ServiceBuilder::new()
            .layer(telemetry::http::ServerLayer)
            .layer(CompressionLayer::new().compress_when(SizeAbove::new(1024)))
            .service_fn(move |request| answers.clone().answer(request));
        let closing = CancellationToken::new();
        let connections = Connections::new(&config.limits, tls, closing.clone());
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
        // A lame duck has lingered.
        let linger = LINGER.saturating_sub(config.lame_duck).min(config.drain);
        let mut end = std::pin::pin!(async {
            lifecycle.lame_duck(config.lame_duck).await;
            sleep(linger).await;
        });
        loop {
            tokio::select! {
                () = &mut end => break,
                Some(_) = tasks.join_next() => {}
                accepted = accept(&listener, &permits) => start(&mut tasks, accepted),
            }
        }
        for (stream, peer) in rpc::accept::last(listener) {
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { break };
            start(&mut tasks, Accepted { stream, peer, permit });
        }
        closing.cancel();
        let deadline = Instant::now() + config.drain.saturating_sub(linger);
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

/// The next connection, once one may be had.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> Accepted {
    // Nobody closes the semaphore.
    let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return std::future::pending().await };
    let (stream, peer) = rpc::accept::next(listener).await;
    Accepted { stream, peer, permit }
}

/// A panic ends its request and nothing else. Its message may hold anything, so it is not repeated here.
fn answer_panic(_: Box<dyn Any + Send>) -> http::Response<Body> {
    tracing::error!("a request panicked");
    Refusal::panicked().into_response()
}
