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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = serde_json::to_string(&Config::default()).unwrap();
        let read: Config = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert!(text.contains(r#""user_token":"1day""#), "{text}");
    }

    #[test]
    fn what_is_not_written_is_as_documented() {
        let config: Config = serde_json::from_str(r#"{ "keys": "/k", "limit": { "mobile_period": "1m" } }"#).unwrap();
        assert_eq!((config.user_token.as_secs(), config.service_token.as_secs()), (86_400, 60));
        assert_eq!((config.limit.mobile_tries.get(), config.limit.mobile_period.as_secs()), (5, 60));
        assert!(config.password.threads.get() > 0 && config.password.queue == 256);
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, word) in [
            (r#"{ "key": "/k" }"#, "key"),
            (r#"{ "password": { "memory": 1 } }"#, "memory"),
            (r#"{ "password": { "threads": 0 } }"#, "nonzero"),
            (r#"{ "limit": { "mobile_tries": 0 } }"#, "nonzero"),
            (r#"{ "user_token": "soon" }"#, "soon"),
        ] {
            let error = serde_json::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
