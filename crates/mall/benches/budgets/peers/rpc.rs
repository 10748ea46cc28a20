//! user.rpc and product.rpc beside the same services in Go, on the same PostgreSQL, asked by ghz.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testkit::process::Mall;
use testkit::shopper::Shopper;
use tokio::process::Command;

use super::{Peer, ROUND, ROUNDS, go, postgres, ratio};
use crate::report::{Goal, Row};
use crate::system::Taking;
use crate::traffic::CONNECTIONS;
use crate::{MALL, on_one_thread, system};

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let server = postgres().await?;
        let url = server.url("");
        // Theirs keeps no products in memory and verifies every token, so that ours does as well.
        let ours = Mall::of(MALL)
            .variable("MALL__TELEMETRY__DISABLED", "true")
            .variable("MALL__TELEMETRY__METRICS__DISABLED", "true")
            .variable("MALL__CACHE__LIFETIME", "0s")
            .variable("MALL__AUTH__REMEMBERED_TOKENS", "0")
            .argument("--postgres")
            .argument(url.trim_end_matches('/'))
            .start()
            .await;
        let shopper = Shopper::new(&ours, "15838607661").await;
        let keys = ours.data().join("keys").display().to_string();
        let ghz = Ghz(go("ghz")?.into());
        let mut rows = Vec::new();
        let token = Some(shopper.token.as_str());
        for (what, service, call, message, token) in [
            ("userinfo", "user.rpc", "mall.user.v1.UserService/UserInfo", "{}", token),
            // Anybody may ask, and ours would verify a token that is there.
            ("product detail", "product.rpc", "mall.product.v1.ProductService/Detail", r#"{"id":1}"#, None),
        ] {
            let (users, products) = (server.url("user"), server.url("product"));
            let databases = [("--user-database", users.as_str()), ("--product-database", &products)];
            // A new one each time, for ours are two processes.
            let theirs =
                Peer::start("service", &[&databases[..], &[("--keys", &keys), ("--sampler", "off")]].concat()).await?;
            let sides = [
                (system::pid(&ours, service)?, ours.address(service, "listen")),
                (theirs.process.pid(), theirs.address),
            ];
            let mut asked = [const { Vec::new() }; 2];
            for round in 0..=ROUNDS {
                for ((pid, address), asked) in sides.iter().zip(&mut asked) {
                    let one = ghz.ask((*pid, *address), call, message, token).await?;
                    if round > 0 {
                        asked.push(one);
                    }
                }
            }
            let memory = [system::rss(sides[0].0)?, system::rss(sides[1].0)?];
            rows.extend(compared(what, service, &asked, memory));
        }
        Ok(rows)
    })
}

fn compared(what: &str, service: &str, asked: &[Vec<Asked>; 2], memory: [f64; 2]) -> [Row; 4] {
    let of = |figure: fn(&Asked) -> f64| asked.each_ref().map(|asked| asked.iter().map(figure).collect::<Vec<_>>());
    let row = |budget: &str, goal, [ours, theirs]: [Vec<f64>; 2], unit| {
        ratio(format!("rpc, {what}, {budget} of Go's"), goal, &ours, &theirs, unit)
    };
    [
        row("throughput", Goal::AtLeast(150.0), of(|it| it.per_second), "/s"),
        row("p99", Goal::AtMost(60.0), of(|it| it.p99), "ms"),
        row("CPU of a call", Goal::AtMost(66.7), of(|it| it.cpu), "us; the throughput is what ghz leaves of two cores"),
        ratio(format!("rpc, {service}, RSS after that of Go's"), Goal::AtMost(25.0), &memory[..1], &memory[1..], "MiB"),
    ]
}

/// The load tool.
struct Ghz(OsString);

/// What it tells of a round.
struct Asked {
    per_second: f64,
    /// In milliseconds.
    p99: f64,
    /// What a call took of the server's CPU, in microseconds.
    cpu: f64,
}

impl Ghz {
    /// Calls the server with this process and address again and again.
    async fn ask(
        &self,
        (pid, address): (u32, SocketAddr),
        call: &str,
        message: &str,
        token: Option<&str>,
    ) -> anyhow::Result<Asked> {
        let time = format!("{}s", ROUND.as_secs());
        let connections = CONNECTIONS.to_string();
        let mut command = Command::new(&self.0);
        command.args(["--insecure", "--format", "json", "--duration", &time, "--duration-stop", "wait"]);
        command.args(["--concurrency", &connections, "--connections", &connections, "--call", call, "--data", message]);
        if let Some(token) = token {
            // On the command line of a program that lives for seconds, on this machine: it is a token of this run's mall.
            command.args(["--metadata", &format!(r#"{{"authorization":"Bearer {token}"}}"#)]);
        }
        command.arg(address.to_string());
        let taking = Taking::from_now(pid)?;
        let output = command.stdin(Stdio::null()).output().await.context("run ghz")?;
        ensure!(output.status.success(), "ghz: {}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let codes = report["statusCodeDistribution"].as_object().context("ghz tells of no codes")?;
        ensure!(codes.keys().all(|code| code == "OK"), "not all calls were good: {codes:?}");
        let p99 = report["latencyDistribution"].as_array().into_iter().flatten().find(|it| it["percentage"] == 99);
        let nanos = p99.and_then(|it| it["latency"].as_f64()).context("ghz tells of no p99")?;
        let figure = |name: &str| report[name].as_f64().with_context(|| format!("ghz tells of no {name}"));
        Ok(Asked { per_second: figure("rps")?, p99: nanos / 1e6, cpu: taking.of_each(figure("count")?)? })
    }
}
