//! pay.rpc: payments of orders, settled by a provider.

mod config;
mod convert;
mod error;
mod model;
mod orders;
mod schema;
mod service;
mod store;
mod teller;

use auth::{CallbackKey, ServiceSigner};
pub use config::Config;
use proto::pay::v1::pay_service_server::{PayServiceServer, SERVICE_NAME};
use rpc::Lifecycle;
pub use store::MIGRATIONS;

/// This service's name, in traces and as the audience of other services' tokens.
pub const NAME: &str = "pay.rpc";

/// A payment service that has its ports and is not yet ready.
pub struct Server {
    server: domain::Server,
    service: service::Payments,
}

impl Server {
    /// Takes the ports and reads the keys; waits for the database; order.rpc is connected to when it is
    /// first needed.
    pub async fn bind(config: Config, lifecycle: Lifecycle) -> Result<Self, domain::Error> {
        let server = domain::Server::bind(config.server, &config.auth, NAME, SERVICE_NAME, lifecycle).await?;
        let pool = db::Pool::new(&config.database, &config.pool)?;
        let store = store::Store::new(pool.clone());
        let orders = orders::Orders::new(&config.order, ServiceSigner::load(&config.auth, NAME)?)?;
        let teller = teller::Teller::new(store.clone(), orders.clone());
        let provider = CallbackKey::load(&config.auth, &config.provider)?;
        let service = service::Payments {
            store,
            orders,
            teller: teller.clone(),
            provider,
            admin_settles: config.admin_settles,
            recovery: config.recovery.clone(),
        }
        .counting();
        domain::schema::wait(&pool, &MIGRATIONS, NAME).await?;
        Ok(Self { server: server.recovering(teller, config.recovery), service })
    }

    /// Where gRPC is served.
    pub fn address(&self) -> Result<std::net::SocketAddr, domain::Error> {
        self.server.address()
    }

    /// Serves, and finishes what is unfinished, until the process drains.
    pub async fn serve(self) -> Result<(), domain::Error> {
        let payments = PayServiceServer::new(self.service);
        self.server.serve(|most| payments.max_decoding_message_size(most)).await
    }
}

/// Serves pay.rpc until the process drains.
pub async fn serve(config: Config, lifecycle: Lifecycle) -> Result<(), domain::Error> {
    Server::bind(config, lifecycle).await?.serve().await
}
