//! What pay.rpc asks of order.rpc, with a token of its own.

use auth::{Outgoing, ServiceSigner};
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{DetailRequest, MarkPaidRequest, Order};
use tonic::Code;
use tonic::service::interceptor::InterceptedService;

use crate::error::Error;
use crate::model::Payment;

/// The client of order.rpc; clones share its connection.
#[derive(Clone)]
pub(crate) struct Orders(OrderServiceClient<InterceptedService<rpc::Channel, Outgoing>>);

impl Orders {
    /// A client that signs with pay.rpc's key; nothing is connected until the first call.
    pub(crate) fn new(config: &rpc::client::Config, signer: ServiceSigner) -> Result<Self, rpc::Error> {
        let channel = rpc::client::connect(config)?;
        Ok(Self(OrderServiceClient::with_interceptor(channel, Outgoing::new(signer, "order.rpc"))))
    }

    /// The user's order with this id.
    pub(crate) async fn find(&self, id: i64, uid: i64) -> Result<Order, Error> {
        let order = match self.0.clone().detail(DetailRequest { id }).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Err(Error::NoOrder(id)),
            Err(status) => return Err(Error::Order(status)),
        };
        if order.uid == uid { Ok(order) } else { Err(Error::NoOrder(id)) }
    }

    /// Says that the payment's order is paid, once however often it is told; tells whether the order could be paid.
    pub(crate) async fn mark_paid(&self, payment: &Payment) -> Result<bool, Error> {
        let request = MarkPaidRequest { order_id: payment.oid, payment_id: payment.id, amount: payment.amount };
        match self.0.clone().mark_paid(request).await {
            Ok(_) => Ok(true),
            // Not NotFound: orders are kept, so that one which is missing is somebody's mistake and not the end of it.
            Err(status) if status.code() == Code::FailedPrecondition => Ok(false),
            Err(status) => Err(Error::Order(status)),
        }
    }
}
