//! `mall up` keeps its services running, stops them in order, and leaves none behind however it ends.

use std::net::TcpListener;
use std::path::Path;

use testkit::eventually;
use testkit::process::{Mall, Signal, gone, json, signal};
use testkit::shopper::Shopper;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

fn pids(mall: &Mall) -> Vec<u32> {
    mall.services().into_values().collect()
}

#[tokio::test]
async fn a_signal_stops_all_in_order() {
    for how in [Signal::TERM, Signal::INT] {
        let mut mall = Mall::of(MALL).start().await;
        let services = mall.services();
        assert_eq!(services.len(), 9, "{services:?}");
        mall.signal(how);
        assert_eq!(mall.wait().await.code(), Some(0));
        gone(&services.into_values().collect::<Vec<_>>()).await;
        mall.logs().line("viewer has stopped").await.unwrap();
        let text = mall.logs().text();
        let at = |name| text.find(&format!("{name} has stopped")).unwrap_or_else(|| panic!("{name} did not stop"));
        for (caller, called) in
            [("user.api", "user.rpc"), ("pay.api", "pay.rpc"), ("pay.rpc", "order.rpc"), ("order.rpc", "product.rpc")]
        {
            assert!(at(caller) < at(called) && at(called) < at("viewer"), "{text}");
        }
        assert!(!mall.data().join("addresses.json").exists());
    }
}

#[tokio::test]
async fn a_killed_supervisor_leaves_no_child_and_a_directory_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut mall = Mall::of(MALL).data(dir.path()).start().await;
    let pids = pids(&mall);
    mall.signal(Signal::KILL);
    mall.wait().await;
    gone(&pids).await;
    Mall::of(MALL).data(dir.path()).start().await;
}

#[tokio::test]
async fn a_killed_service_is_started_again_on_its_port() {
    // On Linux also when the binary is not there any more; a link, for to copy it would take long.
    let dir = tempfile::tempdir_in(Path::new(MALL).parent().unwrap()).unwrap();
    let program = dir.path().join("mall");
    std::fs::hard_link(MALL, &program).unwrap();
    let mall = Mall::of(program.to_str().unwrap()).start().await;
    if cfg!(target_os = "linux") {
        std::fs::remove_file(&program).unwrap();
    }
    let ready = format!("http://{}/readyz", mall.address("user.rpc", "admin"));
    for _ in 0..2 {
        let before = mall.services()["user.rpc"];
        let said = mall.logs().text().matches("user.rpc is ready again").count();
        signal(before, Signal::KILL);
        mall.logs().lines("user.rpc is ready again", said + 1).await.unwrap();
        assert_ne!(mall.services()["user.rpc"], before);
        assert_eq!(mall.get(&ready).await.status(), 200);
    }
    assert!(mall.logs().text().contains("user.rpc ended (signal: 9 (SIGKILL)); starting it again in 100ms"));
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut mall = Mall::of(MALL).start().await;
    let pids = pids(&mall);
    // A process that is halted cannot drain.
    signal(mall.services()["user.api"], Signal::STOP);
    mall.signal(Signal::INT);
    mall.logs().line("stopping").await.unwrap();
    mall.signal(Signal::INT);
    assert_eq!(mall.wait().await.code(), Some(1));
    gone(&pids).await;
}

#[tokio::test]
async fn a_service_that_cannot_start_ends_all() {
    let mut mall = Mall::of(MALL).variable("MALL__TELEMETRY__LOG__LEVEL", "=?=").spawn();
    assert_eq!(mall.wait().await.code(), Some(1));
    let said = mall.logs().line("ended before it was ready (exit status: 1)").await.unwrap();
    assert!(said.starts_with("mall: "), "{said}");
    assert!(mall.logs().text().contains("telemetry.log.level"), "{}", mall.logs().text());
    assert!(!mall.data().join("addresses.json").exists());
}

