//! The methods of `mall.order.v1.OrderService`: validate, call, convert.

use auth::Caller;
use domain::{fault, rules};
use proto::order::v1::order_service_server::OrderService;
use proto::order::v1::{
    self, CreateRequest, DetailRequest, ListRequest, ListResponse, MarkPaidRequest, MarkPaidResponse, RemoveRequest,
    RemoveResponse, UpdateRequest,
};
use rpc::Invalid;
use tonic::{Request, Response, Status};

use crate::convert;
use crate::error::Error;
use crate::model::{self, Order};
use crate::saga::{self, Saga};
use crate::store::Store;

/// The order service.
pub(crate) struct Orders {
    store: Store,
    saga: Saga,
}

impl Orders {
    /// A service over `store`, whose orders move by `saga`.
    pub(crate) fn new(store: Store, saga: Saga) -> Self {
        Self { store, saga }
    }

    /// The order with this id, if it is one of `theirs`: whether there are others is nobody else's business.
    async fn find(&self, id: i64, theirs: impl FnOnce(&Order) -> bool) -> Result<Order, Status> {
        let id = rules::positive(id).map_err(|rule| Invalid::field("id", rule))?;
        let order = self.store.find(id).await?;
        if theirs(&order) { Ok(order) } else { Err(Error::NotFound(id).into()) }
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<v1::Order>, Status> {
        let uid = Caller::of(&request).user_id()?;
        let key = rpc::idempotency_key(&request);
        let wish = convert::wish(uid, key, request.into_inner())?;
        let order = self.saga.order(wish).await?;
        Ok(Response::new(order.into()))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<v1::Order>, Status> {
        let request = request.into_inner();
        let (id, status) = convert::update(&request)?;
        let order = self.store.find(id).await?;
        convert::agrees(&request, &order)?;
        let order = match status {
            Some(model::Status::Cancelled) => self.saga.cancel(order).await?,
            Some(model::Status::Closed) => self.saga.close(order).await?,
            Some(to) if to != order.status => return Err(Error::State { id, from: order.status, to }.into()),
            _ => order,
        };
        Ok(Response::new(order.into()))
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Result<Response<RemoveResponse>, Status> {
        let uid = Caller::of(&request).user_id()?;
        let order = self.find(request.get_ref().id, |order| order.uid == uid).await?;
        if order.status.is_final() {
            self.store.hide(order.id).await?;
        } else {
            self.saga.cancel(order).await?;
        }
        Ok(Response::new(RemoveResponse {}))
    }

    async fn detail(&self, request: Request<DetailRequest>) -> Result<Response<v1::Order>, Status> {
        let caller = Caller::of(&request);
        let order = self.find(request.get_ref().id, |order| caller.may_see(order.uid)).await?;
        Ok(Response::new(order.into()))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let caller = Caller::of(&request);
        let own = caller.user_id()?;
        let uid = request.get_ref().uid.unwrap_or(own);
        if uid != own && !caller.is_admin() {
            return Err(Error::NotYours.into());
        }
        let page = convert::page(uid, request.get_ref())?;
        let orders = self.store.list(uid, &page).await?;
        let (orders, next_page_token) = page.cut(orders, |order| order.id);
        Ok(Response::new(ListResponse { orders: orders.into_iter().map(Into::into).collect(), next_page_token }))
    }

    async fn mark_paid(&self, request: Request<MarkPaidRequest>) -> Result<Response<MarkPaidResponse>, Status> {
        let (id, payment, amount) = convert::paid(request.into_inner())?;
        if self.store.mark_paid(id, payment, amount).await? {
            saga::count(model::Status::Paid);
        } else {
            let order = self.store.find(id).await?;
            if order.payment != Some(payment) {
                return Err(unpayable(&order, amount).into());
            }
        }
        fault::point("order.paid");
        Ok(Response::new(MarkPaidResponse {}))
    }
}

/// Why an order cannot be paid with this amount.
fn unpayable(order: &Order, amount: i64) -> Error {
    if order.amount == amount {
        Error::State { id: order.id, from: order.status, to: model::Status::Paid }
    } else {
        Error::Amount(order.id)
    }
}
