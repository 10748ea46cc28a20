//! `mall keys`: the keys with which services sign tokens, as files or as Kubernetes Secrets.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use auth::keys::{Pair, Rotated};
use clap::builder::PossibleValuesParser;

use crate::services;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The directory for the keys; without --rotate, what it has already stays as it is
    #[arg(long, env = "MALL_KEYS", value_name = "DIR", default_value = ".mall/keys")]
    out: PathBuf,
    /// Prints new keys as Kubernetes Secrets instead, private ones included
    #[arg(long, env = "MALL_KUBERNETES")]
    kubernetes: bool,
    /// Gives this service a new key beside its last one; services know of it when they are started again
    #[arg(long, env = "MALL_ROTATE", value_name = "NAME", conflicts_with = "kubernetes", value_parser = PossibleValuesParser::new(names()))]
    rotate: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if options.kubernetes {
        for name in names() {
            write!(out, "{}", secrets(&Pair::generate(name)?))?;
        }
        return Ok(());
    }
    if let Some(name) = &options.rotate {
        let Rotated { pair, replaced } = auth::keys::rotate(&options.out, name)?;
        writeln!(out, "{name} has the new key {}: start all services again, those that sign with it last", pair.kid)?;
        writeln!(out, "remove {} when the last token of the old key has ended", replaced.display())?;
        return Ok(());
    }
    let made = auth::keys::generate(&options.out, &names())?;
    for path in &made {
        writeln!(out, "made {}", path.display())?;
    }
    if made.is_empty() {
        writeln!(out, "{} has every key already: nothing was changed", options.out.display())?;
    }
    Ok(())
}

/// The services that have a key.
pub(crate) fn names() -> Vec<&'static str> {
    services::ALL.iter().filter(|service| service.is_domain()).map(|service| service.name).collect()
}

/// A private Secret for the service itself, to be mounted at `keys/private`, and a public one for everybody, to be
/// mounted at `keys/public/NAME`.
fn secrets(pair: &Pair) -> String {
    let Pair { name, kid, private, public } = pair;
    let mut text = secret(&format!("{name}-private"), &format!("{name}.pem"), private.expose_secret());
    text.push_str(&secret(&format!("{name}-public"), &format!("{kid}.pem"), public));
    text
}

fn secret(name: &str, file: &str, pem: &str) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  labels:\n    app.kubernetes.io/part-of: mall\n\
         type: Opaque\nstringData:\n  \"{file}\": |\n"
    );
    for line in pem.lines() {
        let _ = writeln!(text, "    {line}");
    }
    text
}
