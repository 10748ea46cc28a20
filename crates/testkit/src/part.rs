//! A real part (Jaeger, the collector, Chromium) as a child process that ends with the test, however the test ends.
//!
//! A shell stands between: it holds the other end of our pipe, and when that closes, because the part was dropped or
//! because the test process was killed, it kills the part and clears up. Nothing here needs a signal handler.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::requirement;

/// How long a part may take to start; a test machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the part until standard input closes; its two outputs become one, which ends when the part ends. The first line
/// is its process id.
const UNTIL_INPUT_CLOSES: &str = r#"sh -c 'echo $$; exec "$@"' sh "$@" </dev/null 2>&1 & exec >/dev/null 2>&1
    read -r _; kill -9 $!; wait; rm -rf "$0""#;

/// Gives the part our pipes as descriptors 3 and 4, as `--remote-debugging-pipe` has them; it ends when they close.
const WITH_PIPES: &str = r#""$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1; rm -rf "$0""#;

/// A file of the checkout: that of the crate under test, asked for when it runs, since checkouts may share a build
/// directory.
///
/// # Panics
///
/// Panics if no cargo runs the test.
pub fn checkout(path: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&package).join("../..").join(path)
}

/// Where a part is; without it see [`requirement::missing`].
///
/// # Panics
///
/// Panics if the part is required but missing.
pub fn find(name: &str) -> Option<PathBuf> {
    path(name).inspect_err(|why| requirement::missing(name, why)).ok()
}

/// Where a part is, by `scripts/parts`, which says what the parts are and where they are kept; or how to get it.
pub(crate) fn path(name: &str) -> Result<PathBuf, String> {
    let found = Command::new(checkout("scripts/parts")).args(["path", name]).output().expect("run scripts/parts");
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim_end());
    if found.status.success() { Ok(path) } else { Err(format!("get it by: scripts/parts {name}")) }
}

/// A command that is given a directory of its own, which goes with it; what it would leave at home goes there too.
pub(crate) fn command(program: &Path) -> (Command, PathBuf) {
    let directory = tempfile::tempdir().expect("make a directory").keep();
    let mut command = Command::new(program);
    command.env("HOME", &directory).env("TMPDIR", &directory);
    (command, directory)
}

/// What a part has written so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<String>>);

impl Log {
    fn push(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running part. Dropping it stops it and waits until it is gone.
#[derive(Debug)]
pub(crate) struct Part {
    child: Child,
    /// That of the part itself, once it has started.
    pid: Option<u32>,
    ready_after: Duration,
    input: Option<ChildStdin>,
}

impl Part {
    /// Starts a command and reads its output, line by line, until `ready` has seen enough.
    pub(crate) async fn start<T>(
        command: &Command,
        directory: &Path,
        log: &Log,
        mut ready: impl FnMut(&str) -> Option<T>,
    ) -> (Self, T) {
        let (mut part, output) = Self::spawn(UNTIL_INPUT_CLOSES, command, directory);
        let mut lines = lines(output, log.clone());
        let (pid, ready_after) = (&mut part.pid, &mut part.ready_after);
        let reading = async {
            *pid = lines.recv().await?.parse().ok();
            let began = Instant::now();
            while let Some(line) = lines.recv().await {
                if let Some(found) = ready(&line) {
                    *ready_after = began.elapsed();
                    return Some(found);
                }
            }
            None
        };
        let found = tokio::time::timeout(PATIENCE, reading).await.unwrap_or_default();
        (part, found.unwrap_or_else(|| panic!("{command:?} does not start; it wrote:\n{}", log.text())))
    }

    /// The process id of a part that was started; it may have ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// How long it took from when the shell became it until it was ready.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Starts a command with our two pipes as its descriptors 3 and 4.
    pub(crate) fn piped(command: &Command, directory: &Path) -> (Self, ChildStdout) {
        Self::spawn(WITH_PIPES, command, directory)
    }

    fn spawn(script: &str, command: &Command, directory: &Path) -> (Self, ChildStdout) {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(directory).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        // A group of its own: Ctrl-C goes to the test alone, whose end the shell then notices.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = shell.spawn().expect("start a shell");
        let output = child.stdout.take().expect("the shell's output");
        (Self { input: child.stdin.take(), child, pid: None, ready_after: Duration::ZERO }, output)
    }

    /// What the part reads, as descriptor 3.
    pub(crate) fn input(&mut self) -> Option<&mut ChildStdin> {
        self.input.as_mut()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.input.take());
        // A shell that cannot be awaited is gone already.
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, to the end, so that the part never blocks on a full pipe.
fn lines(output: ChildStdout, log: Log) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            log.push(&line);
            // Nobody listens any more once the part is ready.
            let _ = sender.send(line);
        }
    });
    receiver
}
