//! user.api beside grpc-gateway v2, both in front of the same user.rpc, and beside a client that needs no gateway.

use testkit::process::Mall;
use testkit::shopper::Shopper;

use super::{Peer, ROUND, ROUNDS, ratio};
use crate::report::{Goal, Row, number};
use crate::traffic::{Grpc, Load, load};
use crate::wire::Wire;
use crate::{MALL, median, on_one_thread, system};

const PATH: &str = "/api/user/userinfo";

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        // Neither side tells of itself.
        let mall = Mall::of(MALL)
            .variable("MALL__TELEMETRY__DISABLED", "true")
            .variable("MALL__TELEMETRY__METRICS__DISABLED", "true")
            .start()
            .await;
        let shopper = Shopper::new(&mall, "15838607661").await;
        let upstream = mall.address("user.rpc", "listen").to_string();
        let peer = Peer::start("gateway", &[("--upstream", &upstream), ("--sampler", "off")]).await?;
        let wire = |address| Wire::post(address, PATH, Some(&shopper.token), "{}");
        let mut rows = Vec::new();
        for connections in [1, 16, 256] {
            let ours = vec![wire(mall.address("user.api", "listen")); connections];
            let theirs = vec![wire(peer.address); connections];
            let none: Vec<_> = (0..connections).map(|_| Grpc::new(&mall, &shopper)).collect::<Result<_, _>>()?;
            let mut rounds = Vec::new();
            for round in 0..=ROUNDS {
                let loads = [load(&ours, ROUND).await?, load(&theirs, ROUND).await?, load(&none, ROUND).await?];
                if round > 0 {
                    rounds.push(loads);
                }
            }
            rows.extend(compared(connections, &rounds));
        }
        let ours = system::rss(system::pid(&mall, "user.api")?)?;
        let theirs = system::rss(peer.process.pid())?;
        rows.push(ratio("gateway, RSS after that of grpc-gateway's", Goal::AtMost(33.3), &[ours], &[theirs], "MiB"));
        Ok(rows)
    })
}

fn compared(connections: usize, rounds: &[[Load; 3]]) -> [Row; 2] {
    let of =
        |side: usize, figure: fn(&Load) -> f64| rounds.iter().map(|loads| figure(&loads[side])).collect::<Vec<_>>();
    let [rate, p50, p99]: [fn(&Load) -> f64; 3] = [|load| load.per_second, |load| load.p50, |load| load.p99];
    let direct = |figure| number(median(of(2, figure)));
    let rates = ratio(
        format!("gateway, throughput of grpc-gateway's, {connections} connections"),
        Goal::AtLeast(200.0),
        &of(0, rate),
        &of(1, rate),
        &format!(
            "/s; {} /s without a gateway, by tonic; ours left {} % of a core to its client",
            direct(rate),
            number(100.0 * median(of(0, |load| load.client)))
        ),
    );
    let times = ratio(
        format!("gateway, p99 of grpc-gateway's, {connections} connections"),
        Goal::AtMost(50.0),
        &of(0, p99),
        &of(1, p99),
        &format!(
            "ms; p50 {} and {}; p99 {} without a gateway",
            number(median(of(0, p50))),
            number(median(of(1, p50))),
            direct(p99)
        ),
    );
    [rates, times]
}
