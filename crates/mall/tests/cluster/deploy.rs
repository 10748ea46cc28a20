//! What `make kind-up` leaves behind: a mall that works, whose traces are whole, and which a second time changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use http::Request;
use serde_json::Value;
use testkit::http::{Client, json};
use testkit::process::SERVICES;
use testkit::trace::Trace;
use testkit::{eventually, part};
use tokio::process::Command;

use crate::kubectl::{Cluster, deploy, mall, name};

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_an_order_is_whole_and_says_which_pods_made_it() {
    let Some(cluster) = mall().await else { return };
    let id = trace_of(cluster.deployed, "order");
    let jaeger = cluster.forward("jaeger", 16686).await;
    let answer = eventually("the trace of the order in Jaeger", async || {
        let request =
            Request::get(format!("{}/api/traces/{id}", jaeger.url())).body(Default::default()).expect("a URL");
        let answer = Client::default().try_send(request).await.ok()?;
        let answer = (answer.status() == 200).then(|| json(&answer))?;
        // The three processes send theirs in their own time.
        (services(&answer).len() == 3).then_some(answer)
    })
    .await;
    let trace = Trace::from_jaeger(&answer).expect("a trace");
    assert_eq!(trace.roots().len(), 1, "{trace:#?}");
    assert_eq!(trace.orphans().len(), 0, "{trace:#?}");
    assert_eq!(services(&answer), BTreeSet::from(["order.api", "order.rpc", "product.rpc"]));
    for process in answer["data"][0]["processes"].as_object().expect("processes").values() {
        let service = process["serviceName"].as_str().expect("a name");
        let tags: BTreeMap<_, _> = process["tags"]
            .as_array()
            .expect("tags")
            .iter()
            .map(|tag| (tag["key"].as_str().unwrap_or_default(), tag["value"].as_str().unwrap_or_default()))
            .collect();
        let workload = service.replace('.', "-");
        let pods = cluster.pods(&workload).await;
        assert_eq!(tags.get("k8s.namespace.name"), Some(&"mall"), "{tags:?}");
        assert_eq!(tags.get("k8s.deployment.name"), Some(&workload.as_str()), "{tags:?}");
        assert!(pods.iter().any(|pod| tags.get("k8s.pod.name") == Some(&name(pod))), "{tags:?}");
        assert!(pods.iter().any(|pod| pod["metadata"]["uid"] == tags["k8s.pod.uid"]), "{tags:?}");
        assert!(tags.contains_key("k8s.node.name") && tags.contains_key("k8s.pod.ip"), "{tags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_and_calls_through_a_forwarded_port() {
    let Some(cluster) = mall().await else { return };
    let Some(grpcurl) = part::find("grpcurl") else { return };
    let user = cluster.forward("svc/user-rpc", 9000).await;
    let address = user.address.to_string();
    let run = async |arguments: &[&str]| {
        let output = Command::new(&grpcurl).arg("-plaintext").args(arguments).output().await.expect("run grpcurl");
        let said = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
        (output.status.success(), said.into_owned())
    };
    let (ok, listed) = run(&[&address, "list"]).await;
    assert!(ok && listed.contains("mall.user.v1.UserService"), "{listed}");
    let health = ["-d", r#"{"service": "mall.user.v1.UserService"}"#, &address, "grpc.health.v1.Health/Check"];
    let (ok, health) = run(&health).await;
    assert!(ok && health.contains("SERVING"), "{health}");
    let (ok, refused) = run(&[&address, "mall.user.v1.UserService/UserInfo"]).await;
    assert!(!ok && refused.contains("Unauthenticated"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shopper_outside_goes_through_forwarded_ports() {
    let Some(cluster) = mall().await else { return };
    let keys = tempfile::tempdir().expect("a directory");
    let secret = cluster.secret("sandbox-secret", "sandbox.secret").await;
    std::fs::create_dir(keys.path().join("private")).expect("a directory");
    write_private(&keys.path().join("private/sandbox.secret"), &secret);
    let mut demo = Command::new(env!("CARGO_BIN_EXE_mall"));
    demo.arg("demo").env("MALL_KEYS", keys.path()).stdin(Stdio::null());
    let mut forwards = Vec::new();
    for (api, variable, port) in [
        ("user-api", "MALL_USER_API", 8000),
        ("product-api", "MALL_PRODUCT_API", 8001),
        ("order-api", "MALL_ORDER_API", 8002),
        ("pay-api", "MALL_PAY_API", 8003),
    ] {
        let forward = cluster.forward(&format!("svc/{api}"), port).await;
        demo.env(variable, forward.url());
        forwards.push(forward);
    }
    let output = demo.output().await.expect("run mall demo");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("the payment"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_changes_nothing() {
    let Some(cluster) = mall().await else { return };
    let before = everything(&cluster).await;
    deploy().await;
    let after = everything(&cluster).await;
    assert!(before.len() > SERVICES.len(), "{before:?}");
    assert_eq!(before, after);
}

/// Everything that the overlay makes, with what changes when it is changed: its content's version, or for what the cluster
/// itself keeps writing to, the version of what is asked for.
async fn everything(cluster: &Cluster) -> BTreeMap<String, String> {
    let kinds = "deployments,statefulsets,jobs,pods,services,configmaps,secrets,serviceaccounts,poddisruptionbudgets,networkpolicies,roles,rolebindings";
    let all = cluster.get(&[kinds]).await;
    let describe = |object: &Value| {
        let kind = object["kind"].as_str().expect("a kind");
        let meta = &object["metadata"];
        let version = if meta["generation"].is_null() && kind != "Pod" { "resourceVersion" } else { "generation" };
        (format!("{kind} {}", name(object)), format!("{} {}", meta["uid"], meta[version]))
    };
    all["items"].as_array().expect("a list").iter().map(describe).collect()
}

/// The trace that the demo names for one of its steps.
fn trace_of(demo: &str, step: &str) -> String {
    let line = demo.lines().find(|line| line.split_whitespace().next() == Some(step));
    let id = line.and_then(|line| line.rsplit_once("/trace/")).map(|(_, id)| id.trim().to_owned());
    id.unwrap_or_else(|| panic!("no trace of {step} in:\n{demo}"))
}

fn services(jaeger: &Value) -> BTreeSet<&str> {
    let processes = jaeger["data"][0]["processes"].as_object();
    processes.into_iter().flatten().filter_map(|(_, process)| process["serviceName"].as_str()).collect()
}

/// For its owner alone, as keys are.
fn write_private(path: &std::path::Path, content: &[u8]) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a file");
    file.write_all(content).expect("written");
}
