//! The one binary of mall: `mall --help` says what it does.

mod cli;
mod config;
mod demo;
mod http;
mod keys;
mod load;
mod migrate;
mod patience;
mod serve;
mod services;
mod shop;
mod show;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{red}mall:{red:#} {error:#}", red = anstyle::AnsiColor::Red.on_default());
            ExitCode::FAILURE
        }
    }
}
