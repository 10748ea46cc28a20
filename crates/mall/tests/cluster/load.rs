//! Shoppers inside the cluster, who go on and on, and what they say at the end.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use crate::kubectl::Cluster;

const JOB: &str = "shoppers";

/// Shoppers at work.
pub(crate) struct Load<'a> {
    cluster: &'a Cluster,
}

/// What became of them.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) failed: u64,
    /// All that they said.
    pub(crate) text: String,
    figures: Value,
}

impl<'a> Load<'a> {
    /// Sends them in: a Job that is made of the Deployment `load`. They have begun when this returns.
    pub(crate) async fn start(cluster: &'a Cluster, rate: u32) -> Self {
        let deployment = cluster.get(&["deployment", "load"]).await;
        let mut template = deployment["spec"]["template"].clone();
        template["spec"]["restartPolicy"] = json!("Never");
        let container = &mut template["spec"]["containers"][0];
        container["args"] = json!([
            "load",
            "--json",
            "--users=20",
            "--duration=forever",
            "--wait=60s",
            format!("--rate={rate}"),
            "--mix=browse=50,order=30,pay=20",
        ]);
        let job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": JOB },
            "spec": { "backoffLimit": 0, "template": template },
        });
        cluster.kubectl(&["delete", "job", JOB, "--ignore-not-found"]).await;
        let made = cluster.try_kubectl(&["create", "--filename", "-"], &job.to_string()).await;
        assert!(made.ok, "{}", made.err);
        cluster.kubectl(&["wait", "--for=jsonpath={.status.ready}=1", &format!("job/{JOB}"), "--timeout=60s"]).await;
        // They say how far they are every ten seconds.
        eventually("shoppers who have begun", async || {
            let said = cluster.try_kubectl(&["logs", &format!("job/{JOB}")], "").await.out;
            said.contains(" operations, ").then_some(())
        })
        .await;
        Self { cluster }
    }

    /// Calls them home, and waits for the last.
    pub(crate) async fn stop(self) -> Outcome {
        // From now on, for what was followed from the beginning would have ended with the API server.
        let mut logs = self.cluster.follow(&format!("job/{JOB}"));
        let mut lines = BufReader::new(logs.stdout.take().expect("a pipe")).lines();
        let first = timeout(Duration::from_secs(60), lines.next_line()).await;
        assert!(matches!(first, Ok(Ok(Some(_)))), "the shoppers have said nothing");
        self.cluster.kubectl(&["delete", "job", JOB, "--wait=false"]).await;
        let mut text = String::new();
        let mut figures = Value::Null;
        while let Ok(Ok(Some(line))) = timeout(Duration::from_secs(60), lines.next_line()).await {
            text.push_str(&line);
            text.push('\n');
            figures = serde_json::from_str(&line).unwrap_or(figures);
        }
        self.cluster.kubectl(&["delete", "job", JOB, "--ignore-not-found"]).await;
        let number = |key: &str| figures[key].as_u64().unwrap_or_else(|| panic!("no {key} in {text}"));
        let (operations, failed) = (number("operations"), number("failed"));
        Outcome { operations, failed, text, figures }
    }
}

impl Outcome {
    /// Nobody was turned away.
    pub(crate) fn all_went_well(&self, during: &str) {
        eprintln!("{during}: {} operations, {} failed", self.operations, self.failed);
        assert!(self.operations > 0, "{during}: {}", self.text);
        assert_eq!(self.failed, 0, "{during}: {}", self.text);
    }

    /// How many operations of a kind went well.
    pub(crate) fn acknowledged(&self, operation: &str) -> u64 {
        let rows = self.figures["rows"].as_array().expect("rows").iter();
        let rows = rows.filter(|row| row["operation"] == operation && row["step"] == false);
        rows.map(|row| {
            let errors = row["errors"].as_object().into_iter().flatten();
            row["count"].as_u64().unwrap_or_default() - errors.filter_map(|(_, count)| count.as_u64()).sum::<u64>()
        })
        .sum()
    }
}
