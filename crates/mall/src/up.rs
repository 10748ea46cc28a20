//! `mall up`: everything on this machine, as child processes of this one.

mod child;
mod console;
mod data;
mod fleet;
mod plan;
mod table;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use http::Uri;
use redact::Secret;
use rpc::lifecycle::Signals;

use self::console::Console;
pub(crate) use self::data::ADDRESSES;
use self::data::DataDir;
use self::fleet::Fleet;
use self::plan::Plan;
use crate::keys;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Where keys and databases are kept from one run to the next
    #[arg(long, env = "MALL_DATA_DIR", value_name = "DIR", default_value = ".mall")]
    data_dir: PathBuf,
    /// A directory that may have a file NAME.yaml for each service, laid over the one compiled in
    #[arg(long, env = "MALL_CONFIG_DIR", value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Sends traces to this OTLP collector in place of the viewer: HTTP on port 4318, gRPC on any other
    #[arg(long, env = "MALL_OTLP", value_name = "URL", value_parser = collector)]
    otlp: Option<Uri>,
    /// Keeps the data in the databases `user`, `product`, `order` and `pay` of this PostgreSQL server, in place of SQLite
    ///
    /// A password is better given by the variable: others on this machine see the command line.
    #[arg(long, env = "MALL_POSTGRES", value_name = "URL", hide_env_values = true, value_parser = secret)]
    postgres: Option<Secret<String>>,
    /// Opens the trace viewer in the browser
    #[arg(long, env = "MALL_OPEN")]
    open: bool,
    /// Takes free ports in place of the usual ones, and writes them to addresses.json in the data directory
    #[arg(long, env = "MALL_FREE_PORTS")]
    free_ports: bool,
}

fn collector(url: &str) -> Result<Uri, String> {
    let uri = url.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    uri.filter(|uri| uri.host().is_some()).ok_or_else(|| "write it as http://HOST:PORT".to_owned())
}

/// Whatever it is: a value that is refused here would be repeated.
fn secret(text: &str) -> Result<Secret<String>, Infallible> {
    Ok(Secret::new(text.to_owned()))
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let start = Instant::now();
    // Migrations block their thread, which only this runtime allows.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            biased;
            _ = signals.next() => Ok(()),
            prepared = prepare(&options) => {
                let (data, plan) = prepared?;
                supervise(&options, &data, plan, &mut signals, start).await
            }
        }
    })
}

/// All that must be true before the first service is started.
async fn prepare(options: &Options) -> anyhow::Result<(DataDir, Plan)> {
    let data = DataDir::open(&options.data_dir)?;
    let plan = Plan::make(&data, options)?;
    plan.check_ports(data.was_left()).await?;
    keys::generate(&data.keys())?;
    for member in &plan.members {
        let migrated = member.process.section.migrate().await;
        migrated.with_context(|| format!("migrate the database of {}", member.service.name))?;
    }
    Ok((data, plan))
}

async fn supervise(
    options: &Options,
    data: &DataDir,
    plan: Plan,
    signals: &mut Signals,
    start: Instant,
) -> anyhow::Result<()> {
    let console = Console::new(plan.members.iter().map(|member| member.service.name));
    let mut fleet = Fleet::start(&plan, &console)?;
    let ready = fleet.ready();
    let mut outcome = tokio::select! {
        _ = signals.next() => Ok(false),
        failed = fleet.failed() => Err(failed),
        () = ready => data.write_addresses(&plan.addresses()).map(|()| true),
    };
    if outcome.as_ref().is_ok_and(|ready| *ready) {
        table::print(&plan, data, start.elapsed());
        if options.open {
            open_viewer(&plan, &console);
        }
        tokio::select! {
            _ = signals.next() => {}
            failed = fleet.failed() => outcome = Err(failed),
        }
    }
    console.say("stopping; a second Ctrl-C stops at once");
    tokio::select! {
        () = fleet.stop() => data.close(),
        // What still runs is killed when the fleet is dropped.
        _ = signals.next() => anyhow::bail!("stopped at once, without draining"),
    }
    outcome.map(drop)
}

fn open_viewer(plan: &Plan, console: &Console) {
    match plan.viewer() {
        None => console.say("--open has nothing to open: with --otlp there is no viewer"),
        Some(url) => {
            if let Err(error) = open::that_detached(&url) {
                console.say(&format!("cannot open a browser ({error}): open {url} yourself"));
            }
        }
    }
}
