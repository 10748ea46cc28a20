//! Random commands by several clients at once, with crashes at random places: every answer that was given holds in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::process::{Mall, Signal, json as body, signal};

use crate::books::Books;
use crate::support::{Customer, Faults, mall, number};

/// Clients of one user, who know each other's orders by name.
const CLIENTS: u64 = 3;
/// Commands of each client that are answered, whatever the answer is.
const COMMANDS: usize = 60;
const STOCK: i64 = 40;

/// Where a process may be struck.
const PLACES: [&str; 12] = [
    "order.pending",
    "product.reserving",
    "product.reserved",
    "order.reserved",
    "order.placed",
    "order.paid",
    "order.cancelling",
    "product.releasing",
    "product.released",
    "order.released",
    "pay.settled",
    "pay.told",
];

/// What was answered: that, and no more, must be true.
#[derive(Debug, Default)]
struct Known {
    /// By the order's name: its id, and how many units.
    orders: BTreeMap<String, (i64, i64)>,
    /// Orders whose cancelling was confirmed.
    cancelled: Vec<i64>,
    /// Payments, by their ids.
    payments: BTreeMap<i64, Value>,
    /// Payments whose callback was confirmed, and what it said.
    ended: BTreeMap<i64, i32>,
}

struct Walk<'a> {
    customer: Customer<'a>,
    product: i64,
    random: fastrand::Rng,
    known: Known,
    made: i64,
}

impl Walk<'_> {
    /// Tells whether there was an answer that is not the mall's own trouble.
    async fn step(&mut self) -> bool {
        match self.random.u32(0..10) {
            0..4 => self.order().await,
            4 => self.order_again().await,
            5 => self.cancel().await,
            6 | 7 => self.pay().await,
            _ => self.call_back().await,
        }
    }

    async fn order(&mut self) -> bool {
        self.made += 1;
        // Another client may be at the same order at the same moment.
        self.send_order(&format!("order-{}", self.made), 1 + self.made % 3).await
    }

    async fn order_again(&mut self) -> bool {
        let Some((name, (_, quantity))) = self.pick(|known| known.orders.iter()) else { return false };
        self.send_order(&name, quantity).await
    }

    async fn send_order(&mut self, name: &str, quantity: i64) -> bool {
        let Some(answer) = self.customer.order(name, self.product, quantity).await else { return false };
        if answer.status() != 200 {
            assert!(!self.known.orders.contains_key(name), "{name} was there: {answer:?}");
            assert_eq!(body(&answer)["code"], 9, "{answer:?}");
            return true;
        }
        let id = number(&body(&answer)["id"]);
        let before = self.known.orders.insert(name.to_owned(), (id, quantity));
        assert!(before.is_none_or(|(before, _)| before == id), "{name} is two orders");
        true
    }

    async fn cancel(&mut self) -> bool {
        let Some((_, (id, _))) = self.pick(|known| known.orders.iter()) else { return false };
        let status = self.customer.post("/api/order/remove", &json!({ "id": id })).await.status();
        if status == 200 {
            self.known.cancelled.push(id);
        }
        !status.is_server_error()
    }

    async fn pay(&mut self) -> bool {
        let Some((_, (id, _))) = self.pick(|known| known.orders.iter()) else { return false };
        let answer = self.customer.post("/api/pay/create", &json!({ "oid": id })).await;
        if answer.status() == 200 {
            let payment = body(&answer);
            self.known.payments.insert(number(&payment["id"]), payment);
        }
        !answer.status().is_server_error()
    }

    async fn call_back(&mut self) -> bool {
        let Some((id, payment)) = self.pick(|known| known.payments.iter()) else { return false };
        let status = if self.random.u32(0..4) == 0 { 2 } else { 1 };
        let answer = self.customer.call_back(&payment, status).await.status();
        if answer == 200 {
            let before = self.known.ended.insert(id, status);
            assert!(before.is_none_or(|before| before == status), "payment {id} ended twice");
        }
        !answer.is_server_error()
    }

    /// One of what is known.
    fn pick<'s, K, V, I>(&'s mut self, all: impl FnOnce(&'s Known) -> I) -> Option<(K, V)>
    where
        K: Clone + 's,
        V: Clone + 's,
        I: ExactSizeIterator<Item = (&'s K, &'s V)>,
    {
        let choice = self.random.usize(..);
        let mut all = all(&self.known);
        let count = all.len();
        (count > 0).then(|| all.nth(choice % count).map(|(key, value)| (key.clone(), value.clone())))?
    }

    /// Whether what was answered is so.
    fn check(&self, books: &Books) {
        for (name, (id, quantity)) in &self.known.orders {
            let order = books.orders.get(id).unwrap_or_else(|| panic!("{name} is lost"));
            assert_eq!((order.quantity, order.amount), (*quantity, 50 * quantity), "{order:?}");
            assert_ne!(order.status, 4, "{name} was placed, and is rejected");
        }
        for id in &self.known.cancelled {
            assert_eq!(books.orders[id].status, 6, "{:?} was cancelled", books.orders[id]);
        }
        for (id, said) in &self.known.ended {
            let payment = books.payments.iter().find(|payment| payment.id == *id).expect("a payment that was answered");
            let ends: &[i16] = if *said == 1 { &[1, 3] } else { &[2] };
            assert!(ends.contains(&payment.status), "the provider said {said}: {payment:?}");
        }
    }
}

/// Kills a service now and then, at once or at the next place of its work.
fn strike(mall: &Mall, faults: &Faults, chance: &mut fastrand::Rng) {
    match chance.u32(0..40) {
        0..3 => faults.arm(chance.choice(PLACES).unwrap()),
        3 => {
            let name = chance.choice(["order.rpc", "product.rpc", "pay.rpc"]).unwrap();
            if let Some(pid) = mall.services().get(name) {
                signal(*pid, Signal::KILL);
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_every_answer_holds() {
    let faults = Faults::new();
    let mall = mall(Some(&faults)).start().await;
    let customer = Customer::new(&mall, "15838607660").await;
    let product = customer.offer(STOCK, 50).await;
    let seed = std::env::var("MALL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("MALL_SEED={seed} chooses the same commands again");
    let clients = (0..CLIENTS).map(|client| {
        let random = fastrand::Rng::with_seed(seed.wrapping_add(client));
        let customer = Customer { mall: &mall, token: customer.token.clone() };
        let mut walk = Walk { customer, product, random, known: Known::default(), made: 0 };
        let mut chance = fastrand::Rng::with_seed(!seed.wrapping_add(client));
        let (mall, faults) = (&mall, &faults);
        async move {
            let mut answered = 0;
            while answered < COMMANDS {
                if walk.step().await {
                    answered += 1;
                    strike(mall, faults, &mut chance);
                } else {
                    // Who was struck is back in a moment.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            walk
        }
    });
    let walks = futures::future::join_all(clients).await;
    PLACES.iter().for_each(|place| faults.disarm(place));
    let books = Books::closed(&mall).await;
    books.balance(&[(product, STOCK)]);
    for walk in &walks {
        walk.check(&books);
        let Known { orders, cancelled, ended, .. } = &walk.known;
        eprintln!("{} orders known, {} cancelled, {} payments ended", orders.len(), cancelled.len(), ended.len());
        assert!(!orders.is_empty(), "a walk that got nowhere");
    }
    // One client may find all of its orders cancelled by the others before it pays.
    assert!(walks.iter().any(|walk| !walk.known.ended.is_empty()), "nobody paid");
    let struck = mall.logs().text().matches("is ready again").count();
    assert!(struck > 0, "nobody was struck");
}
