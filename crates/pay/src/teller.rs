//! Tells order.rpc which payments are settled: at once, and later by the recovery worker where that failed.

use domain::fault;
use domain::recovery::{Task, Unfinished, Waiting};
use telemetry::{Tally, metric};

use crate::error::Error;
use crate::model::Payment;
use crate::orders::Orders;
use crate::store::Store;

/// How payments ended.
pub(crate) static PAYMENTS: Tally = Tally::new(metric::PAYMENTS);

/// Works off the outbox; clones share what they work with.
#[derive(Clone)]
pub(crate) struct Teller {
    store: Store,
    orders: Orders,
}

impl Teller {
    pub(crate) fn new(store: Store, orders: Orders) -> Self {
        PAYMENTS.show([["succeeded"], ["failed"], ["refund_due"]]);
        Self { store, orders }
    }

    /// Tells of one payment; where the order could not be paid any more, the money is to be given back.
    pub(crate) async fn tell(&self, payment: &Payment) -> Result<(), Error> {
        fault::point("pay.settled");
        let accepted = self.orders.mark_paid(payment).await?;
        fault::point("pay.told");
        if self.store.told(payment.id, accepted).await? && !accepted {
            PAYMENTS.count(["refund_due"]);
        }
        Ok(())
    }
}

impl Unfinished for Teller {
    type Work = Payment;
    type Error = Error;

    const NAME: &'static str = "payment recovery";

    async fn waiting(&self, now: i64) -> Result<Waiting, Error> {
        self.store.waiting(now).await
    }

    async fn take(&self, now: i64, until: i64, limit: i64) -> Result<Vec<Task<Payment>>, Error> {
        self.store.take(now, until, limit).await
    }

    async fn finish(&self, payment: Payment) -> Result<(), Error> {
        self.tell(&payment).await
    }

    async fn postpone(&self, id: i64, until: i64, due: i64) -> Result<(), Error> {
        self.store.postpone(id, until, due).await
    }
}
