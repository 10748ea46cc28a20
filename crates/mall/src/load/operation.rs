//! What shoppers do, each request of it measured.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Instant;

use anyhow::{Context as _, bail};
use proto::order::v1::Order;
use proto::pay::v1::{CallbackResponse, Payment};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::mix::Operation;
use super::tally::{Row, Sample};
use super::users::User;
use crate::shop::{Ask, Provider, Shop, Token};

/// What may go wrong where one asks for it; a request that does not come by there notices nothing.
const FAULTS: [&str; 6] = [
    "ProductService/*:delay=300ms",
    "ProductService/*:error=UNAVAILABLE",
    "OrderService/*:delay=300ms",
    "OrderService/*:error=INTERNAL",
    "PayService/*:delay=3s",
    "PayService/*:error=UNAVAILABLE",
];

/// All shoppers and what they need.
pub(super) struct Crowd {
    shop: Shop,
    users: Vec<User>,
    products: Vec<i64>,
    provider: Option<Provider>,
    /// The share of requests that asks for a fault.
    faults: f64,
    /// Random numbers, one for every question that is put to it.
    random: RandomState,
}

impl Crowd {
    pub(super) fn new(shop: Shop, users: Vec<User>, products: Vec<i64>, provider: Option<Provider>) -> Self {
        Self { shop, users, products, provider, faults: 0.0, random: RandomState::new() }
    }

    /// The same, of whose requests this share asks for a fault; an error says that the mall makes none.
    pub(super) async fn with_faults(self, share: f64) -> anyhow::Result<Self> {
        let ask = Ask::product(self.product(0)?).with_fault("ProductService/Detail:error=ABORTED")?;
        let answer = self.shop.send(ask).await?;
        if answer.read::<IgnoredAny>().is_ok() {
            bail!("this mall makes no faults: start it with MALL__SERVER__FAULTS=true");
        }
        Ok(Self { faults: share, ..self })
    }

    pub(super) fn shop(&self) -> &Shop {
        &self.shop
    }

    pub(super) fn users(&self) -> &[User] {
        &self.users
    }

    /// A number that is random and, for one operation and one question, always the same.
    pub(super) fn random(&self, number: u64, question: &str) -> u64 {
        self.random.hash_one((number, question))
    }

    /// Does the operation of this number; the samples are the operation, counted from when it was due, and its steps.
    pub(super) async fn operate(&self, operation: Operation, number: u64, due: Instant) -> Vec<Sample> {
        let mut steps = Vec::new();
        let done = match operation {
            Operation::Browse => self.browse(number, &mut steps).await,
            Operation::Order => self.order(number, Row::Order, &mut steps).await.map(drop),
            Operation::Pay => self.pay(number, &mut steps).await,
        };
        let failure = done.err().map(|error| code(&error));
        let slowest = steps.iter().max_by_key(|step| step.took).and_then(|step| step.trace.clone());
        let whole = Sample { row: Row::of(operation), took: due.elapsed(), failure, trace: slowest };
        steps.retain(|step| step.row.is_step());
        steps.insert(0, whole);
        steps
    }

    async fn browse(&self, number: u64, steps: &mut Vec<Sample>) -> anyhow::Result<()> {
        let ask = match self.random(number, "list?") % 2 {
            0 => Ask::front_page(),
            _ => Ask::product(self.product(number)?),
        };
        self.step::<IgnoredAny>(number, Row::Browse, ask, steps).await.map(drop)
    }

    async fn order(&self, number: u64, row: Row, steps: &mut Vec<Sample>) -> anyhow::Result<Order> {
        let key = format!("load-{:016x}-{number}", self.random(0, "run"));
        let ask = Ask::order(self.product(number)?, 1, &key, &self.token(number)?)?;
        self.step(number, row, ask, steps).await
    }

    async fn pay(&self, number: u64, steps: &mut Vec<Sample>) -> anyhow::Result<()> {
        let order = self.order(number, Row::PayOrder, steps).await?;
        let ask = Ask::payment(order.id, &self.token(number)?)?;
        let payment: Payment = self.step(number, Row::PayPayment, ask, steps).await?;
        let provider = self.provider.as_ref().context("there is no provider")?;
        let callback = provider.callback(&payment)?;
        self.step::<CallbackResponse>(number, Row::PayCallback, callback, steps).await.map(drop)
    }

    /// Asks once, and notes how long that took and how it ended.
    async fn step<T: DeserializeOwned>(
        &self,
        number: u64,
        row: Row,
        ask: Ask,
        steps: &mut Vec<Sample>,
    ) -> anyhow::Result<T> {
        let ask = match self.fault(number, row) {
            Some(fault) => ask.with_fault(fault)?,
            None => ask,
        };
        let start = Instant::now();
        let answer = self.shop.send(ask).await;
        let took = start.elapsed();
        let trace = answer.as_ref().ok().and_then(|answer| answer.trace.clone());
        let read = answer.and_then(|answer| answer.read()).map_err(anyhow::Error::from);
        steps.push(Sample { row, took, failure: read.as_ref().err().map(code), trace });
        read
    }

    fn fault(&self, number: u64, row: Row) -> Option<&'static str> {
        let asks = self.random.hash_one((number, row, "fault?")) as f64 / u64::MAX as f64;
        (asks < self.faults).then(|| pick(&FAULTS, self.random.hash_one((number, row, "fault"))).copied())?
    }

    fn product(&self, number: u64) -> anyhow::Result<i64> {
        pick(&self.products, self.random(number, "product")).copied().context("there is no product")
    }

    /// Operations go round the users.
    fn token(&self, number: u64) -> anyhow::Result<Token> {
        pick(&self.users, number).map(User::token).context("there is no user")
    }
}

fn pick<T>(all: &[T], number: u64) -> Option<&T> {
    all.get(number.checked_rem(all.len() as u64)? as usize)
}

/// What failed, in a word or two.
fn code(error: &anyhow::Error) -> String {
    error.downcast_ref::<crate::shop::Error>().map_or_else(|| "not sent".to_owned(), crate::shop::Error::code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_go_round_all() {
        let picked: Vec<_> = (0..5).filter_map(|number| pick(&["a", "b", "c"], number)).collect();
        assert_eq!(picked, [&"a", &"b", &"c", &"a", &"b"]);
        assert_eq!(pick::<()>(&[], 1), None);
    }
}
