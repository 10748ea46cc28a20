//! `mall keys`: the keys with which services sign tokens and the secret of the payment provider, as files or as Kubernetes
//! Secrets.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use auth::callback;
use auth::keys::{Pair, Rotated};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::builder::PossibleValuesParser;

use crate::services;

/// The payment provider that mall brings along, whose secret signs callbacks.
pub(crate) const PROVIDER: &str = "sandbox";

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The directory for the keys; without --rotate, what it has already stays as it is
    #[arg(long, env = "MALL_KEYS", value_name = "DIR", default_value = ".mall/keys")]
    out: PathBuf,
    /// Prints the keys in the directory, private ones included, as Kubernetes Secrets, after making those that are missing
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
        generate(&options.out)?;
        write!(out, "{}", secrets(&options.out)?)?;
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

/// The keys in `dir` as Secrets. Of each service a private one for itself, to be mounted at `keys/private`, and a public one
/// for everybody, to be mounted at `keys/public/NAME`; and the provider's secret, for `keys/private`, too.
///
/// Both kinds have a label, by which `kubectl apply -l` takes one of them: those that verify must know a key before it signs.
fn secrets(dir: &Path) -> Result<String, auth::Error> {
    let mut text = String::new();
    for name in names() {
        let private = Pair::load(dir, name)?.private;
        let file = (format!("{name}.pem"), private.expose_secret().clone());
        text.push_str(&secret(&format!("{name}-private"), "private-key", &[file]));
        text.push_str(&secret(&format!("{name}-public"), "public-key", &auth::keys::public_files(dir, name)?));
    }
    let provider = callback::read(dir, PROVIDER)?;
    let file = (format!("{PROVIDER}.secret"), provider.expose_secret().clone());
    text.push_str(&secret(&format!("{PROVIDER}-secret"), "private-key", &[file]));
    Ok(text)
}

/// A Secret of files. Not `stringData`, of which `kubectl apply` does not remove what is there no longer, such as a key that
/// was replaced.
fn secret(name: &str, component: &str, files: &[(String, String)]) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  labels:\n    app.kubernetes.io/part-of: mall\n    \
         app.kubernetes.io/component: {component}\ntype: Opaque\ndata:\n"
    );
    for (file, content) in files {
        let _ = writeln!(text, "  \"{file}\": {}", BASE64_STANDARD.encode(content));
    }
    text
}
