//! A part that is paused, stopped, killed and started again, always on the same ports and with the same data.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::part::{self, Log, Part};
use crate::process::{self, Signal};

/// A part as a process; it is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(String, String)>,
    ready: &'static str,
    log: Log,
    part: Option<Part>,
}

impl Daemon {
    /// Starts a program and waits until a line of its output contains `ready`.
    pub async fn start(
        program: PathBuf,
        arguments: Vec<OsString>,
        variables: Vec<(String, String)>,
        ready: &'static str,
    ) -> Self {
        let mut daemon = Self { program, arguments, variables, ready, log: Log::default(), part: None };
        daemon.start_again().await;
        daemon
    }

    /// Starts it again after it was stopped or killed, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Panics if it runs, or does not get ready.
    pub async fn start_again(&mut self) {
        assert!(self.part.is_none(), "{} runs", self.program.display());
        let (mut command, directory) = part::command(&self.program);
        command.args(&self.arguments).envs(self.variables.clone());
        let ready = |line: &str| line.contains(self.ready).then_some(());
        let (part, ()) = Part::start(&command, &directory, &self.log, ready).await;
        self.part = Some(part);
    }

    /// Sets a variable of its environment for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// Panics if it does not run.
    pub fn pid(&self) -> u32 {
        self.part().pid().expect("a part that runs has told its process id")
    }

    /// How long its last start took it until it was ready.
    ///
    /// # Panics
    ///
    /// Panics if it does not run.
    pub fn ready_after(&self) -> Duration {
        self.part().ready_after()
    }

    fn part(&self) -> &Part {
        self.part.as_ref().unwrap_or_else(|| panic!("{} does not run", self.program.display()))
    }

    /// Makes it hang: its ports stay open, and what is sent there gets no answer.
    ///
    /// # Panics
    ///
    /// Panics if it does not run.
    pub fn pause(&self) {
        process::signal(self.pid(), Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    ///
    /// Panics if it does not run.
    pub fn resume(&self) {
        process::signal(self.pid(), Signal::CONT);
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.part = None;
    }

    /// Asks it to end, and waits until it has done what it does then.
    ///
    /// # Panics
    ///
    /// Panics if it does not run, or not end.
    pub async fn stop(&mut self) {
        let pid = self.pid();
        process::signal(pid, Signal::TERM);
        process::gone(&[pid]).await;
        self.part = None;
    }

    /// What it has written to standard output and standard error, also before it was started again.
    pub fn output(&self) -> String {
        self.log.text()
    }
}
