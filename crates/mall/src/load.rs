//! `mall load`: many shoppers against a running mall, at a rate that does not wait for its answers.

mod drive;
mod mix;
mod operation;
mod progress;
mod report;
mod schedule;
mod tally;
mod users;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use rpc::lifecycle::Signals;

use self::drive::drive;
use self::mix::{Mix, Operation};
use self::operation::Crowd;
use self::progress::Progress;
use self::schedule::Schedule;
use crate::open_files;
use crate::patience::Patience;
use crate::shop::{Ask, Provider, Shop, Whereabouts, buyable};

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How many users shop; each registers and logs in first
    #[arg(long, env = "MALL_LOAD_USERS", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// Operations a second, of all users together
    #[arg(long, env = "MALL_LOAD_RATE", value_name = "R", default_value_t = 50.0, value_parser = schedule::rate)]
    rate: f64,
    /// For how long operations are begun, or `forever`
    #[arg(long, env = "MALL_LOAD_DURATION", value_name = "D", default_value = "10s", value_parser = schedule::duration)]
    duration: Duration,
    /// Shares of the operations: browse, order (no payment), pay (a whole checkout)
    #[arg(long, env = "MALL_LOAD_MIX", value_name = "MIX", default_value = "browse=70,order=20,pay=10")]
    mix: Mix,
    /// The share of requests that ask for a fault, from 0 to 1: a delay or an error somewhere in their trace
    ///
    /// The mall must allow it: MALL__SERVER__FAULTS=true mall up
    #[arg(long, env = "MALL_LOAD_FAULTS", value_name = "SHARE", value_parser = schedule::share)]
    faults: Option<f64>,
    /// Prints the figures as one JSON object in place of the table
    #[arg(long, env = "MALL_LOAD_JSON")]
    json: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    whereabouts: Whereabouts,
}

/// Open files are connections here; every one under way may need one, and kept ones come on top.
const OPEN_FILES: u64 = 4 * drive::MOST_UNDER_WAY as u64;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    open_files::raise(OPEN_FILES);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shop = Shop::new(&options.whereabouts)?;
    let run = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let crowd = tokio::select! {
            crowd = gather(&shop, options) => Arc::new(crowd?),
            _ = signals.next() => bail!("stopped before all users were there"),
        };
        let renewing = tokio::spawn(users::renew(crowd.clone()));
        let schedule = Schedule::new(options.rate, options.duration);
        let mut progress = Progress::new(schedule.count(), "operations")?;
        let run = drive(&crowd, &options.mix, schedule, &mut signals, &mut progress).await;
        renewing.abort();
        run
    })?;
    // What a second Ctrl-C left under way is not waited for.
    runtime.shutdown_background();
    let report = if options.json { report::json(&run) } else { report::text(&run, &shop) };
    write!(std::io::stdout(), "{report}")?;
    match run.tally.errors() {
        0 => Ok(()),
        // They were asked for.
        _ if options.faults.is_some_and(|share| share > 0.0) => Ok(()),
        errors => bail!("{errors} of {} operations failed; the table says how", run.tally.operations()),
    }
}

/// Everybody and everything that the load needs.
async fn gather(shop: &Shop, options: &Options) -> anyhow::Result<Crowd> {
    let has_payments = options.mix.has(Operation::Pay);
    let provider = has_payments.then(|| Provider::load(&options.whereabouts)).transpose()?;
    let gather = async || {
        let products = buyable(shop.send(Ask::products_on_sale()?).await?.read()?, 1)?;
        let users = users::register(shop, options.users, &Progress::new(options.users.into(), "users")?).await?;
        anyhow::Ok((products.iter().map(|product| product.id).collect(), users))
    };
    // Whatever fails now may be well once all of the mall is up.
    let (products, users) = options.patience.attempt(|_| true, gather).await?;
    let crowd = Crowd::new(shop.clone(), users, products, provider);
    match options.faults {
        Some(share) => crowd.with_faults(share).await,
        None => Ok(crowd),
    }
}
