//! One call: a request's body and headers in, a message to the service, its answer out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Extension, Router};
use http::{Method, StatusCode};
use ipnet::IpNet;
use rest_over_grpc::transcoding::{Transcode, TranscodeResponse};
use rpc::deadline;
use telemetry::http::Route;
use tokio::time::{Instant, timeout_at};

use crate::Config;
use crate::body::Bodies;
use crate::refusal::Refusal;
use crate::status::REFUSED;
use crate::{headers, malformed, peer};

/// What all calls of a gateway share.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    timeout: Duration,
    bodies: Bodies,
    trusted_proxies: Arc<[IpNet]>,
}

impl Calls {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            timeout: config.upstream.timeout,
            bodies: Bodies::new(&config.limits),
            trusted_proxies: config.trusted_proxies.as_slice().into(),
        }
    }

    async fn call(&self, transcoder: &impl Transcode, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let client = peer::client(&parts, &self.trusted_proxies);
        let mut metadata = headers::metadata(&parts.headers, client)?;
        let timeout = deadline::parse(&parts.headers)?.map_or(self.timeout, |asked| asked.min(self.timeout));
        let body = self.bodies.read(&parts.headers, body).await?;
        headers::sign(&parts.headers, &body, &mut metadata)?;

        let method = if parts.method == Method::HEAD { Method::GET } else { parts.method };
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let deadline = Instant::now() + timeout;
        let answer = transcoder.try_transcode(method.as_str(), target, metadata, &body);
        let answer = timeout_at(deadline, deadline::scope(deadline, answer)).await.map_err(|_| Refusal::late())?;
        match answer.ok_or_else(Refusal::no_route)? {
            TranscodeResponse::Unary(answer)
                if answer.status() == StatusCode::BAD_REQUEST && !answer.headers().contains_key(REFUSED) =>
            {
                Err(malformed::explain(answer.body(), &body))
            }
            answer => Ok(finish(answer.into_response())),
        }
    }
}

fn finish(mut response: Response) -> Response {
    response.headers_mut().remove(REFUSED);
    // A call that the service calls cancelled; 499 is no registered code.
    if response.status().as_u16() == 499 {
        *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
    }
    response
}

/// A router of the routes in `table`, pairs of an HTTP method and a path template, all answered by `transcoder`.
pub(crate) fn routes<T>(table: &[(&str, &str)], transcoder: T, calls: Calls) -> Router
where
    T: Transcode + Send + Sync + 'static,
{
    let transcoder = Arc::new(transcoder);
    table.iter().fold(Router::new(), |router, (method, path)| {
        let (transcoder, calls, route) = (Arc::clone(&transcoder), calls.clone(), Route::new(*path));
        let handler = async move |request: Request| {
            let mut response = calls.call(&*transcoder, request).await.into_response();
            response.extensions_mut().insert(route);
            response
        };
        router.route(path, on(filter(method), handler))
    })
}

/// The answer to a method that the path does not have.
pub(crate) async fn wrong_method(path: MatchedPath) -> impl IntoResponse {
    (Extension(Route::new(path.as_str())), Refusal::wrong_method())
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "GET" => MethodFilter::GET,
        "PUT" => MethodFilter::PUT,
        "DELETE" => MethodFilter::DELETE,
        "PATCH" => MethodFilter::PATCH,
        // The last verb that `google.api.http` has.
        _ => MethodFilter::POST,
    }
}
