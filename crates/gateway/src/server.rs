//! A gateway's ports, and serving at them.

use std::net::SocketAddr;

use rpc::admin::AdminServer;
use rpc::http::Ending;
use rpc::lifecycle::Lifecycle;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use crate::answer::Answers;
use crate::{Api, Config, Error};

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
        let answers = Answers::new(api, channel, &config, lifecycle.clone())?;
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
