//! What tracing costs user.rpc, beside what it costs the same service in Go with otelgrpc and otelpgx: CPU of a call, with
//! nothing, a hundredth and all of the traces sent to a sink that keeps none.

use std::any::Any;
use std::time::Duration;

use anyhow::ensure;
use testkit::database::Server;
use testkit::otlp::Sink;
use testkit::process::Mall;
use testkit::shopper::Shopper;

use super::{Peer, ROUND, ROUNDS, postgres};
use crate::report::{Goal, Row, number};
use crate::traffic::{CONNECTIONS, Grpc, load};
use crate::{MALL, median, on_one_thread, system};

const SAMPLERS: [&str; 3] = ["off", "0.01", "1.0"];
/// Until the last spans of a round are sent: their cost belongs to the round. Go's leave after 5 s, or when there are many.
const SENDING: Duration = Duration::from_millis(1200);

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let (server, sink) = (postgres().await?, Sink::discarding().await);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (sampler, mobile) in SAMPLERS.into_iter().zip(["15838607661", "15838607662", "15838607663"]) {
            let side = Side::ours(&server, &sink, sampler, mobile).await?;
            theirs.push(Side::theirs(&server, &sink, sampler, &side).await?);
            ours.push(side);
        }
        let mut costs: [[Vec<f64>; SAMPLERS.len()]; 2] = Default::default();
        for round in 0..=ROUNDS {
            for (kind, sides) in [&ours, &theirs].into_iter().enumerate() {
                for (sampler, side) in sides.iter().enumerate() {
                    let cost = side.round().await?;
                    if round > 0 {
                        costs[kind][sampler].push(cost);
                    }
                }
            }
        }
        (1..SAMPLERS.len()).map(|sampler| price(sampler, &costs)).collect()
    })
}

/// What a call costs more than without tracing: ours in hundredths of theirs.
fn price(sampler: usize, costs: &[[Vec<f64>; SAMPLERS.len()]; 2]) -> anyhow::Result<Row> {
    let [ours, theirs] = costs.each_ref().map(|kind| {
        let [off, on] = [0, sampler].map(|index| median(kind[index].iter().copied()));
        (on - off, off)
    });
    ensure!(theirs.0 > 0.0, "tracing costs Go nothing, which cannot be: {theirs:?}");
    let budget = format!("tracing's price, sampler {}, of Go's", SAMPLERS[sampler]);
    let note = format!(
        "{} us a call beside {} without, and {} us beside {}",
        number(ours.0),
        number(ours.1),
        number(theirs.0),
        number(theirs.1)
    );
    Ok(Row::new(budget, Goal::AtMost(50.0), 100.0 * ours.0 / theirs.0, "%").note(note))
}

/// A service that is asked who a user is.
struct Side {
    clients: Vec<Grpc>,
    pid: u32,
    token: String,
    keys: String,
    /// What goes when this does.
    _running: Box<dyn Any>,
}

impl Side {
    async fn ours(server: &Server, sink: &Sink, sampler: &str, mobile: &str) -> anyhow::Result<Self> {
        let mall = Mall::of(MALL).variable("MALL__TELEMETRY__METRICS__DISABLED", "true");
        let mall = match sampler {
            "off" => mall.variable("MALL__TELEMETRY__DISABLED", "true"),
            share => mall.variable("MALL__TELEMETRY__SAMPLER", share).argument("--otlp").argument(&sink.url()),
        };
        let url = server.url("");
        let mall = mall.argument("--postgres").argument(url.trim_end_matches('/')).start().await;
        let shopper = Shopper::new(&mall, mobile).await;
        let clients = Grpc::at(&mall.url("user.rpc"), &shopper.token)?;
        let (pid, keys) = (system::pid(&mall, "user.rpc")?, mall.data().join("keys").display().to_string());
        Ok(Self { clients, pid, token: shopper.token, keys, _running: Box::new(mall) })
    }

    async fn theirs(server: &Server, sink: &Sink, sampler: &str, ours: &Self) -> anyhow::Result<Self> {
        let (users, products, otlp) = (server.url("user"), server.url("product"), sink.url());
        let arguments = [
            ("--user-database", users.as_str()),
            ("--product-database", &products),
            ("--keys", &ours.keys),
            ("--otlp", &otlp),
            ("--sampler", sampler),
        ];
        let peer = Peer::start("service", &arguments).await?;
        let clients = Grpc::at(&format!("http://{}", peer.address), &ours.token)?;
        let (pid, token, keys) = (peer.process.pid(), ours.token.clone(), ours.keys.clone());
        Ok(Self { clients, pid, token, keys, _running: Box::new(peer) })
    }

    /// Microseconds of CPU for a call.
    async fn round(&self) -> anyhow::Result<f64> {
        let before = system::cpu(self.pid)?;
        let load = load(&self.clients[..CONNECTIONS], ROUND).await?;
        tokio::time::sleep(SENDING).await;
        Ok((system::cpu(self.pid)? - before).as_secs_f64() * 1e6 / load.calls)
    }
}
