//! The part of a configuration that is a service's own, and what can be done with it.

use std::fmt::Debug;
use std::future::ready;
use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use gateway::Api;
use rpc::Lifecycle;
use serde::de::DeserializeOwned;

use crate::config::{self, Document};

/// A service's own configuration, from which it can be run.
pub(crate) trait Section: Debug + Send {
    /// Runs the service until the process drains.
    fn serve(self: Box<Self>, lifecycle: Lifecycle) -> BoxFuture<'static, anyhow::Result<()>>;

    /// Brings the service's database to the newest schema, if it has one.
    fn migrate(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        ready(Ok(())).boxed()
    }

    /// Every address it listens on, with the key that sets it: the main one first, the admin one last.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)>;

    /// How long calls are served and finished after the word to stop.
    fn stopping(&self) -> Duration;

    /// Every key and its value, secrets masked.
    fn show(&self) -> serde_json::Result<serde_json::Value>;
}

/// Reads the section of a domain.
pub(super) fn domain<C: Section + DeserializeOwned + 'static>(
    document: &Document,
) -> Result<Box<dyn Section>, config::Error> {
    Ok(Box::new(document.service::<C>()?))
}

/// Makes a section of each domain's configuration.
macro_rules! domains {
    ($($domain:ident),+) => {
        $(impl Section for $domain::Config {
            fn serve(self: Box<Self>, lifecycle: Lifecycle) -> BoxFuture<'static, anyhow::Result<()>> {
                async move { Ok($domain::serve(*self, lifecycle).await?) }.boxed()
            }

            fn migrate(&self) -> BoxFuture<'_, anyhow::Result<()>> {
                async { Ok(db::Pool::new(&self.database, &self.pool)?.migrate($domain::MIGRATIONS).await?) }.boxed()
            }

            fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
                vec![("server.listen", self.server.listen), ("server.admin", self.server.admin)]
            }

            fn stopping(&self) -> Duration {
                self.server.lame_duck.saturating_add(self.server.drain)
            }

            fn show(&self) -> serde_json::Result<serde_json::Value> {
                serde_json::to_value(self)
            }
        })+
    };
}

domains!(user, product, order, pay);

#[derive(Debug)]
struct Gateway {
    api: Api,
    config: gateway::Config,
}

/// Reads the section of a REST API.
pub(super) fn gateway(api: Api, document: &Document) -> Result<Box<dyn Section>, config::Error> {
    Ok(Box::new(Gateway { api, config: document.service()? }))
}

impl Section for Gateway {
    fn serve(self: Box<Self>, lifecycle: Lifecycle) -> BoxFuture<'static, anyhow::Result<()>> {
        async move { Ok(gateway::serve(self.api, self.config, lifecycle).await?) }.boxed()
    }

    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![("listen", self.config.listen), ("admin", self.config.admin)]
    }

    fn stopping(&self) -> Duration {
        self.config.lame_duck.saturating_add(self.config.drain)
    }

    fn show(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(&self.config)
    }
}

/// Reads the section of the viewer.
#[cfg(feature = "viewer")]
pub(super) fn viewer(document: &Document) -> Result<Box<dyn Section>, config::Error> {
    Ok(Box::new(document.service::<viewer::Config>()?))
}

#[cfg(feature = "viewer")]
impl Section for viewer::Config {
    fn serve(self: Box<Self>, lifecycle: Lifecycle) -> BoxFuture<'static, anyhow::Result<()>> {
        async move { Ok(viewer::serve(*self, lifecycle).await?) }.boxed()
    }

    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![
            ("listen", self.listen),
            ("otlp_grpc", self.otlp_grpc),
            ("otlp_http", self.otlp_http),
            ("admin", self.admin),
        ]
    }

    fn stopping(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn show(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
