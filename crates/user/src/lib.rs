//! user.rpc: accounts, logging in, profiles.

mod config;
mod convert;
mod error;
mod model;
mod schema;
mod service;
mod store;

use proto::user::v1::user_service_server::{SERVICE_NAME, UserServiceServer};
use rpc::Lifecycle;

use config::Admin;
pub use config::Config;
pub use error::ServeError;
pub use store::MIGRATIONS;

/// This service's name, in traces and as the audience of other services' tokens.
pub const NAME: &str = "user.rpc";

/// A user service that has its ports and is not yet ready.
pub struct Server {
    server: domain::Server,
    service: service::Users,
}

impl Server {
    /// Takes the ports and reads the keys; waits for the database.
    pub async fn bind(config: Config, lifecycle: Lifecycle) -> Result<Self, ServeError> {
        let server = domain::Server::bind(config.server, &config.auth, NAME, SERVICE_NAME, lifecycle).await?;
        let pool = db::Pool::new(&config.database, &config.pool)?;
        let store = store::Store::new(pool.clone(), config.first_user_is_admin);
        let service = service::Users::new(store, &config.auth)?;
        domain::schema::wait(&pool, &MIGRATIONS, NAME).await?;
        if let Some(dir) = &config.admin {
            service.ensure_admin(Admin::read(dir)?).await?;
        }
        Ok(Self { server, service })
    }

    /// Where gRPC is served.
    pub fn address(&self) -> Result<std::net::SocketAddr, ServeError> {
        Ok(self.server.address()?)
    }

    /// Serves until the process drains.
    pub async fn serve(self) -> Result<(), ServeError> {
        let users = UserServiceServer::new(self.service);
        Ok(self.server.serve(|most| users.max_decoding_message_size(most)).await?)
    }
}

/// Serves user.rpc until the process drains.
pub async fn serve(config: Config, lifecycle: Lifecycle) -> Result<(), ServeError> {
    Server::bind(config, lifecycle).await?.serve().await
}
