//! Between the messages of the API and the domain.

use domain::rules;
use proto::order::v1::Order;
use proto::pay::v1::{self, CallbackRequest, CreateRequest};
use rpc::{Checks, Invalid};

use crate::model::{Callback, Outcome, Payment};

impl From<Payment> for v1::Payment {
    fn from(Payment { id, uid, oid, amount, source, status }: Payment) -> Self {
        Self { id, uid, oid, amount, source, status: status as i32 }
    }
}

impl TryFrom<CallbackRequest> for Callback {
    type Error = Invalid;

    fn try_from(CallbackRequest { id, uid, oid, amount, source, status }: CallbackRequest) -> Result<Self, Invalid> {
        let mut checks = Checks::default();
        let id = checks.field("id", rules::positive(id));
        let oid = checks.field("oid", rules::positive(oid));
        let amount = checks.field("amount", rules::count(amount));
        let source = checks.field("source", if source >= 0 { Ok(source) } else { Err("must be 0 or more") });
        let outcome = checks.field("status", Outcome::parse(status));
        checks.done(|| Some(Self { id: id?, uid, oid: oid?, amount: amount?, source: source?, outcome: outcome? }))
    }
}

impl Callback {
    /// Whether the callback is about this payment.
    pub(crate) fn agrees(&self, payment: &Payment) -> Result<(), Invalid> {
        let mut checks = Checks::default();
        checks.field("uid", rules::agrees(self.uid, &payment.uid));
        checks.field("oid", rules::agrees(Some(self.oid), &payment.oid));
        checks.field("amount", rules::agrees(Some(self.amount), &payment.amount));
        checks.done(|| Some(()))
    }
}

/// The id of the order that the user `uid` wants to pay.
pub(crate) fn order(uid: i64, request: &CreateRequest) -> Result<i64, Invalid> {
    let mut checks = Checks::default();
    checks.field("uid", rules::agrees(request.uid, &uid));
    let oid = checks.field("oid", rules::positive(request.oid));
    checks.done(|| oid)
}

/// Whether what the user says of the order is so.
pub(crate) fn agrees(request: &CreateRequest, order: &Order) -> Result<(), Invalid> {
    rules::agrees(request.amount, &order.amount).map_err(|rule| Invalid::field("amount", rule))
}
