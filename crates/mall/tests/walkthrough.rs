//! The shell blocks of the README, run as they stand: a new user's first minutes.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use testkit::{part, requirement};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The bodies of the blocks marked `sh`.
fn shell_blocks(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```sh\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn bash(script: &str, data: &Path, path: &str) -> Command {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(root).env("MALL_DATA_DIR", data).env("PATH", path);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A command in a process group of its own, as a terminal runs it; Ctrl-C goes to all of the group.
struct Foreground(Child);

impl Foreground {
    fn start(mut command: Command) -> Self {
        Self(command.process_group(0).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn ctrl_c(&self) {
        if let Some(group) = self.0.id() {
            std::process::Command::new("kill").args(["-INT", "--", &format!("-{group}")]).status().unwrap();
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        self.ctrl_c();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_works_as_typed() {
    let domains = (0..4).flat_map(|domain| [8000, 9000, 18000, 19000].map(|port| port + domain));
    let mut ports = [5000, 4317, 4318, 15000].into_iter().chain(domains);
    if let Some(taken) = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_err()) {
        return requirement::missing("ports", format!("the README's port {taken} is taken on this machine"));
    }
    let Some(grpcurl) = part::find("grpcurl") else { return };
    let path = format!("{}:{}", grpcurl.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let data = tempfile::TempDir::new().unwrap();
    let blocks = shell_blocks(include_str!("../../../README.md"));
    let (run, rest) = blocks.split_first().unwrap();

    let mut mall = Foreground::start(bash(run, data.path(), &path));
    let mut lines = BufReader::new(mall.0.stdout.take().unwrap()).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("mall is ready") {
                return;
            }
        }
        panic!("`{}` ended", run.trim());
    };
    tokio::time::timeout(Duration::from_secs(1200), ready).await.unwrap();
    let drained = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });

    let output = bash(&rest.concat(), data.path(), &path).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for expected in [
        "http://127.0.0.1:5000/trace/",
        r#""name":"Ann","gender":2,"mobile":"15838607661"}"#,
        "HTTP/1.1 200 OK",
        "x-trace-id: ",
        "mall.user.v1.UserService\n",
        r#""mobile": "15838607661""#,
        r#""nextPageToken":"#,
        r#""amount":"100","status":0,"quantity":"2","#,
        r#""amount":"100","status":1,"quantity":"2","#,
        "p99",
        "database",
    ] {
        assert!(text.contains(expected), "no `{expected}` in what the README's commands print:\n{text}");
    }

    mall.ctrl_c();
    tokio::time::timeout(Duration::from_secs(60), mall.0.wait()).await.unwrap().unwrap();
    drained.await.unwrap();
}
