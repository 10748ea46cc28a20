//! Adds a service's own token to the calls it makes.

use http::header::AUTHORIZATION;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::ServiceSigner;

/// Adds the token for one peer to every call of a client that has no `authorization` yet.
///
/// A call that carries one keeps it: it is made on behalf of the user whose token that is.
#[derive(Clone, Debug)]
pub struct Outgoing {
    signer: ServiceSigner,
    peer: &'static str,
}

impl Outgoing {
    /// For calls to the service `peer`, such as `product.rpc`.
    pub fn new(signer: ServiceSigner, peer: &'static str) -> Self {
        Self { signer, peer }
    }
}

impl Interceptor for Outgoing {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !request.metadata().contains_key(AUTHORIZATION.as_str())
            && let Ok(mut value) = AsciiMetadataValue::try_from(format!("Bearer {}", self.signer.token_for(self.peer)))
        {
            value.set_sensitive(true);
            request.metadata_mut().insert(AUTHORIZATION.as_str(), value);
        }
        Ok(request)
    }
}
