//! A tower layer that gives every HTTP request a span named by its route, its measurements, and its trace id in the answer.

use std::sync::Arc;
use std::time::Instant;

use ::http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Version};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tonic::Code;
use tower::Layer;

use crate::exchange::{Begin, Exchange, Traced};
use crate::slow::Breakdown;
use crate::{Span, metrics, propagate, semconv, slow};

/// The template of the route that answered, `/api/product/{id}`; the router puts it into the answer's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route(Arc<str>);

impl Route {
    /// A route by its template, one of a bounded set.
    pub fn new(template: impl Into<Arc<str>>) -> Self {
        Self(template.into())
    }

    /// The template.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives every request a span of kind SERVER, and every answer `traceresponse` and `x-trace-id`.
///
/// A request without a [`Route`] in its answer is named by its method alone, never by its path.
/// It belongs outside all other layers.
#[derive(Clone, Copy, Debug)]
pub struct ServerLayer;

impl<S> Layer<S> for ServerLayer {
    type Service = Traced<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Traced { inner, layer: *self }
    }
}

impl Begin for ServerLayer {
    type Exchange = Exchanged;

    fn begin<A>(&self, request: &mut Request<A>) -> Option<Exchanged> {
        Some(Exchanged::start(request))
    }
}

/// Characters of a path that are kept.
const MAX_PATH: usize = 256;

/// A request under way: it is measured and its span ended once, when its answer ends or is dropped.
pub struct Exchanged {
    span: Span,
    method: &'static str,
    /// Kept until the route says that it may be recorded.
    path: Option<String>,
    labels: [KeyValue; 2],
    start: Instant,
    status: Option<StatusCode>,
    route: Option<Route>,
    /// Where its time goes.
    breakdown: Option<Arc<Breakdown>>,
    /// The body broke off in the middle.
    broken: bool,
}

impl Exchanged {
    fn start<A>(request: &Request<A>) -> Self {
        let method = known(request.method());
        let scheme = if request.uri().scheme_str() == Some("https") { "https" } else { "http" };
        let (parent, breakdown) = slow::begin(propagate::extract(request.headers()), false);
        let span = Span::start_under(&parent, SpanKind::Server, method.unwrap_or(semconv::UNKNOWN_HTTP));
        let method = method.unwrap_or(semconv::OTHER);
        let path = span.is_recording().then(|| request.uri().path().chars().take(MAX_PATH).collect());
        span.set(semconv::HTTP_REQUEST_METHOD, method);
        span.set(semconv::URL_SCHEME, scheme);
        span.set(semconv::NETWORK_PROTOCOL_VERSION, version(request.version()));
        let labels = [KeyValue::new(semconv::HTTP_REQUEST_METHOD, method), KeyValue::new(semconv::URL_SCHEME, scheme)];
        metrics::HTTP_SERVER.active.add(1, &labels);
        Self { span, method, path, labels, start: Instant::now(), status: None, route: None, breakdown, broken: false }
    }
}

impl Exchange for Exchanged {
    fn span(&self) -> &Span {
        &self.span
    }

    /// Takes what the head of the answer says, and says in it which trace this was.
    fn answer<B>(&mut self, response: &mut Response<B>) {
        self.status = Some(response.status());
        self.route = response.extensions().get::<Route>().cloned();
        if let (Some(route), Some(path)) = (&self.route, self.path.take()) {
            self.span.rename(named(self.method, route));
            self.span.set(semconv::HTTP_ROUTE, route.0.clone());
            // What stands in the place of an id may be anything, unless it was taken for one.
            if response.status().is_success() {
                self.span.set(semconv::URL_PATH, path);
            }
        }
        let span = self.span.span_context();
        if span.is_valid() {
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static(semconv::TRACERESPONSE), propagate::traceparent(&span));
            headers.insert(HeaderName::from_static(semconv::X_TRACE_ID), propagate::trace_id_value(&span));
        }
    }

    fn fail(&mut self, _: Code) {}

    fn trailers(&mut self, _: &HeaderMap) {}

    fn end(&mut self, broken: bool) {
        self.broken = broken;
    }
}

impl Drop for Exchanged {
    fn drop(&mut self) {
        metrics::HTTP_SERVER.active.add(-1, &self.labels);
        let mut labels = Vec::with_capacity(5);
        labels.extend(self.labels.iter().cloned());
        if let Some(route) = &self.route {
            labels.push(KeyValue::new(semconv::HTTP_ROUTE, route.0.clone()));
        }
        let failure = match self.status {
            Some(status) => {
                self.span.set(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
                labels.push(KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
                let error = status.is_server_error().then(|| status.as_str().to_owned());
                error.or_else(|| self.broken.then(|| "broken".to_owned()))
            }
            // The client went away before there was an answer.
            None => Some("cancelled".to_owned()),
        };
        if let Some(failure) = failure {
            self.span.fail(failure.clone());
            labels.push(KeyValue::new(semconv::ERROR_TYPE, failure));
        }
        metrics::HTTP_SERVER.duration.record(self.start.elapsed().as_secs_f64(), &labels);
        if let Some(breakdown) = &self.breakdown {
            let name = || match &self.route {
                Some(route) => named(self.method, route).into(),
                None => self.method.into(),
            };
            breakdown.end(name, self.status.as_ref().map_or("cancelled", StatusCode::as_str), &self.span);
        }
    }
}

/// The name of the span of a route.
fn named(method: &'static str, route: &Route) -> String {
    let method = if method == semconv::OTHER { semconv::UNKNOWN_HTTP } else { method };
    format!("{method} {}", route.as_str())
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// The name of a method of the HTTP standards; clients may make up others.
fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| method.as_str() == *known)
}
