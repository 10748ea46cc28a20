//! NetworkPolicies, where the cluster's network lets them hold: what the mall does goes through, as every other test here
//! shows there too, and nothing else.

use serde_json::json;
use testkit::requirement;

use crate::kubectl::{Cluster, NAMESPACE, mall};

/// A port of each kind of pod.
const PORTS: [&str; 5] = ["postgres:5432", "user-rpc:9000", API, "collector:4317", "jaeger:4317"];
const API: &str = "user-api:8000";

#[tokio::test(flavor = "multi_thread")]
async fn whom_no_rule_names_reaches_nothing() {
    let Some(cluster) = mall().await else { return };
    // One whose own way out is closed, and one who finds all ways in closed but that to the REST APIs.
    let (inside, outside) = (reached_from(&cluster, NAMESPACE).await, reached_from(&cluster, "default").await);
    if [&inside, &outside].iter().all(|reached| reached.len() == PORTS.len()) {
        requirement::missing("policies", "the cluster's network does not enforce NetworkPolicies");
        return;
    }
    assert_eq!(inside, [""; 0]);
    assert_eq!(outside, [API]);
}

/// The ports that a pod without a name can connect to.
async fn reached_from(cluster: &Cluster, namespace: &str) -> Vec<&'static str> {
    const POD: &str = "outsider";
    let kubectl = async |arguments: &[&str]| cluster.kubectl(&[arguments, &["--namespace", namespace]].concat()).await;
    // As hardened as shoppers are; psql can say whether anybody answers.
    let mut spec = cluster.get(&["deployment", "load"]).await["spec"]["template"]["spec"].take();
    spec["restartPolicy"] = json!("Never");
    spec["serviceAccountName"] = json!("default");
    spec["volumes"] = json!([]);
    let postgres = cluster.get(&["statefulset", "postgres"]).await;
    let container = &mut spec["containers"][0];
    container["image"] = postgres["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    container["volumeMounts"] = json!([]);
    let script = r#"for port; do echo "$port: $(psql "host=${port%:*}.mall port=${port#*:} user=x connect_timeout=3" 2>&1)"; done"#;
    container["command"] = json!(["/bin/sh", "-c", script, "sh"]);
    container["args"] = json!(PORTS);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": POD }, "spec": spec }).to_string();
    kubectl(&["delete", "pod", POD, "--ignore-not-found"]).await;
    let made = cluster.try_kubectl(&["create", "--namespace", namespace, "--filename", "-"], &pod).await;
    assert!(made.ok, "{}", made.err);
    kubectl(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod", POD, "--timeout=90s"]).await;
    let said = kubectl(&["logs", POD]).await;
    kubectl(&["delete", "pod", POD]).await;
    let answer =
        |port: &str| said.lines().find(|line| line.starts_with(&format!("{port}: "))).expect("a line for each");
    assert!(!said.contains("could not translate"), "{said}");
    // A network may drop what is not allowed, or refuse it.
    let is_closed = |port: &&str| ["timeout expired", "refused"].iter().any(|sign| answer(port).contains(sign));
    PORTS.into_iter().filter(|port| !is_closed(port)).collect()
}
