//! What a service would run with, as `mall config` tells it: here, and with what its pod is given.

use std::collections::BTreeMap;
use std::process::Command;

use testkit::process::SERVICES;

use crate::overlay::{Overlay, Workload, list, text, texts};

/// The workload of a process in a cluster: of the same name, with a hyphen.
pub(crate) fn workload(process: &str) -> String {
    process.replace('.', "-")
}

/// Key and value of everything that a process would run with, with these variables alone.
pub(crate) fn config(process: &str, variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mall"));
    let output = command.args(["config", process]).env_clear().envs(variables).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`mall config {process}` with {variables:?}: {said}");
    let rows = String::from_utf8(output.stdout).unwrap();
    let columns = rows.lines().map(|row| row.split_whitespace());
    columns.filter_map(|mut row| Some((row.next()?.to_owned(), row.next()?.to_owned()))).collect()
}

/// The variables that the manifests give the first container of a workload: their own, and those of its ConfigMaps. Those
/// that name a file or a field of the pod are only known there.
pub(crate) fn variables(overlay: &Overlay, workload: &Workload<'_>) -> BTreeMap<String, String> {
    let container = &workload.containers()[0];
    let mut all = BTreeMap::new();
    let mut add = |(name, value): (&str, &str)| {
        if name != "MALL_CONFIG_DIR" {
            all.insert(name.to_owned(), value.to_owned());
        }
    };
    for from in list(&container["envFrom"]) {
        let map = text(&from["configMapRef"]["name"]);
        let map = overlay.find("ConfigMap", map).unwrap_or_else(|| panic!("{}: no ConfigMap {map}", workload.name));
        texts(&map["data"]).into_iter().for_each(&mut add);
    }
    for variable in list(&container["env"]) {
        let value = &variable["value"];
        if let Some(value) = value.as_str().filter(|value| !value.contains("$(")) {
            add((text(&variable["name"]), value));
        }
    }
    all
}

/// Whom a process calls: the keys that say where a peer is, and what they say.
pub(crate) fn targets(config: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    config.iter().filter(|(key, _)| key.ends_with(".target")).map(|(_, target)| target.as_str())
}

/// The process at `address`, a URL or what is told like one, if its port is a number.
pub(crate) fn process_at(address: &str, ports: &BTreeMap<String, String>) -> Option<String> {
    let port = address.rsplit_once(':')?.1;
    ports.get(port).cloned()
}

/// The process by whose Service `address` names it.
pub(crate) fn process_named(address: &str) -> String {
    let name = address.rsplit('/').next().unwrap().split(':').next().unwrap();
    name.replace('-', ".")
}

/// The process by the port that it listens at, as it is configured without a variable.
pub(crate) fn listening() -> BTreeMap<String, String> {
    let port = |process: &str| {
        let config = config(process, &BTreeMap::new());
        let listen = config.get("server.listen").or_else(|| config.get("listen")).unwrap();
        listen.rsplit_once(':').unwrap().1.to_owned()
    };
    SERVICES.into_iter().map(|process| (port(process), process.to_owned())).collect()
}
