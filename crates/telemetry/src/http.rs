//! A tower layer that gives every HTTP request a span named by its route, its measurements, and its trace id in the answer.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use ::http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Version};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter};
use opentelemetry::trace::SpanKind;
use tonic::Code;
use tower::Layer;

use crate::exchange::{Begin, Exchange, Traced};
use crate::slow::Breakdown;
use crate::{Memo, Span, metrics, propagate, semconv, slow};

/// The template of the route that answered, `/api/product/{id}`; the router puts it into the answer's extensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// What is measured of a request: how it began and, so far, how it ended.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Measured {
    method: &'static str,
    scheme: &'static str,
    route: Option<Route>,
    /// None as long as there is no answer.
    status: Option<StatusCode>,
    /// The body broke off in the middle.
    broken: bool,
}

/// By method and scheme.
static ACTIVE: LazyLock<Memo<[&'static str; 2], BoundUpDownCounter<i64>>> = LazyLock::new(Memo::default);
static DURATION: LazyLock<Memo<Measured, BoundHistogram<f64>>> = LazyLock::new(Memo::default);

impl Measured {
    fn active(&self) -> BoundUpDownCounter<i64> {
        ACTIVE.get(&[self.method, self.scheme], || metrics::HTTP_SERVER.active.bind(&self.first_labels()))
    }

    fn duration(&self) -> BoundHistogram<f64> {
        DURATION.get(self, || metrics::HTTP_SERVER.duration.bind(&self.labels()))
    }

    fn first_labels(&self) -> Vec<KeyValue> {
        vec![KeyValue::new(semconv::HTTP_REQUEST_METHOD, self.method), KeyValue::new(semconv::URL_SCHEME, self.scheme)]
    }

    fn labels(&self) -> Vec<KeyValue> {
        let mut labels = self.first_labels();
        labels.extend(self.route.as_ref().map(|route| KeyValue::new(semconv::HTTP_ROUTE, route.0.clone())));
        let status = self.status.map(|status| i64::from(status.as_u16()));
        labels.extend(status.map(|status| KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, status)));
        labels.extend(self.failure().map(|failure| KeyValue::new(semconv::ERROR_TYPE, failure)));
        labels
    }

    /// What went wrong, if anything did.
    fn failure(&self) -> Option<String> {
        // The client went away before there was an answer.
        let Some(status) = self.status else { return Some("cancelled".to_owned()) };
        let error = status.is_server_error().then(|| status.as_str().to_owned());
        error.or_else(|| self.broken.then(|| "broken".to_owned()))
    }
}

/// A request under way: it is measured and its span ended once, when its answer ends or is dropped.
pub struct Exchanged {
    span: Span,
    measured: Measured,
    active: BoundUpDownCounter<i64>,
    /// Kept until the route says that it may be recorded.
    path: Option<String>,
    start: Instant,
    /// Where its time goes.
    breakdown: Option<Arc<Breakdown>>,
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
        let measured = Measured { method, scheme, route: None, status: None, broken: false };
        let active = measured.active();
        active.add(1);
        Self { span, measured, active, path, start: Instant::now(), breakdown }
    }
}

impl Exchange for Exchanged {
    fn span(&self) -> &Span {
        &self.span
    }

    /// Takes what the head of the answer says, and says in it which trace this was.
    fn answer<B>(&mut self, response: &mut Response<B>) {
        self.measured.status = Some(response.status());
        self.measured.route = response.extensions().get::<Route>().cloned();
        if let (Some(route), Some(path)) = (&self.measured.route, self.path.take()) {
            self.span.rename(named(self.measured.method, route));
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
        self.measured.broken = broken;
    }
}

impl Drop for Exchanged {
    fn drop(&mut self) {
        self.active.add(-1);
        let Measured { method, route, status, .. } = &self.measured;
        if let Some(status) = status {
            self.span.set(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
        }
        if let Some(failure) = self.measured.failure() {
            self.span.fail(failure);
        }
        self.measured.duration().record(self.start.elapsed().as_secs_f64());
        if let Some(breakdown) = &self.breakdown {
            let name = || match route {
                Some(route) => named(method, route).into(),
                None => (*method).into(),
            };
            breakdown.end(name, status.as_ref().map_or("cancelled", StatusCode::as_str), &self.span);
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
