//! What REST costs beside the same call over gRPC, in a mall as it is: all is traced, and the viewer takes it.

use std::time::Duration;

use testkit::process::Mall;
use testkit::shopper::Shopper;

use crate::report::{Goal, Row, number};
use crate::traffic::{CONNECTIONS, Call, Grpc, Load, Rest, latency, load};
use crate::{MALL, median, on_one_thread};

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_secs(1);
/// Calls of one client in a round.
const CALLS: usize = 300;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let mall = Mall::of(MALL).start().await;
        let shopper = Shopper::new(&mall, "15838607661").await;
        Ok(vec![throughput(&mall, &shopper).await?, added(&mall, &shopper).await?, channel(&mall, &shopper).await?])
    })
}

/// Rounds of both, after one of each that does not count.
async fn in_turn<A: Call, B: Call>(one: &[A], other: &[B]) -> anyhow::Result<Vec<(Load, Load)>> {
    load(one, ROUND).await?;
    load(other, ROUND).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((load(one, ROUND).await?, load(other, ROUND).await?));
    }
    Ok(rounds)
}

async fn throughput(mall: &Mall, shopper: &Shopper) -> anyhow::Result<Row> {
    let (rest, grpc) = (Rest::many(mall, shopper)?, Grpc::many(mall, shopper)?);
    let rounds = in_turn(&rest, &grpc).await?;
    let ratio = median(rounds.iter().map(|(rest, grpc)| 100.0 * rest.per_second / grpc.per_second));
    let told = |protocol: &str, loads: Vec<Load>| {
        let client = 100.0 * median(loads.iter().map(|load| load.client));
        format!(
            "{protocol} {:.0}/s, its client {client:.0} % of a core",
            median(loads.iter().map(|load| load.per_second))
        )
    };
    let (rest, grpc): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
    let budget = format!("userinfo, REST's throughput of gRPC's, {CONNECTIONS} connections");
    let note = format!("{}; {}", told("REST", rest), told("gRPC", grpc));
    Ok(Row::new(budget, Goal::AtLeast(50.0), ratio, "%").note(note))
}

async fn added(mall: &Mall, shopper: &Shopper) -> anyhow::Result<Row> {
    let (mut rest, mut grpc) = (Rest::new(mall, shopper)?, Grpc::new(mall, shopper)?);
    latency(&mut rest, CALLS).await?;
    latency(&mut grpc, CALLS).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((latency(&mut rest, CALLS).await?, latency(&mut grpc, CALLS).await?));
    }
    let added = median(rounds.iter().map(|(rest, grpc)| rest - grpc));
    let (rest, grpc): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
    let note = format!("medians: REST {} us, gRPC {} us", number(median(rest)), number(median(grpc)));
    Ok(Row::new("the gateway adds, one client, median", Goal::AtMost(300.0), added, "us").note(note))
}

/// What the channel that services have takes of a caller, beside tonic's own, which knows no endpoints, deadlines or spans.
async fn channel(mall: &Mall, shopper: &Shopper) -> anyhow::Result<Row> {
    let (ours, tonic) = (Grpc::balanced(mall, shopper)?, Grpc::many(mall, shopper)?);
    let rounds = in_turn(&ours, &tonic).await?;
    let micros = |load: &Load| 1e6 * load.client / load.per_second;
    let ratio = median(rounds.iter().map(|(ours, tonic)| 100.0 * micros(ours) / micros(tonic)));
    let (ours, tonic): (Vec<_>, Vec<_>) = rounds.iter().map(|(ours, tonic)| (micros(ours), micros(tonic))).unzip();
    let note = format!("{} and {} us of a core", number(median(ours)), number(median(tonic)));
    Ok(Row::new("a call's CPU in its caller, by rpc::Channel of by tonic's", Goal::AtMost(120.0), ratio, "%")
        .note(note))
}
