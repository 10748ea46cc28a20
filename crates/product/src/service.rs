//! The methods of `mall.product.v1.ProductService`: validate, call, convert.

use auth::Caller;
use domain::fault;
use proto::product::v1::product_service_server::ProductService;
use proto::product::v1::{
    CreateRequest, DetailRequest, ListRequest, ListResponse, Product, ReleaseRequest, ReleaseResponse, RemoveRequest,
    RemoveResponse, ReserveRequest, ReserveResponse, UpdateRequest,
};
use tonic::{Request, Response, Status};

use crate::cache::Cache;
use crate::convert;
use crate::model::{self, Change, NewProduct};

/// The product service.
pub(crate) struct Products {
    shelf: Cache,
}

impl Products {
    /// A service over the store behind `shelf`.
    pub(crate) fn new(shelf: Cache) -> Self {
        Self { shelf }
    }
}

#[tonic::async_trait]
impl ProductService for Products {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<Product>, Status> {
        let new = NewProduct::try_from(request.into_inner())?;
        let product = self.shelf.create(new).await?;
        Ok(Response::new(product.into()))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<Product>, Status> {
        let (id, change) = convert::change(request.into_inner())?;
        let product = self.shelf.update(id, change).await?;
        Ok(Response::new(product.into()))
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Result<Response<RemoveResponse>, Status> {
        let id = convert::id("id", request.into_inner().id)?;
        self.shelf.update(id, Change { status: Some(model::Status::OffSale), ..Change::default() }).await?;
        Ok(Response::new(RemoveResponse {}))
    }

    async fn detail(&self, request: Request<DetailRequest>) -> Result<Response<Product>, Status> {
        let caller = Caller::of(&request);
        // What is bought, or looked after, is looked at as it is.
        let is_exact = caller.is_admin() || matches!(caller, Caller::Service(_));
        let id = convert::id("id", request.into_inner().id)?;
        let product = if is_exact { self.shelf.find_now(id).await? } else { self.shelf.find(id).await? };
        Ok(Response::new(product.into()))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let (filter, page) = convert::list(request.into_inner())?;
        let products = self.shelf.list(filter, page).await?;
        let (products, next_page_token) = page.cut(products, |product| product.id);
        Ok(Response::new(ListResponse { products: products.into_iter().map(Into::into).collect(), next_page_token }))
    }

    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let (order, product, quantity) = convert::reservation(request.into_inner())?;
        self.shelf.reserve(order, product, quantity).await?;
        fault::point("product.reserved");
        Ok(Response::new(ReserveResponse {}))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let order = convert::id("orderId", request.into_inner().order_id)?;
        self.shelf.release(order).await?;
        fault::point("product.released");
        Ok(Response::new(ReleaseResponse {}))
    }
}
