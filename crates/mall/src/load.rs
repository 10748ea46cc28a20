//! `mall load`: many shoppers against a running mall, at a rate that does not wait for its answers.

mod drive;
mod mix;
mod operation;
mod report;
mod schedule;
mod tally;
mod users;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use rpc::lifecycle::Signals;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::drive::drive;
use self::mix::{Mix, Operation};
use self::operation::Crowd;
use self::schedule::Schedule;
use crate::shop::{Ask, Provider, Shop, Whereabouts, buyable};

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How many users shop; each registers and logs in first
    #[arg(long, env = "MALL_LOAD_USERS", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// Operations a second, of all users together
    #[arg(long, env = "MALL_LOAD_RATE", value_name = "R", default_value_t = 50.0, value_parser = schedule::rate)]
    rate: f64,
    /// For how long operations are begun
    #[arg(long, env = "MALL_LOAD_DURATION", value_name = "D", default_value = "10s", value_parser = schedule::duration)]
    duration: Duration,
    /// Shares of the operations: browse, order (no payment), pay (a whole checkout)
    #[arg(long, env = "MALL_LOAD_MIX", value_name = "MIX", default_value = "browse=70,order=20,pay=10")]
    mix: Mix,
    #[command(flatten)]
    whereabouts: Whereabouts,
}

/// Open files are connections here; every one under way may need one, and kept ones come on top.
const OPEN_FILES: u64 = 4 * drive::MOST_UNDER_WAY as u64;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shop = Shop::new(&options.whereabouts)?;
    let run = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let crowd = tokio::select! {
            crowd = gather(&shop, options) => Arc::new(crowd?),
            _ = signals.next() => bail!("stopped before all users were there"),
        };
        let schedule = Schedule::new(options.rate, options.duration);
        let bar = progress(schedule.count(), "operations")?;
        drive(&crowd, &options.mix, schedule, &mut signals, &bar).await
    })?;
    // What a second Ctrl-C left under way is not waited for.
    runtime.shutdown_background();
    write!(std::io::stdout(), "{}", report::text(&run, &shop))?;
    match run.tally.errors() {
        0 => Ok(()),
        errors => bail!("{errors} of {} operations failed; the table says how", run.tally.operations()),
    }
}

/// Everybody and everything that the load needs.
async fn gather(shop: &Shop, options: &Options) -> anyhow::Result<Crowd> {
    let products = buyable(shop.send(Ask::products_on_sale()?).await?.read()?, 1)?;
    let has_payments = options.mix.has(Operation::Pay);
    let provider = has_payments.then(|| Provider::load(&options.whereabouts)).transpose()?;
    let tokens = users::register(shop, options.users, &progress(options.users.into(), "users")?).await?;
    Ok(Crowd::new(shop.clone(), tokens, products.iter().map(|product| product.id).collect(), provider))
}

/// A bar on standard error, which is left out where that is no terminal.
fn progress(count: u64, what: &str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} {prefix}, {elapsed} {msg}")?;
    Ok(ProgressBar::new(count).with_style(style).with_prefix(what.to_owned()))
}

/// Systems give a process few open files at first, and more to one that asks; one that gets none goes on with what it has.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
