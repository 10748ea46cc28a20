//! What surrounds every answer: the limit on headers, the request's id, and headers for the client's safety.

use std::any::Any;
use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Version, header};
use rpc::lifecycle::{Lifecycle, State};
use tower::util::Either;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::catch_panic::{CatchPanic, CatchPanicLayer, ResponseForPanic};
use tower_http::cors::Cors;
use tower_http::decompression::{RequestDecompression, RequestDecompressionLayer};

use crate::call::{self, Calls};
use crate::headers::{X_REQUEST_ID, request_id};
use crate::refusal::Refusal;
use crate::{Api, Config, Error, cors, docs};

/// The routes with their layers around all of them: around each of them, as `Router::layer` has it, they would be cloned and boxed
/// for every request.
type Surrounded = Either<Cors<Guarded>, Guarded>;
type Guarded = CatchPanic<RequestDecompression<Router>, Panics>;

/// What answers requests: the routes and what surrounds them, without a port.
#[derive(Clone, Debug)]
pub struct Answers {
    surrounded: Surrounded,
    header_bytes: usize,
    headers: usize,
    lifecycle: Lifecycle,
}

impl Answers {
    /// The routes of `api` in front of the service at the other end of `channel`.
    pub fn new(api: Api, channel: rpc::Channel, config: &Config, lifecycle: Lifecycle) -> Result<Self, Error> {
        let router = api
            .router(channel, Calls::new(config))
            .merge(docs::router(api))
            .method_not_allowed_fallback(call::wrong_method)
            .fallback(async || Refusal::no_route());
        let surrounded = ServiceBuilder::new()
            .option_layer(cors::layer(&config.cors)?)
            .layer(CatchPanicLayer::custom(Panics))
            .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
            .service(router);
        let limits = &config.limits;
        Ok(Self { surrounded, header_bytes: limits.header_bytes, headers: limits.headers, lifecycle })
    }

    /// Answers one.
    pub async fn answer(self, mut request: Request) -> Result<Response, Infallible> {
        let id = request_id(request.headers());
        let version = request.version();
        let mut response = if self.is_too_large(&request) {
            Refusal::large_headers().into_response()
        } else {
            request.headers_mut().insert(X_REQUEST_ID, id.clone());
            // Boxed, for a connection keeps the room for it while it is quiet.
            Box::pin(self.surrounded.oneshot(request)).await?.map(Body::new)
        };
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, id);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if self.lifecycle.state() >= State::LameDuck && version < Version::HTTP_2 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    fn is_too_large(&self, request: &Request) -> bool {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let headers = request.headers();
        let bytes = headers.iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len());
        headers.len() > self.headers || bytes > self.header_bytes
    }
}

/// A panic ends its request and nothing else. Its message may hold anything, so it is not repeated here.
#[derive(Clone, Debug)]
struct Panics;

impl ResponseForPanic for Panics {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _: Box<dyn Any + Send>) -> Response {
        tracing::error!("a request panicked");
        Refusal::panicked().into_response()
    }
}
