//! The one binary of mall: `mall --help` says what it does. What is here is for `main`, and for `make fuzz`.

mod cli;
mod config;
mod demo;
mod http;
mod keys;
mod load;
mod migrate;
mod open_files;
mod patience;
mod serve;
mod services;
mod shop;
mod show;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

/// Does what the command line says.
pub fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{red}mall:{red:#} {error:#}", red = anstyle::AnsiColor::Red.on_default());
            ExitCode::FAILURE
        }
    }
}

/// Reads the text of a configuration file as each service would.
#[doc(hidden)]
pub fn read_configuration(text: &str) {
    for service in services::ALL {
        // What is wrong with it is told in one line, whatever it is.
        if let Err(error) = service.configure_by(text) {
            let _ = error.to_string();
        }
    }
}
