//! The command line: every flag has an environment variable, every command an example.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::config::Sources;
use crate::patience::Patience;
use crate::services::{self, Service};
use crate::shop::Whereabouts;
use crate::{demo, keys, load, migrate, serve, show, up};

/// An online shop as gRPC services, every request traced from end to end.
#[derive(Debug, Parser)]
#[command(name = "mall", version, arg_required_else_help = true)]
#[command(after_help = "\
Start here:
  mall up      everything on this machine
  mall demo    in a second terminal: one shopper, and where to see each request's trace
  mall load    and many of them, and how long they wait

Exit codes: 0 done, 1 failed, 2 the command line is wrong.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything on this machine: keys, databases, all services, the trace viewer
    #[command(after_help = "\
Examples:
  mall up                                   on the usual ports, data in .mall
  mall up --open                            and the trace viewer in the browser
  mall up --otlp http://127.0.0.1:4317      traces go to your own collector
  mall up --free-ports --data-dir /tmp/m    a second mall beside the first
  mall up --postgres postgres://me@db:5432  in four databases that are there already

The addresses, keys, databases and the place of traces are up's own choice; all else is configured as for
`mall serve`, such as MALL__TELEMETRY__SAMPLER=0.1. Ctrl-C drains and stops everything, a second one at once.")]
    Up(up::Options),
    /// Runs one service in the foreground
    #[command(after_help = "\
Examples:
  mall serve user.rpc
  mall serve user.api --config-dir etc
  MALL__TELEMETRY__SAMPLER=0.1 mall serve user.api

`mall config NAME` shows every key that can be set, its value, and where that comes from.")]
    Serve {
        /// The service
        #[arg(value_name = "NAME", value_parser = named(|_| true))]
        service: &'static Service,
        #[command(flatten)]
        files: Files,
    },
    /// Brings services' databases to the newest schema; safe to run twice, and from several places at once
    #[command(after_help = "\
Examples:
  mall migrate user.rpc
  mall migrate user.rpc --wait 2m           also when the database is yet to start
  MALL__DATABASE=postgres://user@db/user mall migrate user.rpc

A service of an older binary goes on beside the new schema; one of a newer binary is not ready before this was run.")]
    Migrate {
        /// The services whose databases to migrate
        #[arg(value_name = "NAME", required = true, value_parser = named(Service::is_domain))]
        services: Vec<&'static Service>,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        patience: Patience,
    },
    /// Makes the keys with which services sign tokens
    #[command(after_help = "\
Examples:
  mall keys                                 files in .mall/keys; what is there stays
  mall keys --out /etc/mall/keys
  mall keys --rotate user.rpc               a new key beside the one in use
  mall keys --out keys --kubernetes | kubectl apply --server-side -n mall -f -

The same keys are printed as Secrets each time, so that this can be done again. To rotate a key in a cluster: make it
(--rotate), apply the public Secrets (the command above, with -l app.kubernetes.io/component=public-key), restart the rpc
services, then apply the private ones (-l app.kubernetes.io/component=private-key) and restart the service that signs.")]
    Keys(keys::Options),
    /// One shopper: registers, logs in, orders, pays; prints each step and its trace
    #[command(after_help = "\
Examples:
  mall demo                                 through the mall that runs with its data in .mall
  mall demo --data-dir /tmp/m               through the one whose data is there
  mall demo --viewer http://127.0.0.1:16686 with links to your own Jaeger")]
    Demo(Whereabouts),
    /// Many shoppers at a fixed rate: prints how long each operation took, and what failed
    #[command(after_help = "\
Examples:
  mall load                                 50 users, 50 operations a second, for 10 s
  mall load --users 200 --rate 500 --duration 1m
  mall load --mix pay=1                     whole checkouts alone
  mall load --duration forever --wait 5m    until it is told to stop, as in a cluster
  mall load --faults 0.1                    one request in ten asks for a delay or an error (MALL__SERVER__FAULTS=true)

Operations are due at fixed times, whatever the mall does; a time is counted from when its operation was due, and failed
ones count too. No more than 10000 are under way at once. Ctrl-C or SIGTERM ends early and still prints the table.
Without a terminal a line on standard error says every 10 s how far it is. Each start makes new users, who log in again
before their tokens end. The exit code is 1 if any operation failed, unless faults were asked for.")]
    Load(load::Options),
    /// Shows what a service would run with, secrets masked, and where each value comes from
    #[command(after_help = "\
Examples:
  mall config user.api
  mall config user.rpc --config-dir etc")]
    Config {
        /// The service
        #[arg(value_name = "NAME", value_parser = named(|_| true))]
        service: &'static Service,
        #[command(flatten)]
        files: Files,
    },
}

/// Where configuration files are.
#[derive(Args, Debug)]
struct Files {
    /// A configuration file, laid over the one compiled in
    #[arg(long, env = "MALL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A directory that may have a file NAME.yaml, laid over the one compiled in; --config comes before it
    #[arg(long, env = "MALL_CONFIG_DIR", value_name = "DIR")]
    config_dir: Option<PathBuf>,
}

impl Files {
    fn sources(self) -> Sources {
        Sources::new(self.config, self.config_dir)
    }
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Up(options) => up::run(options),
            Command::Serve { service, files } => serve::run(service, &files.sources()),
            Command::Migrate { services, files, patience } => migrate::run(&services, &files.sources(), &patience),
            Command::Keys(options) => keys::run(&options),
            Command::Demo(whereabouts) => demo::run(&whereabouts),
            Command::Load(options) => load::run(&options),
            Command::Config { service, files } => show::run(service, &files.sources()),
        }
    }
}

/// Reads the name of one of the services that `fits`.
fn named(fits: fn(&Service) -> bool) -> impl TypedValueParser<Value = &'static Service> {
    let names = services::ALL.iter().filter(|service| fits(service)).map(|service| service.name);
    PossibleValuesParser::new(names).try_map(|name| services::find(&name).ok_or("no such service"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_flag_has_a_variable_and_every_command_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let name = sub.get_name();
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("\n  mall {name}")), "{name} has no example");
            for flag in sub.get_opts().chain(sub.get_arguments()).filter(|arg| arg.get_long().is_some()) {
                assert!(flag.get_env().is_some() || flag.get_id() == "help", "{name} {flag} has no variable");
            }
        }
    }
}
