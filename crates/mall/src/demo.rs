//! `mall demo`: one shopper against a running mall, step by step, each with the address of its trace.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, bail};
use proto::order::v1::Order;
use proto::pay::v1::{CallbackResponse, Payment};
use proto::product::v1::ListResponse;
use proto::user::v1::{LoginResponse, RegisterResponse, UserInfoResponse};
use serde::de::DeserializeOwned;

use crate::shop::{Account, Ask, Provider, Shop, Token, Whereabouts, buyable};

/// The status of an order, and of a payment, that is paid.
const PAID: i32 = 1;

/// How many units are ordered.
const QUANTITY: i64 = 2;

pub(crate) fn run(whereabouts: &Whereabouts) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut walk = Walk { shop: Shop::new(whereabouts)?, traced: false };
        walk.shop(whereabouts).await
    })
}

/// A shopper's way through the mall.
struct Walk {
    shop: Shop,
    /// Whether any step so far has a trace.
    traced: bool,
}

impl Walk {
    async fn shop(&mut self, whereabouts: &Whereabouts) -> anyhow::Result<()> {
        let account = Account::random();
        let mut out = std::io::stdout();
        writeln!(out, "A shopper with the mobile number {} at {}\n", account.mobile, self.shop.user_api())?;

        self.step::<RegisterResponse>("register", account.register()?).await?;
        let token = Token::new(&self.step::<LoginResponse>("log in", account.log_in()?).await?)?;
        self.step::<UserInfoResponse>("who am I", Ask::who_am_i(&token)?).await?;
        let order = self.buy(whereabouts, &token).await?;

        writeln!(out, "\n{}", serde_json::to_string(&order)?)?;
        if self.traced {
            writeln!(out, "\n{}", self.where_traces_are().await)?;
        }
        Ok(())
    }

    /// From the list of products to the paid order.
    async fn buy(&mut self, whereabouts: &Whereabouts, token: &Token) -> anyhow::Result<Order> {
        // Before there is an order that cannot be paid.
        let provider = Provider::load(whereabouts)?;
        let products = buyable(self.step::<ListResponse>("products", Ask::products_on_sale()?).await?, QUANTITY)?;
        let product = products.first().context("there is no product")?;
        let key = format!("demo-{:016x}", RandomState::new().hash_one("order"));
        let order: Order = self.step("order", Ask::order(product.id, QUANTITY, &key, token)?).await?;
        let payment: Payment = self.step("pay", Ask::payment(order.id, token)?).await?;
        let settled = self.step::<CallbackResponse>("callback", provider.callback(&payment)?).await;
        settled.context("is the mall that answers here the one whose data --data-dir names?")?;
        let order: Order = self.step("the order", Ask::order_detail(order.id, token)?).await?;
        if order.status != PAID {
            bail!(
                "the order is paid, but its status is still {}: look at the logs of pay.rpc and order.rpc",
                order.status
            );
        }
        let payment: Payment = self.step("the payment", Ask::payment_detail(payment.id, token)?).await?;
        if payment.status != PAID {
            bail!("the payment's status is {} after the callback: look at the log of pay.rpc", payment.status);
        }
        Ok(order)
    }

    async fn step<T: DeserializeOwned>(&mut self, what: &str, ask: Ask) -> anyhow::Result<T> {
        let (method, path) = (ask.method.clone(), ask.path.clone());
        let start = Instant::now();
        let answer = self.shop.send(ask).await?;
        let millis = start.elapsed().as_millis();
        self.traced |= answer.trace.is_some();
        let trace = match &answer.trace {
            Some(id) => self.shop.trace_address(id),
            None => "not sampled, so no trace".to_owned(),
        };
        let status = answer.status.as_u16();
        writeln!(std::io::stdout(), "{what:11} {method} {path:18} {status} {millis:5} ms  {trace}")?;
        answer.read().with_context(|| format!("{what} failed"))
    }

    async fn where_traces_are(&self) -> String {
        if self.shop.has_viewer().await {
            return "The traces are there a second later.".to_owned();
        }
        let viewer = self.shop.viewer();
        format!(
            "Nothing answers at {viewer} from here. A cluster's Jaeger comes there by `kubectl port-forward jaeger 5000:16686`; \
             --viewer names another."
        )
    }
}
