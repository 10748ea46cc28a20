//! The memory of an idle mall that has served some requests.

use std::time::Duration;

use testkit::process::Mall;
use testkit::shopper::Shopper;

use crate::report::{Goal, Row, number};
use crate::traffic::{Call as _, Grpc, Rest};
use crate::{MALL, on_one_thread, system};

/// Requests before the mall is left alone, half of them over gRPC.
const WARM_UP: usize = 1_000;
/// Long enough for the last spans to be sent.
const IDLE: Duration = Duration::from_secs(3);

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let mall = Mall::of(MALL).start().await;
        let fresh = total(&mall)?;
        serve_some(&mall).await?;
        tokio::time::sleep(IDLE).await;

        let mut rows = Vec::new();
        for service in ["user.api", "user.rpc"] {
            let pid = system::pid(&mall, service)?;
            let (own, pss) = (number(system::anonymous(pid)?), number(system::pss(pid)?));
            let note = format!("{own} MiB of its own, else pages of files, which all share; PSS {pss} MiB");
            rows.push(
                Row::new(format!("{service} idle, RSS"), Goal::AtMost(15.0), system::rss(pid)?, "MiB").note(note),
            );
        }
        let viewer = number(system::pss(system::pid(&mall, "viewer")?)?);
        let note = format!("{} MiB before the first request; the viewer's share is {viewer} MiB", number(fresh));
        rows.push(Row::new("up idle, all nine processes, PSS", Goal::AtMost(130.0), total(&mall)?, "MiB").note(note));
        Ok(rows)
    })
}

async fn serve_some(mall: &Mall) -> anyhow::Result<()> {
    let shopper = Shopper::new(mall, "15838607661").await;
    let (mut rest, mut grpc) = (Rest::many(mall, &shopper)?, Grpc::many(mall, &shopper)?);
    for number in 0..WARM_UP / 2 {
        let client = number % rest.len();
        rest[client].call().await?;
        grpc[client].call().await?;
    }
    Ok(())
}

/// The PSS of the supervisor and its services in MiB.
fn total(mall: &Mall) -> anyhow::Result<f64> {
    mall.pid().into_iter().chain(mall.services().into_values()).map(system::pss).sum()
}
