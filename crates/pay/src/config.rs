//! What pay.rpc is told at start.

use domain::recovery;
use serde::{Deserialize, Serialize};

/// The configuration of pay.rpc.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses and limits of the server.
    #[serde(default)]
    pub server: rpc::server::Config,
    /// Where the payments are kept: `sqlite:PATH` or `postgres://USER@HOST/NAME`.
    pub database: db::Url,
    /// How many connections to it.
    #[serde(default)]
    pub pool: db::PoolConfig,
    /// Where the keys are.
    #[serde(default)]
    pub auth: auth::Config,
    /// Where order.rpc is.
    pub order: rpc::client::Config,
    /// Who settles payments: the name of the secret, `private/NAME.secret` among the keys, that signs callbacks.
    #[serde(default = "sandbox")]
    pub provider: String,
    /// Whether an admin's own token settles a payment as well as the provider's signature, as it does for the reference's
    /// clients: for a mall on one machine.
    #[serde(default)]
    pub admin_settles: bool,
    /// How settled payments of which order.rpc does not know yet are looked for.
    #[serde(default)]
    pub recovery: recovery::Config,
}

fn sandbox() -> String {
    "sandbox".to_owned()
}
