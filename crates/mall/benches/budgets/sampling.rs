//! What tracing every request costs the services: a mall that does so beside one that traces nothing.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use testkit::process::Mall;
use testkit::shopper::Shopper;

use crate::report::{Goal, Row, number};
use crate::traffic::{Rest, load};
use crate::{MALL, median, on_one_thread, system};

const SERVICES: [&str; 2] = ["user.api", "user.rpc"];
/// Malls of both kinds, one after the other: processes of one kind differ by a tenth from start to start.
const PAIRS: usize = 3;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Until the last spans of a round are sent: their cost belongs to the round.
const SENDING: Duration = Duration::from_millis(1200);

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let (mut rounds, mut sent, mut dropped) = (Vec::new(), 0.0, 0.0);
        for _ in 0..PAIRS {
            let traced = Side::start("MALL__TELEMETRY__SAMPLER", "1.0").await?;
            let bare = Side::start("MALL__TELEMETRY__DISABLED", "true").await?;
            traced.round().await?;
            bare.round().await?;
            let before = traced.spans().await?;
            for _ in 0..ROUNDS {
                rounds.push((traced.round().await?, bare.round().await?));
            }
            let after = traced.spans().await?;
            sent += after.sent - before.sent;
            dropped += after.dropped - before.dropped;
        }
        ensure!(sent > 0.0, "no spans were sent");
        let lost = format!("{} % of the spans were dropped", number(100.0 * dropped / (sent + dropped)));
        let mut rows: Vec<_> = (0..SERVICES.len()).map(|index| service(index, &rounds, &lost)).collect();
        rows.push(viewer(&rounds, sent));
        Ok(rows)
    })
}

fn service(index: usize, rounds: &[(Costs, Costs)], lost: &str) -> Row {
    let times = rounds.iter().map(|(traced, bare)| (traced.services[index], bare.services[index]));
    let more = median(times.clone().map(|(traced, bare)| 100.0 * (traced / bare - 1.0)));
    let [traced, bare] = [median(times.clone().map(|it| it.0)), median(times.map(|it| it.1))].map(number);
    let budget = format!("{}, CPU of a request, sampler 1.0 over disabled", SERVICES[index]);
    Row::new(budget, Goal::AtMost(10.0), more, "%").note(format!("{traced} us, {bare} us disabled; {lost}"))
}

/// The same budget as that of its benchmark, with all that comes before the store.
fn viewer(rounds: &[(Costs, Costs)], spans: f64) -> Row {
    let seconds: f64 = rounds.iter().map(|(traced, _)| traced.viewer).sum();
    let row = Row::new("viewer, of one core, spans from the services", Goal::AtLeast(50_000.0), spans / seconds, "/s");
    row.note(format!("{spans:.0} spans by OTLP over gRPC"))
}

/// What a round cost.
struct Costs {
    /// Microseconds of CPU for a request, of each of [`SERVICES`].
    services: [f64; SERVICES.len()],
    /// Seconds of CPU of the viewer.
    viewer: f64,
}

/// What became of the services' spans so far.
#[derive(Default)]
struct Spans {
    sent: f64,
    dropped: f64,
}

/// A mall and its clients.
struct Side {
    mall: Mall,
    clients: Vec<Rest>,
}

impl Side {
    async fn start(variable: &str, value: &str) -> anyhow::Result<Self> {
        let mall = Mall::of(MALL).variable(variable, value).start().await;
        let shopper = Shopper::new(&mall, "15838607661").await;
        let clients = Rest::many(&mall, &shopper)?;
        Ok(Self { mall, clients })
    }

    async fn round(&self) -> anyhow::Result<Costs> {
        let before = self.cpu()?;
        let load = load(&self.clients, ROUND).await?;
        tokio::time::sleep(SENDING).await;
        let after = self.cpu()?;
        let [api, rpc, viewer] = [0, 1, 2].map(|index| after[index] - before[index]);
        Ok(Costs { services: [api, rpc].map(|seconds| seconds * 1e6 / load.calls), viewer })
    }

    /// Seconds of CPU so far, of each of [`SERVICES`] and the viewer.
    fn cpu(&self) -> anyhow::Result<[f64; 3]> {
        let pids = self.mall.services();
        let of = |name: &str| {
            let pid = pids.get(name).with_context(|| format!("{name} does not run"))?;
            anyhow::Ok(system::cpu(*pid)?.as_secs_f64())
        };
        Ok([of(SERVICES[0])?, of(SERVICES[1])?, of("viewer")?])
    }

    async fn spans(&self) -> anyhow::Result<Spans> {
        let mut spans = Spans::default();
        for service in SERVICES {
            let answer = self.mall.get(&format!("http://{}/metrics", self.mall.address(service, "admin"))).await;
            for line in std::str::from_utf8(answer.body())?.lines() {
                let value = || line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
                if line.starts_with("mall_telemetry_spans_sent") {
                    spans.sent += value();
                } else if line.starts_with("mall_telemetry_spans_dropped") {
                    spans.dropped += value();
                }
            }
        }
        Ok(spans)
    }
}
