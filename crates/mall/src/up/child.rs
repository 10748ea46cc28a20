//! One service as a child process: started, watched, started again when it crashes, and ended.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::console::Console;
use crate::http::Client;
use crate::serve::SUPERVISED;

/// The waits before a new start, from crash to crash.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(LONGEST_WAIT)
    .without_max_times();
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A service that ran this long is not in a row of crashes.
const SOUND: Duration = Duration::from_secs(30);

/// What to run and where it tells that it is ready.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) variables: Vec<(String, Option<OsString>)>,
    pub(super) admin: SocketAddr,
    /// How long it may take to end.
    pub(super) end: Duration,
    pub(super) console: Console,
}

impl Keeper {
    /// Keeps the service running until `stop`; an error if it ends before it was ever ready.
    pub(super) async fn keep(self, ready: watch::Sender<bool>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut waits = WAITS.build();
        loop {
            let started = Instant::now();
            let Some(status) = self.run(&ready, &stop).await? else { return Ok(()) };
            if !*ready.borrow() {
                bail!("{} ended before it was ready ({status}); its last lines say why", self.name);
            }
            if started.elapsed() >= SOUND {
                waits = WAITS.build();
            }
            let wait = waits.next().unwrap_or(LONGEST_WAIT);
            self.console.say(&format!("{} ended ({status}); starting it again in {wait:?}", self.name));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Runs the service once, until it ends by itself or, with `None`, until it was stopped.
    async fn run(&self, ready: &watch::Sender<bool>, stop: &CancellationToken) -> anyhow::Result<Option<String>> {
        let mut child = self.spawn().with_context(|| format!("start {}", self.name))?;
        let mut logs = JoinSet::new();
        logs.extend(child.stdout.take().map(|stream| self.console.clone().follow(self.name, stream)));
        logs.extend(child.stderr.take().map(|stream| self.console.clone().follow(self.name, stream)));
        // Taken out, for to wait for a child closes this end.
        let pipe = child.stdin.take();
        let again = *ready.borrow();
        let mut waiting = std::pin::pin!(until_ready(self.admin));
        let mut is_ready = false;
        let status = loop {
            tokio::select! {
                () = stop.cancelled() => break None,
                status = child.wait() => break Some(status?.to_string()),
                () = &mut waiting, if !is_ready => {
                    is_ready = true;
                    ready.send_replace(true);
                    if again {
                        self.console.say(&format!("{} is ready again", self.name));
                    }
                }
            }
        };
        if status.is_none() {
            drop(pipe);
            self.end(child).await?;
        }
        // Its last words, unless something that it left behind holds the pipe open.
        let _ = tokio::time::timeout(Duration::from_secs(1), logs.join_all()).await;
        if status.is_none() {
            self.console.say(&format!("{} has stopped", self.name));
        }
        Ok(status)
    }

    fn spawn(&self) -> std::io::Result<Child> {
        // When a build has replaced the file since, Linux still knows what runs.
        let runs = if self.program.exists() { self.program.as_path() } else { Path::new("/proc/self/exe") };
        let mut command = Command::new(runs);
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .arg0("mall")
            .args(["serve", self.name])
            .env(SUPERVISED, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the supervisor alone, which stops the services in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    async fn end(&self, mut child: Child) -> anyhow::Result<()> {
        if tokio::time::timeout(self.end + Duration::from_secs(1), child.wait()).await.is_err() {
            self.console.say(&format!("{} does not end: it is killed", self.name));
            child.kill().await?;
        }
        Ok(())
    }
}

/// Asks every few milliseconds: a start is a matter of tens of them.
async fn until_ready(admin: SocketAddr) {
    let client = Client::new();
    loop {
        let request = Request::get(format!("http://{admin}/readyz")).body(Full::<Bytes>::default());
        if let Ok(request) = request
            && client.send(request).await.is_ok_and(|answer| answer.status() == StatusCode::OK)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}
