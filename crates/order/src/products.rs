//! What order.rpc asks of product.rpc, with a token of its own.

use auth::{Outgoing, ServiceSigner};
use proto::product::v1::product_service_client::ProductServiceClient;
use proto::product::v1::{DetailRequest, ReleaseRequest, ReserveRequest};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;

use crate::error::Error;
use crate::model::{Order, Wish};

/// The client of product.rpc; clones share its connection.
#[derive(Clone)]
pub(crate) struct Products(ProductServiceClient<InterceptedService<rpc::Channel, Outgoing>>);

impl Products {
    /// A client that signs with order.rpc's key; nothing is connected until the first call.
    pub(crate) fn new(config: &rpc::client::Config, signer: ServiceSigner) -> Result<Self, rpc::Error> {
        let channel = rpc::client::connect(config)?;
        Ok(Self(ProductServiceClient::with_interceptor(channel, Outgoing::new(signer, "product.rpc"))))
    }

    /// The price of a unit of what is wanted, if it seems that it can be sold: nothing is held yet.
    pub(crate) async fn price(&self, wish: &Wish) -> Result<i64, Error> {
        let product = self.0.clone().detail(DetailRequest { id: wish.pid }).await.map_err(Error::product)?.into_inner();
        let refused = |why| Err(Error::Refused(Status::failed_precondition(format!("product {} {why}", wish.pid))));
        match product {
            _ if product.status != 0 => refused("is off sale".to_owned()),
            _ if product.stock < wish.quantity => refused(format!("has fewer than {} in stock", wish.quantity)),
            _ => Ok(product.amount),
        }
    }

    /// Holds the order's units, once however often it is asked.
    pub(crate) async fn reserve(&self, order: &Order) -> Result<(), Error> {
        let request = ReserveRequest { order_id: order.id, product_id: order.pid, quantity: order.quantity };
        self.0.clone().reserve(request).await.map(drop).map_err(Error::product)
    }

    /// Gives the order's units back, if it holds any, once however often it is asked.
    pub(crate) async fn release(&self, order: i64) -> Result<(), Error> {
        self.0.clone().release(ReleaseRequest { order_id: order }).await.map(drop).map_err(Error::product)
    }
}
