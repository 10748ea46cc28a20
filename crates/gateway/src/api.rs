//! The APIs, which differ by data alone.

use axum::Router;
use proto::openapi;
use proto::rest::{self, Forward};
use proto::user::v1::user_service_client::UserServiceClient;

use crate::call::{Calls, routes};
use crate::status::refusal;

/// An API: a gRPC service and the REST routes in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `user.api` in front of `user.rpc`.
    User,
}

impl Api {
    /// The API as an OpenAPI 3.1 document in JSON.
    pub fn openapi(self) -> &'static str {
        match self {
            Self::User => openapi::USER,
        }
    }

    /// The routes, each of which calls the service at the other end of `channel`.
    pub(crate) fn router(self, channel: rpc::Channel, calls: Calls) -> Router {
        match self {
            Self::User => {
                let client = UserServiceClient::new(channel);
                routes(rest::user::ROUTES, rest::user::Transcoder::new(Forward { client, refusal }), calls)
            }
        }
    }
}
