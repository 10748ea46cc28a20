//! What product.rpc is told at start.

use serde::{Deserialize, Serialize};

pub use crate::cache::CacheConfig;

/// The configuration of product.rpc.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses and limits of the server.
    #[serde(default)]
    pub server: rpc::server::Config,
    /// Where the products are kept: `sqlite:PATH` or `postgres://USER@HOST/NAME`.
    pub database: db::Url,
    /// How many connections to it.
    #[serde(default)]
    pub pool: db::PoolConfig,
    /// Where the keys are.
    #[serde(default)]
    pub auth: auth::Config,
    /// How long products are kept in memory, for those who look around.
    #[serde(default)]
    pub cache: CacheConfig,
    /// Whether a shop that has no products at all gets a few at start, so that there is something to buy.
    #[serde(default)]
    pub sample_products: bool,
}