#[tokio::test]
async fn a_mistake_in_a_configuration_is_told_before_anything_starts() {
    // The last is a key of one service, and none in it.
    for (variable, part) in [
        ("MALL__TELEMETRY__SAMPELR", "did you mean `sampler`?"),
        ("MALL__NONSENSE", "no key `nonsense`"),
        ("MALL__POOL__SIZ", "did you mean `size`?"),
    ] {
        let mut mall = Mall::of(MALL).variable(variable, "1").spawn();
        assert_eq!(mall.wait().await.code(), Some(1));
        let said = mall.logs().line(variable).await.unwrap();
        assert!(said.contains(part), "{said}");
        assert!(!mall.data().join("keys").exists());
    }
}

#[tokio::test]
async fn files_are_for_the_services_they_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("user.api.yaml"), "limits:\n  body_bytes: 10\n").unwrap();
    let mall = Mall::of(MALL).argument("--config-dir").argument(dir.path().to_str().unwrap()).start().await;
    let answer = mall.post("user.api", "/api/user/login", None, &serde_json::json!({ "mobile": "15838607661" })).await;
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn the_level_of_the_log_changes_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let level = |level: &str| {
        let text = format!("telemetry:\n  log:\n    level: {level}\n");
        std::fs::write(dir.path().join("user.rpc.yaml"), text).unwrap();
    };
    level("warn");
    let mall = Mall::of(MALL).argument("--config-dir").argument(dir.path().to_str().unwrap()).start().await;
    let pid = mall.services()["user.rpc"];
    assert!(!mall.logs().text().contains("user.rpc rpc::server: serving"));
    level("lowd");
    signal(pid, Signal::HUP);
    let said = mall.logs().line("SIGHUP: the levels of the log stay as they are").await.unwrap();
    assert!(said.contains("telemetry.log.level"), "{said}");
    level("mall=info,warn");
    signal(pid, Signal::HUP);
    mall.logs().line("SIGHUP: the levels of the log were read again").await.unwrap();
    assert_eq!(mall.services()["user.rpc"], pid);
}

#[tokio::test]
async fn variables_are_for_the_services_that_have_the_key() {
    let mall = Mall::of(MALL)
        .variable("MALL__POOL__SIZE", "5")
        .variable("OTEL_RESOURCE_ATTRIBUTES", "service.name=all,deployment.environment.name=test")
        .start()
        .await;
    Shopper::new(&mall, "15838607661").await;
    let services = mall.url("viewer") + "/api/services";
    eventually("both services have sent spans, and those that only look for work have not", async || {
        let names = json(&mall.get(&services).await)["data"].clone();
        assert!(!names.to_string().contains("\"all\""), "{names}");
        (names == serde_json::json!(["user.api", "user.rpc"])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_named_before_anything_starts() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("user.api.yaml"), format!("listen: 0.0.0.0:{port}")).unwrap();
    let data = dir.path().join("data");
    let output = tokio::process::Command::new(MALL)
        .args(["up", "--data-dir"])
        .arg(&data)
        .arg("--config-dir")
        .arg(dir.path())
        .output()
        .await
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(&format!("user.api needs port {port}")) && error.contains("--free-ports"), "{error}");
    assert_eq!(error.trim().lines().count(), 1, "{error}");
    assert!(!data.join("keys").exists());
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let first = Mall::of(MALL).start().await;
    let mut second = Mall::of(MALL).data(first.data()).spawn();
    assert_eq!(second.wait().await.code(), Some(1));
    let said = second.logs().line("another `mall up`").await.unwrap();
    assert!(said.contains(&format!("process {}", first.pid().unwrap())) && said.contains("--data-dir"), "{said}");
}

#[tokio::test]
async fn traces_go_elsewhere_when_told() {
    let collector = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let mall = Mall::of(MALL).argument("--otlp").argument(&url).start().await;
    let services = mall.services();
    assert!(services.len() == 8 && !services.contains_key("viewer"), "{services:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_viewer_is_opened_in_the_browser_on_demand() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (browser, opened) = (dir.path().join("xdg-open"), dir.path().join("opened"));
    std::fs::write(&browser, format!("#!/bin/sh\nprintf %s \"$1\" > {}\n", opened.display())).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());

    let mall = Mall::of(MALL).argument("--open").variable("PATH", &path).start().await;
    let read = async || std::fs::read_to_string(&opened).ok().filter(|url| !url.is_empty());
    assert_eq!(eventually("a browser is opened", read).await, mall.url("viewer"));
}
