//! user.rpc and product.rpc beside the same services in Go, on the same PostgreSQL, asked by ghz.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testkit::process::Mall;
use testkit::shopper::Shopper;
use tokio::process::Command;

use super::{Peer, ROUND, ROUNDS, go, postgres, ratio};
use crate::report::{Goal, Row};
use crate::traffic::CONNECTIONS;
use crate::{MALL, on_one_thread, system};

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let server = postgres().await?;
        let url = server.url("");
        let mall = |lifetime: &str| {
            Mall::of(MALL)
                .variable("MALL__TELEMETRY__DISABLED", "true")
                .variable("MALL__TELEMETRY__METRICS__DISABLED", "true")
                .variable("MALL__CACHE__LIFETIME", lifetime)
                .argument("--postgres")
                .argument(url.trim_end_matches('/'))
        };
        // Theirs keeps no products in memory, so that ours may not either.
        let ours = mall("0s").start().await;
        let shopper = Shopper::new(&ours, "15838607661").await;
        let keys = ours.data().join("keys").display().to_string();
        let (users, products) = (server.url("user"), server.url("product"));
        let arguments = [
            ("--user-database", users.as_str()),
            ("--product-database", &products),
            ("--keys", &keys),
            ("--sampler", "off"),
        ];
        let theirs = Peer::start("service", &arguments).await?;
        let ghz = Ghz { program: go("ghz")?.into(), token: shopper.token.clone() };
        let mut rows = Vec::new();
        for (what, service, call, message) in [
            ("userinfo", "user.rpc", "mall.user.v1.UserService/UserInfo", "{}"),
            ("product detail", "product.rpc", "mall.product.v1.ProductService/Detail", r#"{"id":1}"#),
        ] {
            let address = ours.address(service, "listen");
            let (mut mine, mut other) = (Vec::new(), Vec::new());
            for round in 0..=ROUNDS {
                let pair = (ghz.ask(address, call, message).await?, ghz.ask(theirs.address, call, message).await?);
                if round > 0 {
                    mine.push(pair.0);
                    other.push(pair.1);
                }
            }
            let of = |asked: &[Asked], figure: fn(&Asked) -> f64| asked.iter().map(figure).collect::<Vec<_>>();
            let [rate, p99]: [fn(&Asked) -> f64; 2] = [|it| it.per_second, |it| it.p99];
            let goal = Goal::AtLeast(150.0);
            rows.push(ratio(
                format!("rpc, {what}, throughput of Go's"),
                goal,
                &of(&mine, rate),
                &of(&other, rate),
                "/s",
            ));
            let goal = Goal::AtMost(60.0);
            rows.push(ratio(format!("rpc, {what}, p99 of Go's"), goal, &of(&mine, p99), &of(&other, p99), "ms"));
            let memory = [system::rss(system::pid(&ours, service)?)?, system::rss(theirs.process.pid())?];
            let budget = format!("rpc, {service}, RSS after that of Go's");
            rows.push(ratio(budget, Goal::AtMost(25.0), &memory[..1], &memory[1..], "MiB"));
        }
        Ok(rows)
    })
}

/// The load tool.
struct Ghz {
    program: std::ffi::OsString,
    token: String,
}

/// What it tells of a round.
struct Asked {
    per_second: f64,
    /// In milliseconds.
    p99: f64,
}

impl Ghz {
    async fn ask(&self, address: SocketAddr, call: &str, message: &str) -> anyhow::Result<Asked> {
        let time = format!("{}s", ROUND.as_secs());
        let connections = CONNECTIONS.to_string();
        let mut command = Command::new(&self.program);
        command.args(["--insecure", "--format", "json", "--duration", &time, "--duration-stop", "wait"]);
        command.args(["--concurrency", &connections, "--connections", &connections, "--call", call, "--data", message]);
        // On the command line of a program that lives for seconds, on this machine: it is a token of this run's mall.
        command.args(["--metadata", &format!(r#"{{"authorization":"Bearer {}"}}"#, self.token), &address.to_string()]);
        let output = command.stdin(Stdio::null()).output().await.context("run ghz")?;
        ensure!(output.status.success(), "ghz: {}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let codes = report["statusCodeDistribution"].as_object().context("ghz tells of no codes")?;
        ensure!(codes.keys().all(|code| code == "OK"), "not all calls were good: {codes:?}");
        let p99 = report["latencyDistribution"].as_array().into_iter().flatten().find(|it| it["percentage"] == 99);
        let nanos = p99.and_then(|it| it["latency"].as_f64()).context("ghz tells of no p99")?;
        Ok(Asked { per_second: report["rps"].as_f64().context("ghz tells of no rate")?, p99: nanos / 1e6 })
    }
}
