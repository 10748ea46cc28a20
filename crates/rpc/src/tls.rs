//! TLS from files: certificates, keys and authorities in PEM, read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::task::AbortOnDropHandle;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What HTTP/2 is called in TLS, and HTTP/1.
pub const H2: &[u8] = b"h2";
/// What HTTP/1 is called in TLS.
pub const HTTP1: &[u8] = b"http/1.1";

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("tls: read {path}")]
    Read { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("tls: {path} has no certificate")]
    Empty { path: PathBuf },
    #[error("tls: use {path}")]
    Use { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("tls: give both `certificate` and `key`, or neither")]
    Half,
}

/// How a server shows who it is, and asks who its clients are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The certificate, and those between it and its authority, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// The authorities of clients, in PEM: without it nobody is asked for a certificate, and with it nobody is served who has
    /// none of theirs.
    #[serde(default)]
    pub clients: Option<PathBuf>,
}

/// How a client knows a server, and shows who it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The authorities of servers, in PEM.
    pub authorities: PathBuf,
    /// The name that a server's certificate must have; the host of the target unless told.
    #[serde(default)]
    pub name: Option<String>,
    /// The client's own certificate, in PEM, for servers that ask for one.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// Takes connections of clients; clones share what was read.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<Files<ServerConfig>>);

impl Acceptor {
    /// Reads the files; `protocols` are those that are spoken, the best first.
    pub fn new(config: &Server, protocols: &[&[u8]]) -> Result<Self, Error> {
        let (config, protocols) = (config.clone(), protocols.iter().map(|name| name.to_vec()).collect::<Vec<_>>());
        let paths = [Some(&config.certificate), Some(&config.key), config.clients.as_ref()];
        let paths = paths.into_iter().flatten().cloned().collect();
        Ok(Self(Arc::new(Files::new(paths, move || server(&config, &protocols))?)))
    }

    /// Agrees with a client on keys.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        Ok(TlsAcceptor::from(self.0.current()).accept(stream).await?.into())
    }
}

/// Makes connections to servers; clones share what was read.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    files: Arc<Files<ClientConfig>>,
    name: ServerName<'static>,
}

impl Connector {
    /// Reads the files; servers are those of `host`, unless the configuration has another name.
    pub(crate) fn new(config: &Client, host: &str) -> Result<Self, Error> {
        let config = config.clone();
        let name = config.name.clone().unwrap_or_else(|| host.to_owned());
        let unusable = |source| Error::Use { path: config.authorities.clone(), source: Box::new(source) };
        let name = ServerName::try_from(name).map_err(unusable)?;
        let paths = [Some(&config.authorities), config.certificate.as_ref(), config.key.as_ref()];
        let paths = paths.into_iter().flatten().cloned().collect();
        Ok(Self { files: Arc::new(Files::new(paths, move || client(&config))?), name })
    }

    /// Agrees with a server on keys.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        Ok(TlsConnector::from(self.files.current()).connect(self.name.clone(), stream).await?.into())
    }
}

/// The DNS names of the certificate that the other end showed.
pub(crate) fn names(stream: &TlsStream<TcpStream>) -> Vec<String> {
    let (_, session) = stream.get_ref();
    let Some(certificate) = session.peer_certificates().and_then(<[_]>::first) else { return Vec::new() };
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    certificate.valid_dns_names().map(str::to_owned).collect()
}

fn server(config: &Server, protocols: &[Vec<u8>]) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable =
        |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| Error::Use { path: path.to_owned(), source };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| unusable(&config.certificate, source.into()))?;
    let builder = match &config.clients {
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(path)?), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|source| unusable(path, source.into()))?)
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = identity(&config.certificate, &config.key)?;
    let served = builder.with_single_cert(chain, key);
    let mut served = served.map_err(|source| unusable(&config.certificate, source.into()))?;
    served.alpn_protocols = protocols.to_vec();
    Ok(served)
}

fn client(config: &Client) -> Result<ClientConfig, Error> {
    let unusable = |path: &Path, source: rustls::Error| Error::Use { path: path.to_owned(), source: source.into() };
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| unusable(&config.authorities, source))?
        .with_root_certificates(authorities(&config.authorities)?);
    let mut client = match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => {
            let (chain, key) = identity(certificate, key)?;
            builder.with_client_auth_cert(chain, key).map_err(|source| unusable(certificate, source))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(Error::Half),
    };
    client.alpn_protocols = vec![H2.to_vec()];
    Ok(client)
}

fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|source| Error::Use { path: path.to_owned(), source: source.into() })?;
    }
    Ok(roots)
}

fn identity(certificate: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let private = PrivateKeyDer::from_pem_file(key);
    Ok((certificates(certificate)?, private.map_err(|source| Error::Read { path: key.to_owned(), source })?))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read.map_err(|source| Error::Read { path: path.to_owned(), source })? {
        none if none.is_empty() => Err(Error::Empty { path: path.to_owned() }),
        some => Ok(some),
    }
}

/// What is made of files, and made anew when one of them has changed.
struct Files<T> {
    made: Arc<RwLock<Arc<T>>>,
    _looking: AbortOnDropHandle<()>,
}

impl<T> std::fmt::Debug for Files<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Files<T> {
    /// Inside a tokio runtime, one of whose tasks looks at the files from now on.
    fn new(paths: Vec<PathBuf>, make: impl Fn() -> Result<T, Error> + Send + Sync + 'static) -> Result<Self, Error> {
        // Looked at before they are read, so that no change is overlooked.
        let written = written(&paths);
        let made = Arc::new(RwLock::new(Arc::new(make()?)));
        let looking = tokio::spawn(look(paths, written, Arc::new(make), Arc::clone(&made)));
        Ok(Self { made, _looking: AbortOnDropHandle::new(looking) })
    }

    /// What the files say; what they said before, while they make no sense.
    fn current(&self) -> Arc<T> {
        Arc::clone(&self.made.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Makes it anew whenever a file was written. Disks may hang, so that no thread of the runtime waits for them.
async fn look<T: Send + Sync + 'static>(
    paths: Vec<PathBuf>,
    mut known: Vec<Option<SystemTime>>,
    make: Arc<impl Fn() -> Result<T, Error> + Send + Sync + 'static>,
    made: Arc<RwLock<Arc<T>>>,
) {
    loop {
        tokio::time::sleep(LOOK).await;
        let (paths_now, make, before) = (paths.clone(), Arc::clone(&make), known.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let now = written(&paths_now);
            (now != before).then(|| (now, make()))
        });
        match looked.await {
            Ok(Some((now, Ok(value)))) => {
                tracing::info!(?paths, "took over new certificates");
                *made.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                known = now;
            }
            // They may be in the middle of being written: the next look tells.
            Ok(Some((_, Err(error)))) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "new certificates are no use");
            }
            Ok(None) | Err(_) => {}
        }
    }
}

fn written(paths: &[PathBuf]) -> Vec<Option<SystemTime>> {
    paths.iter().map(|path| path.metadata().and_then(|file| file.modified()).ok()).collect()
}
