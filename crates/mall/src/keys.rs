//! `mall keys`: the keys with which services sign tokens and the secret of the payment provider, as files or as Kubernetes
//! Secrets.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use auth::callback;
use auth::keys::{Pair, Rotated};
use clap::builder::PossibleValuesParser;

use crate::services;

/// The payment provider that mall brings along, whose secret signs callbacks.
pub(crate) const PROVIDER: &str = "sandbox";

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The directory for the keys; without --rotate, what it has already stays as it is
    #[arg(long, env = "MALL_KEYS", value_name = "DIR", default_value = ".mall/keys")]
    out: PathBuf,
    /// Prints new keys as Kubernetes Secrets instead, private ones included
    #[arg(long, env = "MALL_KUBERNETES")]
    kubernetes: bool,
    /// Gives this service, or the payment provider `sandbox`, a new key beside its last one; services know of it when they
    /// are started again
    #[arg(long, env = "MALL_ROTATE", value_name = "NAME", conflicts_with = "kubernetes", value_parser = PossibleValuesParser::new(names().into_iter().chain([PROVIDER])))]
    rotate: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if options.kubernetes {
        for name in names() {
            write!(out, "{}", secrets(&Pair::generate(name)?))?;
        }
        let secret = callback::new_secret()?;
        write!(
            out,
            "{}",
            self::secret(&format!("{PROVIDER}-secret"), &format!("{PROVIDER}.secret"), secret.expose_secret())
        )?;
        return Ok(());
    }
    if options.rotate.as_deref() == Some(PROVIDER) {
        let path = callback::rotate(&options.out, PROVIDER)?;
        writeln!(out, "{PROVIDER} has a new secret, the first line of {}", path.display())?;
        writeln!(out, "start pay.rpc again, then have the provider sign with it; the last one stays good beside it")?;
        return Ok(());
    }
    if let Some(name) = &options.rotate {
        let Rotated { pair, replaced } = auth::keys::rotate(&options.out, name)?;
        writeln!(out, "{name} has the new key {}: start all services again, those that sign with it last", pair.kid)?;
        writeln!(out, "remove {} when the last token of the old key has ended", replaced.display())?;
        return Ok(());
    }
    let made = generate(&options.out)?;
    for path in &made {
        writeln!(out, "made {}", path.display())?;
    }
    if made.is_empty() {
        writeln!(out, "{} has every key already: nothing was changed", options.out.display())?;
    }
    Ok(())
}

/// Makes the keys and the secret that are missing in `dir`, and answers the files it made.
pub(crate) fn generate(dir: &Path) -> Result<Vec<PathBuf>, auth::Error> {
    let mut made = auth::keys::generate(dir, &names())?;
    made.extend(callback::generate(dir, PROVIDER)?);
    Ok(made)
}

/// The services that have a key.
fn names() -> Vec<&'static str> {
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
