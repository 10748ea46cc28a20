//! What the API server says of the manifests: every field is known, and no pod that asks for more gets in.

use serde_json::{Value, json};

use crate::kubectl::{Cluster, mall};

/// Where overlays are tried on: a namespace like the mall's, with nothing in it.
const FITTING_ROOM: &str = "mall-fitting-room";

#[tokio::test(flavor = "multi_thread")]
async fn every_overlay_is_accepted_strictly_and_violates_no_standard() {
    let Some(cluster) = mall().await else { return };
    let namespace = std::fs::read_to_string(testkit::part::checkout("k8s/namespace.yaml")).expect("the namespace");
    let namespace = namespace.replace("name: mall\n", &format!("name: {FITTING_ROOM}\n"));
    let made = cluster.try_kubectl(&["apply", "--filename", "-"], &namespace).await;
    assert!(made.ok, "{}", made.err);
    // A pod without a controller is checked against its account, and a dry run makes none.
    cluster.kubectl(&["create", "serviceaccount", "jaeger", "--namespace", FITTING_ROOM]).await;
    let mut refused = Vec::new();
    for overlay in ["kind", "linkerd", "production"] {
        let path = testkit::part::checkout(&format!("kustomize/overlays/{overlay}"));
        let built = cluster.kubectl(&["kustomize", &path.display().to_string()]).await;
        let built = built.replace("namespace: mall\n", &format!("namespace: {FITTING_ROOM}\n"));
        let arguments = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--field-manager=fitting-room",
            "--force-conflicts",
            "--namespace",
            FITTING_ROOM,
            "--filename",
            "-",
        ];
        let said = cluster.try_kubectl(&arguments, &built).await;
        let objects = built.matches("\nkind: ").count();
        eprintln!("{overlay}: {objects} objects");
        if !said.ok || !said.err.trim().is_empty() || said.out.lines().count() < objects {
            refused.push(format!("{overlay}: {}", said.err));
        }
    }
    cluster.kubectl(&["delete", "namespace", FITTING_ROOM, "--wait=false"]).await;
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_any_of_its_hardening_removed_is_refused() {
    let Some(cluster) = mall().await else { return };
    let good = pod_of(&cluster, "user-rpc").await;
    let accepted = dry_run(&cluster, &good).await;
    assert_eq!(accepted, None, "the pod as it is");
    let pod = "/spec/securityContext";
    let container = "/spec/containers/0/securityContext";
    let without = [
        (format!("{pod}/runAsNonRoot"), json!(null), "runAsNonRoot"),
        (format!("{pod}/runAsUser"), json!(0), "runAsUser"),
        (format!("{pod}/seccompProfile"), json!(null), "seccompProfile"),
        (format!("{container}/allowPrivilegeEscalation"), json!(null), "allowPrivilegeEscalation"),
        (format!("{container}/capabilities/drop"), json!([]), "capabilities"),
        (format!("{container}/capabilities/add"), json!(["NET_RAW"]), "capabilities"),
        (container.to_owned(), json!({ "privileged": true }), "privileged"),
        ("/spec/hostNetwork".to_owned(), json!(true), "hostNetwork"),
        ("/spec/hostPID".to_owned(), json!(true), "hostPID"),
        ("/spec/volumes/0".to_owned(), json!({ "name": "config", "hostPath": { "path": "/etc" } }), "hostPath"),
    ];
    for (path, value, word) in without {
        let mut bad = good.clone();
        set(&mut bad, &path, value);
        let refused = dry_run(&cluster, &bad).await.unwrap_or_else(|| panic!("a pod without {path} is accepted"));
        assert!(refused.contains("violates PodSecurity") && refused.contains(word), "{path}: {refused}");
    }
}

/// A pod like those of a workload, by another name.
async fn pod_of(cluster: &Cluster, workload: &str) -> Value {
    let deployment = cluster.get(&["deployment", workload]).await;
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "tried-on", "labels": { "app.kubernetes.io/name": "tried-on" } },
        "spec": deployment["spec"]["template"]["spec"],
    })
}

/// Why the API server would not take it.
async fn dry_run(cluster: &Cluster, pod: &Value) -> Option<String> {
    let said = cluster.try_kubectl(&["create", "--dry-run=server", "--filename", "-"], &pod.to_string()).await;
    (!said.ok).then_some(said.err)
}

/// Sets a field, whose parent is there; null removes it.
fn set(object: &mut Value, path: &str, value: Value) {
    let (parent, key) = path.rsplit_once('/').expect("a path");
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is not there"));
    match (parent, key.parse::<usize>()) {
        (Value::Array(list), Ok(index)) => list[index] = value,
        (parent, _) => parent[key] = value,
    }
}
