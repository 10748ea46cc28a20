//! The layer that stands before every handler: it tells who calls, and turns away who may not.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use http::header::{AUTHORIZATION, Entry};
use http::{Extensions, HeaderMap};
use proto::access::v1::Access;
use tonic::Status;

use crate::{Caller, Rejection, Rules, Verifier};

/// Admits calls by the rules, and gives each its [`Caller`].
///
/// - A public method admits everyone; whoever sends no valid token is [`Caller::Anonymous`].
/// - Every other method needs a valid token (else Unauthenticated) of a caller it names (else PermissionDenied).
/// - A call without a token that came by a connection whose client showed a certificate is that of the service that the
///   certificate names, if the method names it too.
/// - gRPC's own services, such as health and reflection, pass.
/// - A method without a rule is Unimplemented: a service that was left out of the rules is closed, not open.
#[derive(Clone, Debug)]
pub struct Layer(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    verifier: Verifier,
    rules: Rules,
    certified: Certified,
}

/// The DNS names in the certificate of whoever made a call, if it made that for itself.
pub type Certified = fn(&Extensions) -> &[String];

impl Layer {
    /// A layer for the methods that have rules.
    pub fn new(verifier: Verifier, rules: Rules) -> Self {
        Self::with_certificates(verifier, rules, |_| &[])
    }

    /// The same where `certified` tells what the certificates of clients say.
    pub fn with_certificates(verifier: Verifier, rules: Rules, certified: Certified) -> Self {
        Self(Arc::new(Gate { verifier, rules, certified }))
    }
}

impl Gate {
    fn admit(&self, path: &str, headers: &HeaderMap, extensions: &Extensions) -> Result<Caller, Status> {
        let Some(access) = self.rules.get(path) else {
            return if path.starts_with("/grpc.") {
                Ok(Caller::Anonymous)
            } else {
                Err(Status::unimplemented("there is no such method"))
            };
        };
        let caller = match self.verifier.caller(headers) {
            Err(Rejection::Missing) => match named(access, (self.certified)(extensions)) {
                Some(service) => Ok(Caller::Service(service.clone())),
                None => Err(Rejection::Missing),
            },
            told => told,
        };
        let caller = match caller {
            Ok(caller) => caller,
            Err(reason) if access.public => {
                if reason != Rejection::Missing {
                    tracing::debug!(path, %reason, "a token on a public method was ignored");
                }
                Caller::Anonymous
            }
            Err(reason) => {
                tracing::debug!(path, %reason, "a token was refused");
                return Err(reason.into());
            }
        };
        if caller.is_admitted(access) {
            return Ok(caller);
        }
        Err(Status::permission_denied("you may not call this method"))
    }
}

/// The service that a method admits and a certificate names.
fn named<'a>(access: &'a Access, names: &[String]) -> Option<&'a String> {
    access.services.iter().find(|service| names.contains(service))
}

impl<S> tower::Layer<S> for Layer {
    type Service = Service<S>;

    fn layer(&self, inner: S) -> Service<S> {
        Service { inner, gate: Arc::clone(&self.0) }
    }
}

/// What [`Layer`] makes of a server.
#[derive(Clone, Debug)]
pub struct Service<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S, B, R> tower::Service<http::Request<B>> for Service<S>
where
    S: tower::Service<http::Request<B>, Response = http::Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        match self.gate.admit(request.uri().path(), request.headers(), request.extensions()) {
            Ok(caller) => {
                // Whoever prints the headers from here on does not print the token.
                if let Entry::Occupied(mut tokens) = request.headers_mut().entry(AUTHORIZATION) {
                    tokens.iter_mut().for_each(|token| token.set_sensitive(true));
                }
                request.extensions_mut().insert(caller);
                Either::Right(self.inner.call(request))
            }
            Err(status) => Either::Left(ready(Ok(status.into_http()))),
        }
    }
}
