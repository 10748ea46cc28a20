//! A database's URL, checked when it is read and never shown with its password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tls::{self, Mode};

/// Which database to use: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/NAME`.
///
/// PostgreSQL takes libpq's parameters `sslmode` (`disable`, `prefer`, `require`, `verify-ca`, `verify-full`; `prefer`
/// unless told), `sslrootcert`, `sslcert` and `sslkey` (paths of PEM files), and those of `tokio_postgres::Config`.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(pub(crate) Target);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<Postgres>),
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Postgres {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: tls::Options,
    /// The URL without its secrets.
    masked: String,
}

/// What is wrong with a database URL.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It names neither database. The URL is not repeated, since it may hold a password.
    #[error("a database URL is sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/NAME")]
    Scheme,
    /// Each connection would have its own empty database.
    #[error("a database in memory cannot be shared by several connections: use sqlite:PATH with the path of a file")]
    Memory,
    /// SQLite's own URIs and parameters are not for the user to choose.
    #[error("sqlite:PATH takes a path alone, without `file:` and without parameters")]
    SqliteParameters,
    /// `sslmode` has an unknown value.
    #[error("sslmode is one of disable, prefer, require, verify-ca, verify-full")]
    SslMode,
    /// A client certificate without its key, or the other way round.
    #[error("sslcert and sslkey are given together or not at all")]
    SslCert,
    /// Some other part of the URL.
    #[error("not a PostgreSQL URL: use postgres://USER:PASSWORD@HOST:PORT/NAME, special characters as %XX")]
    Postgres(#[source] tokio_postgres::Error),
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            // sqlite:///PATH is how others write an absolute path.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(UrlError::Scheme);
            }
            if path.contains(":memory:") {
                return Err(UrlError::Memory);
            }
            if path.starts_with("file:") || path.contains('?') {
                return Err(UrlError::SqliteParameters);
            }
            return Ok(Self(Target::Sqlite(path.into())));
        }
        match text.split_once("://") {
            Some(("postgres" | "postgresql", rest)) => Ok(Self(Target::Postgres(Box::new(postgres(rest)?)))),
            _ => Err(UrlError::Scheme),
        }
    }
}

/// Takes our own parameters out of the URL, since tokio-postgres refuses what it does not know.
fn postgres(rest: &str) -> Result<Postgres, UrlError> {
    let (base, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let mut masked = mask_password(base);
    let mut theirs = Vec::new();
    let mut tls = tls::Options::default();
    for (index, parameter) in parameters.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let path = || Some(PathBuf::from(percent_decode_str(value).decode_utf8_lossy().as_ref()));
        match key {
            "sslmode" => tls.mode = Mode::parse(value).ok_or(UrlError::SslMode)?,
            "sslrootcert" => tls.root = path(),
            "sslcert" => tls.certificate = path(),
            "sslkey" => tls.key = path(),
            _ => theirs.push(parameter),
        }
        let value = if key == "password" { "***" } else { value };
        masked.push_str(&format!("{}{key}={value}", if index == 0 { '?' } else { '&' }));
    }
    if tls.certificate.is_some() != tls.key.is_some() {
        return Err(UrlError::SslCert);
    }
    let url = format!("postgres://{base}?{}", theirs.join("&"));
    let mut config = tokio_postgres::Config::from_str(&url).map_err(UrlError::Postgres)?;
    config.ssl_mode(tls.mode.negotiated());
    Ok(Postgres { config, tls, masked: format!("postgres://{masked}") })
}

fn mask_password(base: &str) -> String {
    let Some((credentials, host)) = base.rsplit_once('@') else { return base.to_owned() };
    match credentials.split_once(':') {
        Some((user, _)) => format!("{user}:***@{host}"),
        None => base.to_owned(),
    }
}

impl Url {
    /// The URL of the SQLite file at `path`.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self(Target::Sqlite(path.as_ref().to_owned()))
    }

    /// The name of the database, for spans and metrics: of a file its last part.
    pub(crate) fn namespace(&self) -> Arc<str> {
        match &self.0 {
            Target::Sqlite(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into(),
            Target::Postgres(postgres) => {
                let config = &postgres.config;
                config.get_dbname().or(config.get_user()).unwrap_or_default().into()
            }
        }
    }

    /// The host and the port of the server, the first where the URL names several.
    pub(crate) fn server(&self) -> Option<(Arc<str>, u16)> {
        let Target::Postgres(postgres) = &self.0 else { return None };
        let host = match postgres.config.get_hosts().first()? {
            tokio_postgres::config::Host::Tcp(host) => host.as_str().into(),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => path.to_string_lossy().into(),
        };
        Some((host, postgres.config.get_ports().first().copied().unwrap_or(5432)))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Target::Postgres(postgres) => f.write_str(&postgres.masked),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Url, UrlError> {
        text.parse()
    }

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://mall:secret@db:5433/user", "postgres://mall:***@db:5433/user"),
            ("postgresql://mall:secret@db/user?sslmode=require", "postgres://mall:***@db/user?sslmode=require"),
            ("postgres://mall:se%40cr:et@a,b/user", "postgres://mall:***@a,b/user"),
            (
                "postgres://mall@db/user?connect_timeout=3&password=secret",
                "postgres://mall@db/user?connect_timeout=3&password=***",
            ),
            ("sqlite:.mall/user.db", "sqlite:.mall/user.db"),
            ("sqlite:///var/user.db", "sqlite:/var/user.db"),
        ] {
            let url = parse(url).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("Url({shown})"));
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
    }

    #[test]
    fn a_wrong_url_is_an_error_that_shows_no_secret() {
        for url in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:file:x.db",
            "sqlite:x.db?mode=memory",
            "mysql://mall:secret@db/user",
            "mall:secret@db",
            "postgres://mall:secret@db:port/user",
            "postgres://mall:secret@db/user?sslmode=maybe",
            "postgres://mall:secret@db/user?sslcert=x.pem",
            "postgres://mall:secret@db/user?colour=secret",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn spans_name_the_database_and_its_server() {
        let url = parse("postgres://mall@db:5433/user?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem").unwrap();
        assert_eq!((&*url.namespace(), url.server()), ("user", Some(("db".into(), 5433))));
        let Target::Postgres(postgres) = &url.0 else { panic!("{url}") };
        assert_eq!(
            (postgres.tls.mode, postgres.tls.root.as_deref()),
            (Mode::VerifyFull, Some(Path::new("/etc/ca.pem")))
        );
        let url = parse("sqlite:.mall/user.db").unwrap();
        assert_eq!((&*url.namespace(), url.server()), ("user.db", None));
    }
}
