//! The `pool` section of a service's configuration.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many connections a service keeps, and how long a request waits for one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Connections at most; 8 unless told.
    pub size: NonZeroUsize,
    /// How long a request waits for a connection before it is told that the service is unavailable; 1s unless told.
    /// Less than a call may take, or a full pool would look like a call that took too long.
    ///
    /// A writer on SQLite waits for half of this for the other writers, of its own process and of others.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// How long PostgreSQL works on one statement, and waits for the next one of a transaction, before it ends that itself;
    /// 30s unless told. A statement is ended when its call is over; this is for one whose service is gone or hangs.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            size: const { NonZeroUsize::new(8).unwrap() },
            wait: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(30),
        }
    }
}
