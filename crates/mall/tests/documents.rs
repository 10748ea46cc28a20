//! What documents name is there.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use testkit::part::checkout;

fn rust_files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_a_test() {
    let mut files = Vec::new();
    rust_files(&checkout("crates"), &mut files);
    let mut tests = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                tests.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
                is_test = false;
            }
        }
    }
    let page = std::fs::read_to_string(checkout("docs/security.md")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 5).collect();
    assert!(rows.len() > 20, "the table is gone");
    for row in rows.into_iter().skip(1) {
        let shown = row.split('|').nth(4).unwrap();
        let named: Vec<_> = shown.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
        assert!(!named.is_empty() || shown.contains("make ") || shown.contains(".toml"), "nothing shows it: {row}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name}");
        }
    }
}
