//! The HTTP client of the tests.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Why there is no answer.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A client that keeps its connections.
#[derive(Clone, Debug)]
pub struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

impl Default for Client {
    fn default() -> Self {
        Self(legacy::Client::builder(TokioExecutor::new()).build_http())
    }
}

impl Client {
    /// Sends a request, whose URI is absolute.
    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        let (head, body) = self.0.request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

/// The body of an answer as JSON.
///
/// # Panics
///
/// Panics if it is none.
pub fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body())
        .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(response.body())))
}
