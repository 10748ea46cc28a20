//! The `auth` section of a service's configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{limit, password};

/// Where the keys are, and how long and how much is remembered.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Directory of the keys, as `mall keys` makes it. Default `.mall/keys`.
    pub keys: PathBuf,
    /// How long a user's token is good for, whole seconds. Default 86400 s.
    #[serde(with = "humantime_serde")]
    pub user_token: Duration,
    /// How long a service's token is good for, whole seconds. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub service_token: Duration,
    /// How many verified tokens are remembered, about 200 bytes each. Default 10000.
    pub remembered_tokens: u64,
    /// The hashing of passwords; only user.rpc does it.
    pub password: password::Config,
    /// How often one may try to log in; only user.rpc asks.
    pub limit: limit::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: PathBuf::from(".mall/keys"),
            user_token: Duration::from_secs(86_400),
            service_token: Duration::from_secs(60),
            remembered_tokens: 10_000,
            password: password::Config::default(),
            limit: limit::Config::default(),
        }
    }
}
