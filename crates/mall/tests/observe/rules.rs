//! The rules of Prometheus: they are tested by promtool, and no alert is without a test, nor without a word on what to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::part;

use crate::yaml;

/// A file or directory of the checkout under test.
pub(crate) fn checkout(path: &str) -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..").join(path)
}

/// The files of a directory, in the order of their names.
pub(crate) fn files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(checkout(directory)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn rules() -> Value {
    yaml::parse(&std::fs::read_to_string(checkout("k8s/prometheus/rules.yaml")).unwrap())
}

/// The rules that have this key: `alert` or `record`.
fn with<'a>(rules: &'a Value, key: &'static str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let all = list(rules, "groups").iter().flat_map(|group| list(group, "rules"));
    all.filter_map(move |rule| Some((rule[key].as_str()?, rule)))
}

/// The names of the alerts in the tests: those that fire there, and those that do not.
fn tested() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut fires, mut still) = (BTreeSet::new(), BTreeSet::new());
    for file in files("k8s/prometheus/tests") {
        let tests = yaml::parse(&std::fs::read_to_string(file).unwrap());
        for check in list(&tests, "tests").iter().flat_map(|test| list(test, "alert_rule_test")) {
            let names = if list(check, "exp_alerts").is_empty() { &mut still } else { &mut fires };
            names.insert(check["alertname"].as_str().unwrap().to_owned());
        }
    }
    (fires, still)
}

/// Runs promtool, which lies beside prometheus.
fn promtool(promtool: &Path, arguments: &[&str], files: &[PathBuf]) {
    let output = Command::new(promtool).args(arguments).args(files).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}\n{text}\n{errors}");
}

#[test]
fn the_rules_pass_their_tests() {
    let Some(prometheus) = part::find("prometheus") else { return };
    let program = prometheus.with_file_name("promtool");
    promtool(&program, &["check", "rules", "--lint-fatal"], &[checkout("k8s/prometheus/rules.yaml")]);
    promtool(&program, &["test", "rules"], &files("k8s/prometheus/tests"));
}

#[test]
fn every_alert_is_seen_to_fire_and_to_keep_still() {
    let rules = rules();
    let alerts: BTreeSet<_> = with(&rules, "alert").map(|(name, _)| name.to_owned()).collect();
    assert!(!alerts.is_empty());
    let (fires, still) = tested();
    assert_eq!(fires, alerts, "left: those that fire in a test, right: those that there are");
    assert_eq!(still, alerts, "left: those that keep still in a test, right: those that there are");
}

#[test]
fn every_record_is_tested() {
    let tests: String =
        files("k8s/prometheus/tests").iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // These say only who should be there; the alert that reads them is tested.
    let plain = ["mall:service:expected"];
    for (record, _) in with(&rules(), "record").filter(|(record, _)| !plain.contains(record)) {
        assert!(tests.contains(record), "no test asks for {record}");
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = rules();
    let text = std::fs::read_to_string(checkout("docs/alerts.md")).unwrap();
    let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts: Vec<_> = with(&rules, "alert").collect();
    assert_eq!(alerts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), sections, "the sections of docs/alerts.md");
    for (name, alert) in alerts {
        assert!(["critical", "warning"].map(Value::from).contains(&alert["labels"]["severity"]), "{name}");
        for annotation in ["summary", "description"] {
            assert!(
                alert["annotations"][annotation].as_str().is_some_and(|text| text.len() > 20),
                "{name}: {annotation}"
            );
        }
        let runbook = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook"], runbook, "{name}");
    }
}
