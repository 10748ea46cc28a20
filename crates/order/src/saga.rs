//! The way of an order through two services: each state is one row, each step may be taken again, and what a crash leaves
//! between two steps the recovery worker takes further. docs/orders.md draws it.

use std::time::Duration;

use domain::recovery::{self, Task, Unfinished, Waiting};
use domain::{fault, millis, now};
use telemetry::{Tally, metric};

use crate::error::Error;
use crate::model::{Order, Status, Wish};
use crate::products::Products;
use crate::store::Store;

/// Takes orders from one state to the next; clones share what they work with.
#[derive(Clone)]
pub(crate) struct Saga {
    store: Store,
    products: Products,
    /// How long an order may be unpaid.
    unpaid: Duration,
    recovery: recovery::Config,
}

impl Saga {
    pub(crate) fn new(store: Store, products: Products, unpaid: Duration, recovery: recovery::Config) -> Self {
        STEPS.show(Status::ALL.map(|state| [state.name()]));
        Self { store, products, unpaid, recovery }
    }

    /// Makes the order that is wished for, or answers the one that was made for the same wish before.
    pub(crate) async fn order(&self, wish: Wish) -> Result<Order, Error> {
        if let Some(earlier) = self.earlier(&wish).await? {
            return self.resume(earlier).await;
        }
        match self.begin(&wish).await {
            Ok(Some(order)) => self.place(order).await,
            // The same wish may have come by another way meanwhile: its order is the answer, and may be what took the units.
            other => match self.earlier(&wish).await? {
                Some(earlier) => self.resume(earlier).await,
                None => Err(other.err().unwrap_or(Error::Again)),
            },
        }
    }

    /// Writes down a pending order at the price of this moment; nothing if the key is taken.
    async fn begin(&self, wish: &Wish) -> Result<Option<Order>, Error> {
        let unit_price = self.products.price(wish).await?;
        let amount = wish.cost(unit_price)?;
        let begun = self.store.begin(wish, unit_price, amount, self.recovery.due()).await?;
        Ok(begun.inspect(|order| count(order.status)))
    }

    /// The order that this wish has become before.
    async fn earlier(&self, wish: &Wish) -> Result<Option<Order>, Error> {
        let Some(key) = &wish.key else { return Ok(None) };
        let Some(order) = self.store.find_by_key(wish.uid, key).await? else { return Ok(None) };
        if !wish.is(&order) {
            return Err(Error::KeyTaken(order.id));
        }
        wish.agrees(order.amount)?;
        Ok(Some(order))
    }

    /// Gives the answer that was given before, or would have been.
    async fn resume(&self, order: Order) -> Result<Order, Error> {
        match order.status {
            Status::Pending => self.place(order).await,
            _ => answer(order),
        }
    }

    /// Holds the units of a pending order, so that it is placed, or rejects it if there are none.
    async fn place(&self, order: Order) -> Result<Order, Error> {
        fault::point("order.pending");
        match self.products.reserve(&order).await {
            Ok(()) => {
                fault::point("order.reserved");
                let unpaid = now().saturating_add(millis(self.unpaid));
                let placed = self.step(order, Status::Placed, Some(unpaid)).await?;
                fault::point("order.placed");
                answer(placed)
            }
            Err(Error::Refused(why)) => {
                let rejected = self.step(order, Status::Rejected, None).await?;
                answer(rejected).map_err(|_| Error::Refused(why))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives up an order that is not paid; from then on its units will be given back, whatever happens.
    pub(crate) async fn cancel(&self, mut order: Order) -> Result<Order, Error> {
        // It may be placed in between, and is to be cancelled all the same; states only go forward, so this ends.
        while matches!(order.status, Status::Pending | Status::Placed) {
            order = self.step(order, Status::Cancelling, Some(self.recovery.due())).await?;
        }
        match order.status {
            Status::Cancelling => match self.give_back(order.clone()).await {
                // The worker tries again: the order is given up all the same.
                Err(Error::Product(_)) => Ok(order),
                other => other,
            },
            Status::Cancelled => Ok(order),
            from => Err(Error::State { id: order.id, from, to: Status::Cancelled }),
        }
    }

    /// Gives back the units of an order that was given up.
    async fn give_back(&self, order: Order) -> Result<Order, Error> {
        fault::point("order.cancelling");
        self.products.release(order.id).await?;
        fault::point("order.released");
        self.step(order, Status::Cancelled, None).await
    }

    /// Takes a paid order to its end.
    pub(crate) async fn close(&self, order: Order) -> Result<Order, Error> {
        let order = if order.status == Status::Paid { self.step(order, Status::Closed, None).await? } else { order };
        match order.status {
            Status::Closed => Ok(order),
            from => Err(Error::State { id: order.id, from, to: Status::Closed }),
        }
    }

    /// The order in its next state, or, if it has left its state already, as it is now.
    async fn step(&self, order: Order, to: Status, due: Option<i64>) -> Result<Order, Error> {
        debug_assert!(order.status.leads_to(to), "{order:?} to {to:?}");
        match self.store.advance(order.id, order.status, to, due).await? {
            Some(order) => {
                count(order.status);
                Ok(order)
            }
            None => self.store.find(order.id).await,
        }
    }
}

/// Orders by the states that they came into.
static STEPS: Tally = Tally::new(metric::ORDER_STEPS);

/// Counts an order that came into a state.
pub(crate) fn count(state: Status) {
    STEPS.count([state.name()]);
}

/// What is answered to whoever wished for the order: it, wherever it stands by now, unless it was rejected.
fn answer(order: Order) -> Result<Order, Error> {
    if order.status == Status::Rejected { Err(Error::Rejected(order.id)) } else { Ok(order) }
}

impl Unfinished for Saga {
    type Work = Order;
    type Error = Error;

    const NAME: &'static str = "order recovery";

    async fn waiting(&self, now: i64) -> Result<Waiting, Error> {
        self.store.waiting(now).await
    }

    async fn take(&self, now: i64, until: i64, limit: i64) -> Result<Vec<Task<Order>>, Error> {
        self.store.take(now, until, limit).await
    }

    async fn finish(&self, order: Order) -> Result<(), Error> {
        let done = match order.status {
            Status::Pending => self.place(order).await,
            // It is due because nobody has paid.
            Status::Placed => self.step(order, Status::Cancelling, Some(now())).await,
            _ => Ok(order),
        };
        let done = match done {
            Ok(order) if order.status == Status::Cancelling => self.give_back(order).await,
            done => done,
        };
        match done {
            // It was rejected, which is an end.
            Ok(_) | Err(Error::Refused(_) | Error::Rejected(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn postpone(&self, id: i64, until: i64, due: i64) -> Result<(), Error> {
        self.store.postpone(id, until, due).await
    }
}
