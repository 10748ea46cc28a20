//! Runs the benchmark of another crate, whose output has the figures.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// The packages that `make bench` builds: the same ones here, or cargo would build them again with other features.
const PACKAGES: [&str; 5] = ["auth", "mall", "telemetry", "user", "viewer"];

/// What the benchmark `name` prints.
pub(crate) fn output(name: &str) -> anyhow::Result<String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["bench", "--quiet", "--locked", "--bench", name]);
    command.args(PACKAGES.into_iter().flat_map(|package| ["--package", package]));
    // Some build scripts run again when these differ from those of the build before, and cargo sets them for us.
    let ours = ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR"];
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|variable| ours.iter().any(|prefix| variable.starts_with(prefix))) {
            command.env_remove(variable);
        }
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run cargo")?;
    ensure!(output.status.success(), "the benchmark `{name}` failed ({})", output.status);
    let text = String::from_utf8(output.stdout)?;
    eprint!("{text}");
    Ok(text)
}

/// The figure behind `label` in the output of the benchmark `name`.
pub(crate) fn figure(name: &str, output: &str, label: &str) -> anyhow::Result<f64> {
    let figure = output.lines().find_map(|line| number_after(line, label));
    figure.with_context(|| format!("the benchmark `{name}` does not tell of `{label}`"))
}

/// The first number behind `label` in a line.
pub(crate) fn number_after(line: &str, label: &str) -> Option<f64> {
    let rest = line.trim_start().strip_prefix(label)?;
    rest.split_whitespace().find_map(|word| word.parse().ok())
}
