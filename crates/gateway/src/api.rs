//! The APIs, which differ by data alone.

use axum::Router;
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::pay::v1::pay_service_client::PayServiceClient;
use proto::product::v1::product_service_client::ProductServiceClient;
use proto::rest::{self, Forward};
use proto::user::v1::user_service_client::UserServiceClient;

use crate::call::{Calls, routes};
use crate::status::refusal;

/// Makes of each API, named with its client, a gRPC service and the REST routes in front of it.
macro_rules! apis {
    ($($(#[$doc:meta])* $api:ident $rest:ident $openapi:ident $client:ident),+) => {
        /// An API: a gRPC service and the REST routes in front of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Api {
            $($(#[$doc])* $api,)+
        }

        impl Api {
            /// The API as an OpenAPI 3.1 document in JSON.
            pub fn openapi(self) -> &'static str {
                match self {
                    $(Self::$api => proto::openapi::$openapi,)+
                }
            }

            /// The routes, each of which calls the service at the other end of `channel`.
            pub(crate) fn router(self, channel: rpc::Channel, calls: Calls) -> Router {
                match self {
                    $(Self::$api => {
                        let forward = Forward { client: $client::new(channel), refusal };
                        routes(rest::$rest::ROUTES, rest::$rest::Transcoder::new(forward), calls)
                    })+
                }
            }
        }
    };
}

apis!(
    /// `user.api` in front of `user.rpc`.
    User user USER UserServiceClient,
    /// `product.api` in front of `product.rpc`.
    Product product PRODUCT ProductServiceClient,
    /// `order.api` in front of `order.rpc`.
    Order order ORDER OrderServiceClient,
    /// `pay.api` in front of `pay.rpc`.
    Pay pay PAY PayServiceClient
);
