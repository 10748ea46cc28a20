//! Every refusal of the gateway itself, as `google.rpc.Status` in JSON.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use rest_over_grpc::handling::{Code, Status};
use rest_over_grpc::transcoding::HttpResponse;
use serde_json::json;

/// Why the gateway does not pass a request on, or has no answer to it.
#[derive(Debug)]
pub(crate) struct Refusal {
    http: StatusCode,
    status: Status,
    header: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    fn new(http: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { http, status: Status::new(code, message), header: None }
    }

    /// 404.
    pub(crate) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, "there is nothing at this path; /docs shows what is")
    }

    /// 405; the router adds `allow`.
    pub(crate) fn wrong_method() -> Self {
        let message = "the path does not have this method; `allow` lists those it has";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, message)
    }

    /// 408.
    pub(crate) fn slow_body() -> Self {
        let message = "the request's body took too long to arrive";
        Self::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, message)
    }

    /// 413.
    pub(crate) fn large_body(most: usize) -> Self {
        let message = format!("the request's body is larger than {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument, message)
    }

    /// 415 for a type that is not JSON.
    pub(crate) fn wrong_type() -> Self {
        let message = "the body's content-type must be application/json in UTF-8";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, message)
            .with(header::ACCEPT, "application/json")
    }

    /// 415 for a coding that is not gzip.
    pub(crate) fn wrong_encoding() -> Self {
        let message = "the body's content-encoding must be gzip or identity";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, message)
            .with(header::ACCEPT_ENCODING, "gzip")
    }

    /// 431.
    pub(crate) fn large_headers() -> Self {
        let message = "the request has too many headers, or its path and headers are too long";
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::InvalidArgument, message)
    }

    /// 400.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message)
    }

    /// 400 that names the field or header that is wrong.
    pub(crate) fn violation(field: &str, description: &str) -> Self {
        let mut refusal = Self::malformed(format!("{field}: {description}"));
        refusal.status = refusal.status.with_detail(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": description }],
        }));
        refusal
    }

    /// 500.
    pub(crate) fn panicked() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "the gateway failed at this request")
    }

    /// 503.
    pub(crate) fn overloaded() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, "the gateway has too much to do, try again")
            .with(header::RETRY_AFTER, "1")
    }

    /// 504.
    pub(crate) fn late() -> Self {
        let message = "the call took longer than its deadline allows";
        Self::new(StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded, message)
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = HttpResponse::from_status(&self.status).into_body();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.http;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().extend(self.header.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    }
}

impl From<tonic::Status> for Refusal {
    /// Only of what the gateway found malformed itself.
    fn from(status: tonic::Status) -> Self {
        Self::malformed(status.message())
    }
}
