//! What makes a gRPC client serve the REST trait that `rest_over_grpc` generates; its methods are generated, too.

use rest_over_grpc::handling::{Context, Status};
use tonic::metadata::MetadataMap;

/// Serves a REST trait by calling a gRPC client.
#[derive(Clone, Debug)]
pub struct Forward<C> {
    /// Calls the service.
    pub client: C,
    /// The REST form of a refusal; what a client may see beside it goes to the context.
    pub refusal: fn(tonic::Status, &mut Context) -> Status,
}

impl<C> Forward<C> {
    /// The call for a message: the request's headers, which whoever serves REST has chosen, are its metadata.
    pub(crate) fn request<T>(message: T, cx: &mut Context) -> tonic::Request<T> {
        let metadata = MetadataMap::from_headers(cx.take_request_headers());
        tonic::Request::from_parts(metadata, tonic::Extensions::new(), message)
    }
}
