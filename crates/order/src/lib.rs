//! order.rpc: orders, from the wish to buy to the paid and closed order.

mod config;
mod convert;
mod error;
mod model;
mod products;
mod saga;
mod schema;
mod service;
mod store;

pub use config::Config;
use proto::order::v1::order_service_server::{OrderServiceServer, SERVICE_NAME};
use rpc::Lifecycle;
pub use store::MIGRATIONS;

/// This service's name, in traces and as the audience of other services' tokens.
pub const NAME: &str = "order.rpc";

/// An order service that has its ports and is not yet ready.
pub struct Server {
    server: domain::Server,
    service: service::Orders,
}

impl Server {
    /// Takes the ports and reads the keys; waits for the database; product.rpc is connected to when it is
    /// first needed.
    pub async fn bind(config: Config, lifecycle: Lifecycle) -> Result<Self, domain::Error> {
        let server = domain::Server::bind(config.server, &config.auth, NAME, SERVICE_NAME, lifecycle).await?;
        let pool = db::Pool::new(&config.database, &config.pool)?;
        let store = store::Store::new(pool.clone());
        let products = products::Products::new(&config.product, auth::ServiceSigner::load(&config.auth, NAME)?)?;
        let saga = saga::Saga::new(store.clone(), products, config.unpaid, config.recovery.clone());
        let service = service::Orders::new(store, saga.clone());
        domain::schema::wait(&pool, &MIGRATIONS, NAME).await?;
        Ok(Self { server: server.recovering(saga, config.recovery), service })
    }

    /// Where gRPC is served.
    pub fn address(&self) -> Result<std::net::SocketAddr, domain::Error> {
        self.server.address()
    }

    /// Serves, and finishes what is unfinished, until the process drains.
    pub async fn serve(self) -> Result<(), domain::Error> {
        let orders = OrderServiceServer::new(self.service);
        self.server.serve(|most| orders.max_decoding_message_size(most)).await
    }
}

/// Serves order.rpc until the process drains.
pub async fn serve(config: Config, lifecycle: Lifecycle) -> Result<(), domain::Error> {
    Server::bind(config, lifecycle).await?.serve().await
}
