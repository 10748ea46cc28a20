//! What is bound, what surrounds the routes, and serving them.

use std::any::Any;
use std::net::SocketAddr;

use axum::body::Body;
use axum::response::IntoResponse as _;
use rpc::admin::AdminServer;
use rpc::http::Ending;
use rpc::lifecycle::Lifecycle;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::RequestDecompressionLayer;

use crate::answer::Answers;
use crate::call::{self, Calls};
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
        tracing::info!(address = %listener.local_addr()?, "serving");
        lifecycle.set_serving();
        let ending = Ending { lifecycle, lame_duck: config.lame_duck, drain: config.drain };
        rpc::http::serve(listener, tls, &config.limits.of_connections(), ending, service).await;
        Ok(())
    }
}

/// A panic ends its request and nothing else. Its message may hold anything, so it is not repeated here.
fn answer_panic(_: Box<dyn Any + Send>) -> http::Response<Body> {
    tracing::error!("a request panicked");
    Refusal::panicked().into_response()
}
