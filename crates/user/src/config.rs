//! What user.rpc is told at start.

use std::path::{Path, PathBuf};

use redact::Secret;
use serde::{Deserialize, Serialize};

use crate::error::ServeError;

/// The configuration of user.rpc.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses and limits of the server.
    #[serde(default)]
    pub server: rpc::server::Config,
    /// Where the accounts are kept: `sqlite:PATH` or `postgres://USER@HOST/NAME`.
    pub database: db::Url,
    /// How many connections to it.
    #[serde(default)]
    pub pool: db::PoolConfig,
    /// Keys, tokens, passwords and the limits on logging in.
    #[serde(default)]
    pub auth: auth::Config,
    /// Whether the first user to register becomes an admin: convenient on one machine, open to anyone in a cluster.
    #[serde(default)]
    pub first_user_is_admin: bool,
    /// The directory of a mounted Secret that names the admin, whose account is made at start if it is absent: its
    /// files `mobile` and `password`.
    #[serde(default)]
    pub admin: Option<PathBuf>,
}

/// The account that [`Config::admin`] names.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    /// The number the admin logs in with.
    pub(crate) mobile: Secret<String>,
    /// The admin's first password; once the account is there it is not used again.
    pub(crate) password: Secret<String>,
}

impl Admin {
    pub(crate) fn read(dir: &Path) -> Result<Self, ServeError> {
        let line = |name| {
            let path = dir.join(name);
            let text = std::fs::read_to_string(&path).map_err(|source| ServeError::ReadAdmin { path, source })?;
            Ok::<_, ServeError>(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
        };
        Ok(Self { mobile: line("mobile")?, password: line("password")? })
    }
}
