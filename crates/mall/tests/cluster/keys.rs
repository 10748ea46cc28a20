//! Another key signs tokens from now on, by the commands of docs/kubernetes.md, and no shopper notices.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use serde_json::{Value, json};
use testkit::http::{Client, json};
use testkit::part::checkout;
use tokio::process::Command;

use crate::kubectl::{Cluster, mall};
use crate::load::Load;

const ALL_RPC: [&str; 3] = ["deployment", "--selector", "app.kubernetes.io/component=rpc"];

#[tokio::test(flavor = "multi_thread")]
async fn another_key_signs_and_nobody_notices() {
    let Some(cluster) = mall().await else { return };
    let load = Load::start(&cluster, 40).await;
    let old = signing_key(&cluster).await;
    keys(&["--rotate", "user.rpc"]).await;
    apply(&cluster, "public-key").await;
    cluster.kubectl(&[&["rollout", "restart"], &ALL_RPC[..]].concat()).await;
    cluster.kubectl(&[&["rollout", "status", "--timeout=120s"], &ALL_RPC[..]].concat()).await;
    apply(&cluster, "private-key").await;
    cluster.kubectl(&["rollout", "restart", "deployment/user-rpc"]).await;
    cluster.rolled_out("deployment/user-rpc").await;
    // The last of the old pods is still finishing.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let new = signing_key(&cluster).await;
    load.stop().await.all_went_well("signing with another key");
    assert_ne!(old, new);
    let public = directory().join("public/user.rpc");
    assert!(public.join(format!("{new}.pem")).exists(), "{new}");
    std::fs::remove_file(public.join(format!("{old}.pem"))).expect("the old public key");
    apply(&cluster, "public-key").await;
}

/// The id of the key that a token of now is signed with.
async fn signing_key(cluster: &Cluster) -> String {
    let file = async |name| String::from_utf8(cluster.secret("admin", name).await).expect("text");
    let login = json!({ "mobile": file("mobile").await, "password": file("password").await }).to_string();
    let api = cluster.forward("svc/user-api", 8000).await;
    let request = Request::post(format!("{}/api/user/login", api.url())).header("content-type", "application/json");
    let answer = Client::default().try_send(request.body(login.into()).expect("a URL")).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{answer:?}");
    let answer = json(&answer);
    let (header, _) = answer["accessToken"].as_str().and_then(|token| token.split_once('.')).expect("a token");
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64")).expect("JSON");
    header["kid"].as_str().expect("a key's id").to_owned()
}

/// Gives the cluster the keys' Secrets of one kind.
async fn apply(cluster: &Cluster, component: &str) {
    let selector = format!("app.kubernetes.io/component={component}");
    let secrets = keys(&["--kubernetes"]).await;
    let said = cluster.try_kubectl(&["apply", "--server-side", "--selector", &selector, "-f", "-"], &secrets).await;
    assert!(said.ok, "{}", said.err);
}

/// Runs `mall keys` where `scripts/kind` keeps the keys.
async fn keys(arguments: &[&str]) -> String {
    let mut keys = Command::new(env!("CARGO_BIN_EXE_mall"));
    keys.args(["keys", "--out"]).arg(directory()).args(arguments).stdin(Stdio::null());
    let output = keys.output().await.expect("run mall keys");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn directory() -> PathBuf {
    checkout(".mall/kind/keys")
}
