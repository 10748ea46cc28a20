//! An HTTP client for services nearby: readiness, the demo and the load ask through it.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The longest that one answer may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// A client that keeps its connections; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Connect(legacy::Error),
    #[error(transparent)]
    Broken(Box<dyn StdError + Send + Sync>),
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
}

impl Client {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(legacy::Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Sends `request`, whose URI is `http://HOST[:PORT]/..`.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        tokio::time::timeout(TIMEOUT, self.exchange(request)).await.unwrap_or(Err(Error::Timeout))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        let sent = self.0.request(request).await;
        let answer = sent.map_err(|error| match error.is_connect() {
            true => Error::Connect(error),
            false => Error::Broken(error.into()),
        })?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| Error::Broken(error.into()))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}
