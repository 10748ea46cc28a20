//! A small HTTP client, for OTLP over HTTP and for Zipkin.

use std::path::Path;
use std::sync::Arc;

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::{Config, Error};

/// A collector's answer is a few bytes; more is not read.
const MAX_ANSWER: usize = 1 << 20;

/// Keeps its connection; speaks TLS with the system-independent roots or the configured one.
#[derive(Clone, Debug)]
pub(super) struct Client {
    inner: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    headers: HeaderMap,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        match &config.ca {
            Some(path) => {
                let invalid =
                    || Error::Certificate { path: path.clone(), source: std::io::ErrorKind::InvalidData.into() };
                for certificate in CertificateDer::pem_slice_iter(&read(path)?) {
                    roots.add(certificate.map_err(|_| invalid())?).map_err(|_| invalid())?;
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let inner = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { inner, headers: super::otlp::headers(config)? })
    }

    /// The configured headers.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = self.inner.request(request.map(Full::new)).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

/// A certificate's file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Certificate { path: path.to_owned(), source })
}
