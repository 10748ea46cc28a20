//! The methods of `mall.pay.v1.PayService`: validate, call, convert.

use auth::{BadSignature, CallbackKey, Caller};
use domain::{recovery, rules};
use proto::pay::v1::pay_service_server::PayService;
use proto::pay::v1::{CallbackRequest, CallbackResponse, CreateRequest, DetailRequest, Payment};
use rpc::Invalid;
use telemetry::{Tally, metric};
use tonic::{Request, Response, Status};

use crate::convert;
use crate::error::Error;
use crate::model::{self, Callback, Outcome};
use crate::orders::Orders;
use crate::store::Store;
use crate::teller::{PAYMENTS, Teller};

/// The state of an order that is to be paid, in order.rpc's numbers.
const PLACED: i32 = 0;

/// Callbacks that were refused.
static REFUSED: Tally = Tally::new(metric::CALLBACKS_REFUSED);

/// The payment service.
pub(crate) struct Payments {
    pub(crate) store: Store,
    pub(crate) orders: Orders,
    pub(crate) teller: Teller,
    /// Verifies what the provider says.
    pub(crate) provider: CallbackKey,
    /// Whether an admin's token is as good as the provider's signature.
    pub(crate) admin_settles: bool,
    pub(crate) recovery: recovery::Config,
}

impl Payments {
    /// Shows what callbacks can be refused for, before any is.
    pub(crate) fn counting(self) -> Self {
        REFUSED.show(Error::REFUSALS.map(|reason| [reason]));
        self
    }

    /// Begins the payment of an order of the user `uid`, or answers the one that is under way.
    async fn begin(&self, uid: i64, request: &CreateRequest) -> Result<model::Payment, Error> {
        let oid = convert::order(uid, request)?;
        let order = self.orders.find(oid, uid).await?;
        convert::agrees(request, &order)?;
        if order.status != PLACED {
            return Err(Error::NotPayable(oid));
        }
        // The payment that was in the way may fail in between, and then it no longer is.
        for _ in 0..2 {
            if let Some(payment) = self.store.begin(uid, oid, order.amount).await? {
                return Ok(payment);
            }
            let Some(payment) = self.store.find_of_order(oid).await? else { continue };
            let is_this = (payment.uid, payment.amount) == (uid, order.amount);
            // One that is settled is about to be told to order.rpc.
            let is_pending = payment.status == model::Status::Pending;
            return if is_this && is_pending { Ok(payment) } else { Err(Error::NotPayable(oid)) };
        }
        Err(Error::Again)
    }

    /// Whether the provider signed the callback, or an admin may stand in for it.
    fn authorize(&self, request: &Request<CallbackRequest>) -> Result<(), Error> {
        let Some(signature) = request.metadata().get(rpc::SIGNATURE) else {
            let stands_in = self.admin_settles && Caller::of(request).is_admin();
            return if stands_in { Ok(()) } else { Err(Error::Unsigned) };
        };
        let signature = signature.to_str().map_err(|_| BadSignature::Malformed)?;
        let body =
            request.metadata().get_bin(rpc::SIGNED_BODY).and_then(|body| body.to_bytes().ok()).unwrap_or_default();
        self.provider.verify(signature, &body)?;
        // The message is what the body says, and nothing else.
        match serde_json::from_slice::<CallbackRequest>(&body) {
            Ok(message) if message == *request.get_ref() => Ok(()),
            _ => Err(BadSignature::Wrong.into()),
        }
    }

    async fn settle(&self, request: Request<CallbackRequest>) -> Result<(), Error> {
        self.authorize(&request)?;
        let callback = Callback::try_from(request.into_inner())?;
        let payment = self.store.find(callback.id).await?;
        callback.agrees(&payment).map_err(Error::Mismatch)?;
        let Callback { id, source, outcome, .. } = callback;
        let ended = self.store.end(id, source, outcome, self.recovery.due()).await?;
        if ended.is_some() {
            PAYMENTS.count([if outcome == Outcome::Paid { "succeeded" } else { "failed" }]);
        }
        match ended {
            Some(paid) if outcome == Outcome::Paid => {
                if let Err(error) = self.teller.tell(&paid).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "order.rpc will be told of a payment later"
                    );
                }
                Ok(())
            }
            Some(_) => Ok(()),
            None if outcome.was(self.store.find(id).await?.status) => Ok(()),
            None => Err(Error::Ended(id)),
        }
    }
}

#[tonic::async_trait]
impl PayService for Payments {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<Payment>, Status> {
        let uid = Caller::of(&request).user_id()?;
        let payment = self.begin(uid, request.get_ref()).await?;
        Ok(Response::new(payment.into()))
    }

    async fn detail(&self, request: Request<DetailRequest>) -> Result<Response<Payment>, Status> {
        let id = rules::positive(request.get_ref().id).map_err(|rule| Invalid::field("id", rule))?;
        let payment = self.store.find(id).await?;
        if !Caller::of(&request).may_see(payment.uid) {
            return Err(Error::NotFound(id).into());
        }
        Ok(Response::new(payment.into()))
    }

    async fn callback(&self, request: Request<CallbackRequest>) -> Result<Response<CallbackResponse>, Status> {
        self.settle(request).await.inspect_err(count)?;
        Ok(Response::new(CallbackResponse {}))
    }
}

/// Counts a callback that was refused.
fn count(error: &Error) {
    if let Some(reason) = error.refusal() {
        REFUSED.count([reason]);
    }
}
