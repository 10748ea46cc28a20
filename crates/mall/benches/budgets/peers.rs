//! `make compare`: mall beside what people would use instead, on one machine, in one run, in turn.

pub(crate) mod gateway;
pub(crate) mod rpc;
pub(crate) mod start;
pub(crate) mod tracing;
pub(crate) mod viewer;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use testkit::daemon::Daemon;
use testkit::database::Server;
use testkit::{part, ports};

use crate::median;
use crate::report::{Goal, Row, number};

/// Rounds of each side, after one that does not count.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);

/// A program that `bench/go/build` makes.
fn go(program: &str) -> anyhow::Result<PathBuf> {
    let built = Command::new(part::checkout("bench/go/build")).output().context("run bench/go/build")?;
    ensure!(built.status.success(), "bench/go/build: {}", String::from_utf8_lossy(&built.stderr));
    Ok(PathBuf::from(String::from_utf8(built.stdout)?.trim_end()).join(program))
}

/// One of the Go programs at work.
struct Peer {
    address: SocketAddr,
    process: Daemon,
}

impl Peer {
    async fn start(program: &str, arguments: &[(&str, &str)]) -> anyhow::Result<Self> {
        let address = ports::free();
        let listen = address.to_string();
        let all = [&[("--listen", listen.as_str())], arguments].concat();
        let all = all.into_iter().flat_map(|(name, value)| [name, value]).map(OsString::from).collect();
        let process = Daemon::start(go(program)?, all, Vec::new(), "listening on").await;
        Ok(Self { address, process })
    }
}

/// PostgreSQL with what services need.
async fn postgres() -> anyhow::Result<Server> {
    let server = Server::start(&["fsync=on", "synchronous_commit=on", "full_page_writes=on"]);
    let server = server.map_err(anyhow::Error::msg).context("start PostgreSQL")?;
    for database in ["user", "product", "order", "pay"] {
        server.create(database).await;
    }
    Ok(server)
}

/// A row of a ratio: ours in hundredths of theirs, round by round.
fn ratio(budget: impl Into<String>, goal: Goal, ours: &[f64], theirs: &[f64], unit: &str) -> Row {
    let ratio = median(ours.iter().zip(theirs).map(|(ours, theirs)| 100.0 * ours / theirs));
    let [ours, theirs] = [ours, theirs].map(|values| number(median(values.iter().copied())));
    Row::new(budget, goal, ratio, "%").note(format!("{ours} and {theirs} {unit}"))
}
