//! The methods of `mall.product.v1.ProductService`: validate, call, convert.

use domain::fault;
use proto::product::v1::product_service_server::ProductService;
use proto::product::v1::{
    CreateRequest, DetailRequest, ListRequest, ListResponse, Product, ReleaseRequest, ReleaseResponse, RemoveRequest,
    RemoveResponse, ReserveRequest, ReserveResponse, UpdateRequest,
};
use tonic::{Request, Response, Status};

use crate::convert;
use crate::model::{self, Change, NewProduct};
use crate::store::Store;

/// The product service.
pub(crate) struct Products {
    store: Store,
}

impl Products {
    /// A service over `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl ProductService for Products {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<Product>, Status> {
        let new = NewProduct::try_from(request.into_inner())?;
        let product = self.store.create(new).await?;
        Ok(Response::new(product.into()))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<Product>, Status> {
        let (id, change) = convert::change(request.into_inner())?;
        let product = self.store.update(id, change).await?;
        Ok(Response::new(product.into()))
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Result<Response<RemoveResponse>, Status> {
        let id = convert::id("id", request.into_inner().id)?;
        self.store.update(id, Change { status: Some(model::Status::OffSale), ..Change::default() }).await?;
        Ok(Response::new(RemoveResponse {}))
    }

    async fn detail(&self, request: Request<DetailRequest>) -> Result<Response<Product>, Status> {
        let id = convert::id("id", request.into_inner().id)?;
        let product = self.store.find(id).await?;
        Ok(Response::new(product.into()))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let (filter, page) = convert::list(request.into_inner())?;
        let products = self.store.list(&filter, &page).await?;
        let (products, next_page_token) = page.cut(products, |product| product.id);
        Ok(Response::new(ListResponse { products: products.into_iter().map(Into::into).collect(), next_page_token }))
    }

    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let (order, product, quantity) = convert::reservation(request.into_inner())?;
        self.store.reserve(order, product, quantity).await?;
        fault::point("product.reserved");
        Ok(Response::new(ReserveResponse {}))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let order = convert::id("orderId", request.into_inner().order_id)?;
        self.store.release(order).await?;
        fault::point("product.released");
        Ok(Response::new(ReleaseResponse {}))
    }
}
