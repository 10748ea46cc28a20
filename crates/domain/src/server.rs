//! The server around a domain's handlers: its ports, and the access rules before every method.

use std::convert::Infallible;
use std::net::SocketAddr;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use rpc::Lifecycle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::LayerExt as _;
use tower::Service;

use crate::recovery::Unfinished;
use crate::{Error, recovery};

/// A service that has its ports and is not yet ready.
pub struct Server {
    server: rpc::Server,
    access: auth::Layer,
    lifecycle: Lifecycle,
    recovery: Option<BoxFuture<'static, ()>>,
}

impl Server {
    /// Takes the ports of the service `name`, such as `user.rpc`, and reads the keys and the rules of its gRPC `service`.
    pub async fn bind(
        config: rpc::server::Config,
        auth: &auth::Config,
        name: &str,
        service: &str,
        lifecycle: Lifecycle,
    ) -> Result<Self, Error> {
        let server = rpc::Server::bind(config, lifecycle.clone()).await?;
        let (verifier, rules) = (auth::Verifier::load(auth, name)?, auth::Rules::of(&[service])?);
        let access = auth::Layer::with_certificates(verifier, rules, |extensions| {
            extensions.get::<rpc::Identity>().map_or(&[], |identity| &identity.0)
        });
        Ok(Self { server, access, lifecycle, recovery: None })
    }

    /// Finishes what is unfinished for as long as it serves.
    pub fn recovering(self, unfinished: impl Unfinished, config: recovery::Config) -> Self {
        let recovery = recovery::run(unfinished, config, self.lifecycle.clone());
        Self { recovery: Some(recovery.boxed()), ..self }
    }

    /// Where gRPC is served.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        Ok(self.server.address()?)
    }

    /// Serves what `make` makes with the most bytes of a message, behind the access rules, until the process has drained.
    pub async fn serve<S>(self, make: impl FnOnce(usize) -> S) -> Result<(), Error>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let Self { server, access, lifecycle: _, recovery } = self;
        // Eight kilobytes, which the futures of all callers would have room for.
        let mut serving = Box::pin(server.serve(|most| access.named_layer(make(most))));
        if let Some(recovery) = recovery {
            tokio::select! {
                served = &mut serving => return Ok(served?),
                // It ends when the process is told to stop, and calls still have their time.
                () = recovery => {}
            }
        }
        Ok(serving.await?)
    }
}
