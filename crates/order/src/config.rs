//! What order.rpc is told at start.

use std::time::Duration;

use domain::recovery;
use serde::{Deserialize, Serialize};

/// The configuration of order.rpc.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses and limits of the server.
    #[serde(default)]
    pub server: rpc::server::Config,
    /// Where the orders are kept: `sqlite:PATH` or `postgres://USER@HOST/NAME`.
    pub database: db::Url,
    /// How many connections to it.
    #[serde(default)]
    pub pool: db::PoolConfig,
    /// Where the keys are.
    #[serde(default)]
    pub auth: auth::Config,
    /// Where product.rpc is.
    pub product: rpc::client::Config,
    /// How long an order may be unpaid; then it is cancelled and its units are given back. 30 minutes unless told.
    #[serde(default = "half_an_hour", with = "humantime_serde")]
    pub unpaid: Duration,
    /// How orders that a crash left between two steps are looked for.
    #[serde(default)]
    pub recovery: recovery::Config,
}

fn half_an_hour() -> Duration {
    Duration::from_secs(30 * 60)
}
