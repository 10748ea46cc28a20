//! Between the messages of the API and the domain.

use domain::{Page, rules};
use proto::order::v1::{self, CreateRequest, ListRequest, MarkPaidRequest, UpdateRequest};
use rpc::{Checks, Invalid};

use crate::model::{Order, Status, Wish, quantity};

impl From<Order> for v1::Order {
    fn from(order: Order) -> Self {
        let Order { id, uid, pid, quantity, unit_price, amount, status, payment: _, created_at } = order;
        Self { id, uid, pid, amount, status: status as i32, quantity, unit_price, created_at: created_at / 1000 }
    }
}

/// What the user `uid` wants, with the key that came in a header.
pub(crate) fn wish(uid: i64, header: Option<String>, request: CreateRequest) -> Result<Wish, Invalid> {
    let CreateRequest { uid: given_uid, pid, amount, status, quantity: units, idempotency_key: field } = request;
    let mut checks = Checks::default();
    checks.field("uid", rules::agrees(given_uid, &uid));
    checks.field("status", rules::agrees(status, &(Status::Placed as i32)));
    let pid = checks.field("pid", rules::positive(pid));
    let quantity = checks.field("quantity", quantity(units.unwrap_or(1)));
    if let (Some(header), Some(_)) = (&header, &field) {
        checks.field("idempotencyKey", rules::agrees(field.clone(), header));
    }
    let key = field.or(header).and_then(|key| checks.field("idempotencyKey", rules::idempotency_key(key)));
    checks.done(|| Some(Wish { uid, pid: pid?, quantity: quantity?, amount, key }))
}

/// The order, and the state that it is to have.
pub(crate) fn update(request: &UpdateRequest) -> Result<(i64, Option<Status>), Invalid> {
    let mut checks = Checks::default();
    let id = checks.field("id", rules::positive(request.id));
    let status = request.status.and_then(|status| checks.field("status", Status::parse(status)));
    checks.done(|| Some((id?, status)))
}

/// Whether what an admin says of an order is so.
pub(crate) fn agrees(request: &UpdateRequest, order: &Order) -> Result<(), Invalid> {
    let mut checks = Checks::default();
    checks.field("uid", rules::agrees(request.uid, &order.uid));
    checks.field("pid", rules::agrees(request.pid, &order.pid));
    checks.field("amount", rules::agrees(request.amount, &order.amount));
    checks.done(|| Some(()))
}

/// Which page of the orders of the user `uid`.
pub(crate) fn page(uid: i64, request: &ListRequest) -> Result<Page, Invalid> {
    let mut checks = Checks::default();
    let page = Page::parse(&mut checks, request.page_size, &request.page_token, &uid.to_string());
    checks.done(|| page)
}

/// The order, the payment and the amount.
pub(crate) fn paid(request: MarkPaidRequest) -> Result<(i64, i64, i64), Invalid> {
    let MarkPaidRequest { order_id, payment_id, amount } = request;
    let mut checks = Checks::default();
    let order = checks.field("orderId", rules::positive(order_id));
    let payment = checks.field("paymentId", rules::positive(payment_id));
    let amount = checks.field("amount", rules::count(amount));
    checks.done(|| Some((order?, payment?, amount?)))
}
