//! What surrounds every answer: the limit on headers, the request's id, and headers for the client's safety.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Version, header};
use rpc::lifecycle::{Lifecycle, State};
use tower::ServiceExt as _;

use crate::Limits;
use crate::headers::{X_REQUEST_ID, request_id};
use crate::refusal::Refusal;

/// The routes and what surrounds them.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    router: Router,
    header_bytes: usize,
    headers: usize,
    lifecycle: Lifecycle,
}

impl Answers {
    pub(crate) fn new(router: Router, limits: &Limits, lifecycle: Lifecycle) -> Self {
        Self { router, header_bytes: limits.header_bytes, headers: limits.headers, lifecycle }
    }

    pub(crate) async fn answer(self, mut request: Request) -> Result<Response, Infallible> {
        let id = request_id(request.headers());
        let version = request.version();
        let mut response = if self.is_too_large(&request) {
            Refusal::large_headers().into_response()
        } else {
            request.headers_mut().insert(X_REQUEST_ID, id.clone());
            self.router.oneshot(request).await?
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
