//! Adds a service's own token to the calls it makes.

use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, HeaderValue};

use crate::ServiceSigner;

/// Adds the token for one peer to every call that has no `authorization` yet.
///
/// A call that carries one keeps it: it is made on behalf of the user whose token that is.
#[derive(Clone, Debug)]
pub struct Layer {
    signer: ServiceSigner,
    peer: &'static str,
}

impl Layer {
    /// For calls to the service `peer`, such as `product.rpc`.
    pub fn new(signer: ServiceSigner, peer: &'static str) -> Self {
        Self { signer, peer }
    }
}

impl<S> tower::Layer<S> for Layer {
    type Service = Service<S>;

    fn layer(&self, inner: S) -> Service<S> {
        Service { inner, layer: self.clone() }
    }
}

/// What [`Layer`] makes of a client.
#[derive(Clone, Debug)]
pub struct Service<S> {
    inner: S,
    layer: Layer,
}

impl<S: tower::Service<http::Request<B>>, B> tower::Service<http::Request<B>> for Service<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> S::Future {
        if !request.headers().contains_key(AUTHORIZATION) {
            let Layer { signer, peer } = &self.layer;
            if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", signer.token_for(peer))) {
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
        }
        self.inner.call(request)
    }
}
