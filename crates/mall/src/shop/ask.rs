//! What can be asked of a mall: one function for each request that a shopper sends.

use std::borrow::Cow;

use bytes::Bytes;
use gateway::Api;
use http::{HeaderName, HeaderValue, Method, header};
use proto::{order, pay, product, user};
use serde::Serialize;

use super::Token;

/// One request, wherever the mall is. It may have a password or a token in it, so it is not `Debug`.
pub(crate) struct Ask {
    pub(super) api: Api,
    pub(crate) method: Method,
    pub(crate) path: Cow<'static, str>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

impl Ask {
    pub(super) fn post(api: Api, path: &'static str, body: Bytes) -> Self {
        Self { api, method: Method::POST, path: path.into(), headers: Vec::new(), body }
    }

    /// POST of a message.
    pub(super) fn message(api: Api, path: &'static str, message: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self::post(api, path, serde_json::to_vec(message)?.into()))
    }

    fn get(api: Api, path: impl Into<Cow<'static, str>>) -> Self {
        Self { api, method: Method::GET, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// The same with a fault: a mall that allows it makes one where that says.
    pub(crate) fn with_fault(self, fault: &str) -> anyhow::Result<Self> {
        let baggage = HeaderValue::try_from(format!("{}={fault}", rpc::faults::FAULT))?;
        Ok(self.with(telemetry::semconv::BAGGAGE, baggage))
    }

    pub(super) fn with(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    fn by(mut self, token: &Token) -> Self {
        self.headers.push((header::AUTHORIZATION, token.0.clone()));
        self
    }

    pub(crate) fn who_am_i(token: &Token) -> serde_json::Result<Self> {
        Ok(Self::message(Api::User, "/api/user/userinfo", &user::v1::UserInfoRequest {})?.by(token))
    }

    /// The newest products on sale, as many as one page has.
    pub(crate) fn products_on_sale() -> serde_json::Result<Self> {
        let list = product::v1::ListRequest { status: Some(0), page_size: 100, ..Default::default() };
        Self::message(Api::Product, "/api/product/list", &list)
    }

    /// What a shop's front page shows.
    pub(crate) fn front_page() -> Self {
        Self::get(Api::Product, "/api/product?status=0&pageSize=20")
    }

    pub(crate) fn product(id: i64) -> Self {
        Self::get(Api::Product, format!("/api/product/{id}"))
    }

    /// An order, one and the same however often it is sent with this key.
    pub(crate) fn order(pid: i64, quantity: i64, key: &str, token: &Token) -> anyhow::Result<Self> {
        let order = order::v1::CreateRequest { pid, quantity: Some(quantity), ..Default::default() };
        let ask = Self::message(Api::Order, "/api/order/create", &order)?;
        Ok(ask.with(rpc::IDEMPOTENCY_KEY, HeaderValue::from_str(key)?).by(token))
    }

    pub(crate) fn order_detail(id: i64, token: &Token) -> serde_json::Result<Self> {
        let detail = order::v1::DetailRequest { id };
        Ok(Self::message(Api::Order, "/api/order/detail", &detail)?.by(token))
    }

    pub(crate) fn payment(oid: i64, token: &Token) -> serde_json::Result<Self> {
        let payment = pay::v1::CreateRequest { oid, ..Default::default() };
        Ok(Self::message(Api::Pay, "/api/pay/create", &payment)?.by(token))
    }

    pub(crate) fn payment_detail(id: i64, token: &Token) -> serde_json::Result<Self> {
        Ok(Self::message(Api::Pay, "/api/pay/detail", &pay::v1::DetailRequest { id })?.by(token))
    }
}
