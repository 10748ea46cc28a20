//! Faults on demand, for whoever wants to see a trace go wrong: a caller names a method in its baggage, as
//! `fault=ProductService/Detail:delay=200ms`, and wherever in the trace that method is called, it is late or fails.
//!
//! Only a service whose configuration allows it listens to that.

use std::convert::Infallible;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use telemetry::{KeyValue, semconv};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// The key of the baggage.
pub const FAULT: &str = "fault";

/// What happens in place of an answer, or before it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A service with or without its package.
    pub service: String,
    /// A method of it; `*` is any.
    pub method: String,
    /// What happens.
    pub kind: Kind,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The call begins later, as far as its deadline allows.
    Delay(Duration),
    /// The call is answered with this code, and nothing is done.
    Error(Code),
}

/// What a fault must look like.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a fault as SERVICE/METHOD:delay=200ms or SERVICE/METHOD:error=UNAVAILABLE, such as ProductService/Detail:.."
)]
pub struct Malformed;

impl FromStr for Fault {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (place, kind) = text.split_once(':').ok_or(Malformed)?;
        let (service, method) = place.split_once('/').ok_or(Malformed)?;
        let kind = match kind.split_once('=').ok_or(Malformed)? {
            ("delay", delay) => Kind::Delay(humantime::parse_duration(delay).map_err(|_| Malformed)?),
            ("error", name) => {
                let code = (1..=16).map(Code::from).find(|code| telemetry::grpc::code_name(*code) == name);
                Kind::Error(code.ok_or(Malformed)?)
            }
            _ => return Err(Malformed),
        };
        if service.is_empty() || method.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { service: service.to_owned(), method: method.to_owned(), kind })
    }
}

impl Fault {
    /// Whether the method at `path`, such as `/mall.product.v1.ProductService/Detail`, is meant.
    fn is_at(&self, path: &str) -> bool {
        let Some((service, method)) = path.trim_start_matches('/').split_once('/') else { return false };
        let short = service.rsplit('.').next();
        (self.service == service || Some(self.service.as_str()) == short)
            && (self.method == "*" || self.method == method)
    }
}

/// Makes the faults that callers ask for.
#[derive(Clone, Copy, Debug)]
pub struct FaultLayer;

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner }
    }
}

/// The service that [`FaultLayer`] makes.
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let wanted = telemetry::baggage(FAULT).filter(|_| !request.uri().path().starts_with("/grpc."));
        let fault = match wanted.as_deref().map(Fault::from_str).transpose() {
            Ok(fault) => fault.filter(|fault| fault.is_at(request.uri().path())),
            Err(malformed) => {
                let status = Status::invalid_argument(format!("baggage: {malformed}"));
                return Box::pin(std::future::ready(Ok(status.into_http())));
            }
        };
        let Some(Fault { kind, .. }) = fault else { return Box::pin(self.inner.call(request)) };
        telemetry::Span::annotate(&[KeyValue::new(semconv::FAULT, wanted.unwrap_or_default())]);
        match kind {
            Kind::Error(code) => {
                let status = Status::new(code, "a fault that the caller asked for");
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
            Kind::Delay(delay) => {
                let fresh = self.inner.clone();
                let mut inner = std::mem::replace(&mut self.inner, fresh);
                Box::pin(async move {
                    tokio::time::sleep(delay).await;
                    inner.call(request).await
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_place_and_what_happens_there() {
        let fault: Fault = "ProductService/Detail:delay=200ms".parse().unwrap();
        assert_eq!(fault.kind, Kind::Delay(Duration::from_millis(200)));
        assert!(fault.is_at("/mall.product.v1.ProductService/Detail"));
        assert!(!fault.is_at("/mall.product.v1.ProductService/List") && !fault.is_at("/x.v1.MyProductService/Detail"));
        let all: Fault = "mall.product.v1.ProductService/*:error=UNAVAILABLE".parse().unwrap();
        assert_eq!(all.kind, Kind::Error(Code::Unavailable));
        assert!(all.is_at("/mall.product.v1.ProductService/List") && !all.is_at("/other.ProductService/List"));
        for text in
            ["", "A/B", "A:delay=1s", "A/B:delay=x", "A/B:error=OK", "A/B:error=BAD", "/B:delay=1s", "A/B:stop=1"]
        {
            assert_eq!(text.parse::<Fault>(), Err(Malformed), "{text}");
        }
    }
}
