//! The `pool` section of a service's configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many connections a service keeps, and how long a request waits for one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Connections at most; 8 unless told.
    pub size: usize,
    /// How long a request waits for a connection before it is told that the service is unavailable; 2s unless told.
    ///
    /// A writer on SQLite waits for half of this for the other writers, of its own process and of others.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { size: 8, wait: Duration::from_secs(2) }
    }
}
