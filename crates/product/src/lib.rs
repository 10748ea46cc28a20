//! product.rpc: what is for sale, and how many units are left.

mod cache;
mod config;
mod convert;
mod error;
mod model;
mod sample;
mod schema;
mod service;
mod store;

pub use config::{CacheConfig, Config};
use proto::product::v1::product_service_server::{ProductServiceServer, SERVICE_NAME};
use rpc::Lifecycle;
pub use store::MIGRATIONS;

/// This service's name, in traces and as the audience of other services' tokens.
pub const NAME: &str = "product.rpc";

/// A product service that has its ports and is not yet ready.
pub struct Server {
    server: domain::Server,
    service: service::Products,
}

impl Server {
    /// Takes the ports and reads the keys; waits for the database.
    pub async fn bind(config: Config, lifecycle: Lifecycle) -> Result<Self, domain::Error> {
        let server = domain::Server::bind(config.server, &config.auth, NAME, SERVICE_NAME, lifecycle).await?;
        let pool = db::Pool::new(&config.database, &config.pool)?;
        let store = store::Store::new(pool.clone());
        domain::schema::wait(&pool, &MIGRATIONS, NAME).await?;
        if config.sample_products {
            telemetry::untraced(sample::offer(&store)).await?;
        }
        Ok(Self { server, service: service::Products::new(cache::Cache::new(store, &config.cache)) })
    }

    /// Where gRPC is served.
    pub fn address(&self) -> Result<std::net::SocketAddr, domain::Error> {
        self.server.address()
    }

    /// Serves until the process drains.
    pub async fn serve(self) -> Result<(), domain::Error> {
        let products = ProductServiceServer::new(self.service);
        self.server.serve(|most| products.max_decoding_message_size(most)).await
    }
}

/// Serves product.rpc until the process drains.
pub async fn serve(config: Config, lifecycle: Lifecycle) -> Result<(), domain::Error> {
    Server::bind(config, lifecycle).await?.serve().await
}
