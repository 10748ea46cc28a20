//! One of two malls that are compared: it is asked who its user is, and its services' CPU is read.

use std::time::Duration;

use testkit::process::Mall;
use testkit::shopper::Shopper;

use crate::traffic::{Rest, load};
use crate::{MALL, system};

/// What a userinfo request passes through.
pub(crate) const SERVICES: [&str; 2] = ["user.api", "user.rpc"];

/// A mall and its clients.
pub(crate) struct Side {
    pub(crate) mall: Mall,
    clients: Vec<Rest>,
}

/// How a round went.
pub(crate) struct Round {
    /// Microseconds of CPU for a request, of each of [`SERVICES`].
    pub(crate) cpu: [f64; SERVICES.len()],
    /// The time that 99 of 100 requests did not exceed, in milliseconds.
    pub(crate) p99: f64,
}

impl Side {
    /// A mall with these variables, which sends what it tells of itself to `otlp` in place of the viewer.
    pub(crate) async fn start(variables: &[(&str, &str)], otlp: Option<&str>) -> anyhow::Result<Self> {
        let mut mall = Mall::of(MALL);
        for (name, value) in variables {
            mall = mall.variable(name, value);
        }
        if let Some(url) = otlp {
            mall = mall.argument("--otlp").argument(url);
        }
        let mall = mall.start().await;
        let shopper = Shopper::new(&mall, "15838607661").await;
        let clients = Rest::many(&mall, &shopper)?;
        Ok(Self { mall, clients })
    }

    /// Asks for `time`; what is sent within `after` is part of the cost.
    pub(crate) async fn round(&self, time: Duration, after: Duration) -> anyhow::Result<Round> {
        let before = self.cpu()?;
        let load = load(&self.clients, time).await?;
        tokio::time::sleep(after).await;
        let now = self.cpu()?;
        let cpu = std::array::from_fn(|index| (now[index] - before[index]) * 1e6 / load.calls);
        Ok(Round { cpu, p99: load.p99 })
    }

    /// Seconds of CPU so far, of each of [`SERVICES`].
    fn cpu(&self) -> anyhow::Result<[f64; SERVICES.len()]> {
        let mut seconds = [0.0; SERVICES.len()];
        for (seconds, service) in seconds.iter_mut().zip(SERVICES) {
            *seconds = system::cpu(system::pid(&self.mall, service)?)?.as_secs_f64();
        }
        Ok(seconds)
    }
}
