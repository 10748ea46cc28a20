//! One HTTP request to a service nearby: all that readiness and the demo need of a client.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// The longest that one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends `request`, whose URI is `http://HOST[:PORT]/..`, on a connection of its own.
pub(crate) async fn send(request: Request<Full<Bytes>>) -> anyhow::Result<Response<Bytes>> {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let exchange = async {
        let (head, body) = client.request(request).await?.into_parts();
        anyhow::Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    tokio::time::timeout(TIMEOUT, exchange).await.with_context(|| format!("no answer within {TIMEOUT:?}"))?
}
