//! Schemathesis: sends an API what its OpenAPI document allows, and what it does not, and looks at the answers.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::part;

/// How long it may be at one API; it ends by itself long before, unless an answer does not come.
const PATIENCE: Duration = Duration::from_secs(180);

/// The same requests each time, as far as the answers are the same, and neither too many nor kept for the next time.
const BOUNDS: [&str; 12] = [
    "--phases",
    "coverage,fuzzing,stateful",
    "--max-examples",
    "10",
    "--seed",
    "1",
    "--generation-database",
    "none",
    // How long it takes to make requests up says nothing about the API.
    "--suppress-health-check",
    "all",
    "--request-timeout",
    "30",
];

/// All but two: the rules of fields are in comments, so a request that breaks none in the schema may be refused all the
/// same; and what is removed may still be there to be seen, as a product that is off sale.
const CHECKS: [&str; 4] = ["--checks", "all", "--exclude-checks", "positive_data_acceptance,use_after_free"];

/// What runs Schemathesis.
#[derive(Clone, Debug)]
pub struct Schemathesis {
    program: PathBuf,
}

/// Finds Schemathesis; `None`, said aloud, where it is missing and not required.
pub fn find() -> Option<Schemathesis> {
    part::find("schemathesis").map(|program| Schemathesis { program })
}

impl Schemathesis {
    /// Tries the API at `url` by its `document` as the one whose `token` it is: `Err` if an answer is not as documented,
    /// with all that was said either way.
    ///
    /// # Panics
    ///
    /// Panics if it does not run, or does not end.
    pub async fn run(&self, url: &str, document: &Value, token: &str) -> Result<String, String> {
        let directory = tempfile::tempdir().expect("make a directory");
        let file = directory.path().join("openapi.json");
        std::fs::write(&file, document.to_string()).expect("write the document");
        let running = Command::new(&self.program)
            .arg("run")
            .arg(&file)
            .args(["--url", url, "--header"])
            .arg(format!("Authorization: Bearer {token}"))
            .args(BOUNDS)
            .args(CHECKS)
            .args(["--continue-on-failure", "--warnings", "off", "--no-color"])
            .current_dir(&directory)
            .env("HOME", directory.path())
            .env("TMPDIR", directory.path())
            // A proxy of the machine is not for its own addresses.
            .env("NO_PROXY", "127.0.0.1")
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(PATIENCE, running).await.expect("schemathesis does not end");
        let output = ended.expect("run schemathesis");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if output.status.success() { Ok(text) } else { Err(text) }
    }
}
