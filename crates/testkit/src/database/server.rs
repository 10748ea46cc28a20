//! A throw-away PostgreSQL server that does not outlive the test process, however that ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

/// Runs the server until a signal's name is read, or until the pipe closes because the test process is gone: then the
/// data goes too.
const KEEPER: &str = r#"
"$@" & server=$!
read -r signal
kill -"${signal:-QUIT}" "$server"
wait "$server"
[ -n "$signal" ] || rm -rf "$DIRECTORY"
"#;

/// What a server is good for is lost with it: nothing needs to reach the disk.
const SETTINGS: [&str; 6] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=300",
    "listen_addresses=127.0.0.1",
    "lc_messages=C",
];

/// A running PostgreSQL, stopped and removed when it is dropped or when the process ends.
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    owner: Option<Owner>,
    settings: Vec<String>,
    port: u16,
    keeper: Option<Child>,
}

/// PostgreSQL refuses to run as root: it then runs as the user its package made.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Server {
    /// Starts a server with further `settings` (`ssl=on`); the error says what is missing.
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        Self::start_with(settings, |_| Ok(()))
    }

    /// Like [`Server::start`]; `prepare` may put files into the data directory before the server reads them.
    pub fn start_with(settings: &[&str], prepare: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<Self, String> {
        let owner = Owner::needed()?;
        let directory = tempfile::Builder::new().prefix("mall-postgres-").tempdir().map_err(text)?.keep();
        let settings = SETTINGS.iter().chain(settings).map(|setting| (*setting).to_owned()).collect();
        // From here on dropping the server removes the directory.
        let mut server = Self { directory, owner, settings, port: 0, keeper: None };
        server.own(&server.directory)?;
        let data = server.data();
        let flags = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"];
        let made = server.command("initdb")?.args(flags).arg(&data).output().map_err(text)?;
        if !made.status.success() {
            return Err(format!("initdb: {}", said(&made)));
        }
        prepare(&data).map_err(text)?;
        for entry in data.read_dir().map_err(text)? {
            server.own(&entry.map_err(text)?.path())?;
        }
        server.run()?;
        Ok(server)
    }

    /// The URL of one of its databases, without parameters.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops the server as an administrator would and keeps its data.
    pub fn stop(&mut self) {
        self.end("INT\n");
    }

    /// Starts it again at the same address.
    pub fn restart(&mut self) -> Result<(), String> {
        self.end("INT\n");
        self.run_at(self.port)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A free port may be taken by somebody else before the server has it.
    fn run(&mut self) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..5 {
            let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(text)?;
            let port = listener.local_addr().map_err(text)?.port();
            drop(listener);
            match self.run_at(port) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn run_at(&mut self, port: u16) -> Result<(), String> {
        let mut command = self.as_owner(Command::new("sh"));
        command.args(["-c", KEEPER, "keeper"]).arg(binary("postgres")?);
        command.arg("-D").arg(self.data()).args(["-p", &port.to_string(), "-k"]).arg(&self.directory);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        // A group of its own: Ctrl-C must reach the test process alone, or nobody is left to clean up.
        command.env("DIRECTORY", &self.directory).process_group(0);
        let mut keeper =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(text)?;
        let stderr = keeper.stderr.take();
        (self.port, self.keeper) = (port, Some(keeper));
        match stderr.map(until_ready) {
            Some(Ok(())) => Ok(()),
            other => {
                self.end("INT\n");
                Err(format!("postgres did not start: {}", other.and_then(Result::err).unwrap_or_default()))
            }
        }
    }

    fn end(&mut self, signal: &str) {
        let Some(mut keeper) = self.keeper.take() else { return };
        if let Some(mut stdin) = keeper.stdin.take() {
            // The keeper is gone already if this fails.
            let _ = stdin.write_all(signal.as_bytes());
        }
        let _ = keeper.wait();
    }

    fn command(&self, name: &str) -> Result<Command, String> {
        Ok(self.as_owner(Command::new(binary(name)?)))
    }

    fn as_owner(&self, mut command: Command) -> Command {
        if let Some(owner) = self.owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        command.current_dir(&self.directory);
        command
    }

    fn own(&self, path: &Path) -> Result<(), String> {
        let Some(owner) = self.owner else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid)).map_err(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("");
        // The keeper did it, unless the server never ran.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Owner {
    fn needed() -> Result<Option<Self>, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = std::fs::read_to_string("/etc/passwd").map_err(text)?;
        let user = users.lines().find(|line| line.starts_with("postgres:"));
        let user = user.ok_or("PostgreSQL does not run as root, and there is no user `postgres`")?;
        let number = |field| user.split(':').nth(field).and_then(|number| number.parse().ok());
        match (number(2), number(3)) {
            (Some(uid), Some(gid)) => Ok(Some(Self { uid, gid })),
            _ => Err(format!("not a line of /etc/passwd: {user}")),
        }
    }
}

/// A program of PostgreSQL: Debian keeps them out of the search path.
fn binary(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<_> = std::env::split_paths(&path).collect();
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.file_name().to_string_lossy().parse::<u32>().ok()));
    found.extend(versions.iter().map(|version| version.path().join("bin")));
    let found = found.into_iter().map(|directory| directory.join(name)).find(|program| program.is_file());
    found.ok_or_else(|| format!("there is no `{name}`: install PostgreSQL (apt-get install postgresql)"))
}

/// Reads the server's log until it is ready, and leaves the rest to a thread.
fn until_ready(stderr: ChildStderr) -> Result<(), String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut log = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if line.contains("database system is ready to accept connections") {
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return Ok(());
        }
        log.push_str(&line);
        log.push('\n');
    }
    Err(log)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
