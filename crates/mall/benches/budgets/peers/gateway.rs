//! user.api beside grpc-gateway v2, both in front of the same user.rpc, and beside a client that needs no gateway.

use testkit::process::Mall;
use testkit::shopper::Shopper;

use super::{Peer, ROUND, ROUNDS, ratio};
use crate::report::{Goal, Row, number};
use crate::system::Taking;
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
        let pids = [system::pid(&mall, "user.api")?, peer.process.pid()];
        let mut rows = Vec::new();
        for connections in [1, 16, 256] {
            let ours = vec![wire(mall.address("user.api", "listen")); connections];
            let theirs = vec![wire(peer.address); connections];
            let none: Vec<_> = (0..connections).map(|_| Grpc::new(&mall, &shopper)).collect::<Result<_, _>>()?;
            let mut rounds = Vec::new();
            for round in 0..=ROUNDS {
                let sides = [asked(&ours, pids[0]).await?, asked(&theirs, pids[1]).await?];
                let none = load(&none, ROUND).await?;
                if round > 0 {
                    rounds.push(Round { sides, none });
                }
            }
            rows.extend(compared(connections, &rounds));
        }
        let [ours, theirs] = [system::rss(pids[0])?, system::rss(pids[1])?];
        rows.push(ratio("gateway, RSS after that of grpc-gateway's", Goal::AtMost(33.3), &[ours], &[theirs], "MiB"));
        Ok(rows)
    })
}

/// Ours, theirs, and neither.
struct Round {
    sides: [Asked; 2],
    none: Load,
}

/// How a gateway was asked, and the microseconds of CPU that it took for a request.
struct Asked {
    load: Load,
    cpu: f64,
}

async fn asked(clients: &[Wire], pid: u32) -> anyhow::Result<Asked> {
    let taking = Taking::from_now(pid)?;
    let load = load(clients, ROUND).await?;
    let cpu = taking.of_each(load.calls)?;
    Ok(Asked { load, cpu })
}

fn compared(connections: usize, rounds: &[Round]) -> [Row; 3] {
    let of = |figure: fn(&Asked) -> f64| {
        [0, 1].map(|side| rounds.iter().map(|round| figure(&round.sides[side])).collect::<Vec<_>>())
    };
    let direct = |figure: fn(&Load) -> f64| number(median(rounds.iter().map(|round| figure(&round.none))));
    let row = |what: &str, goal, figure, note: String| {
        let [ours, theirs] = of(figure);
        let budget = format!("gateway, {what} of grpc-gateway's, {connections} connections");
        ratio(budget, goal, &ours, &theirs, &note)
    };
    let client = number(100.0 * median(rounds.iter().map(|round| round.sides[0].load.client)));
    let p50 = of(|it| it.load.p50).map(|values| number(median(values)));
    [
        row(
            "throughput",
            Goal::AtLeast(200.0),
            |it| it.load.per_second,
            format!(
                "/s; {} /s without a gateway, by tonic; ours left {client} % of a core to its client",
                direct(|load| load.per_second)
            ),
        ),
        row(
            "p99",
            Goal::AtMost(50.0),
            |it| it.load.p99,
            format!("ms; p50 {} and {}; p99 {} without a gateway", p50[0], p50[1], direct(|load| load.p99)),
        ),
        row("CPU of a request", Goal::AtMost(50.0), |it| it.cpu, "us".to_owned()),
    ]
}
