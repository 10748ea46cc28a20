//! A throw-away PostgreSQL server that does not outlive the test process, however that ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{part, ports};

/// Follows orders, one a line, and answers each with an exit code; when the pipe closes, because the server was dropped
/// or because the test process is gone, it ends the server and removes the data. Then nobody reads what it writes: it
/// must not die of that.
const KEEPER: &str = r#"
trap '' PIPE
while read -r order port; do
    case $order in
        make) "$INITDB" --auth=trust --username=postgres --encoding=UTF8 --locale=C --no-sync --pgdata=data ;;
        run) "$@" -p "$port" & server=$! ;;
        stop) kill -INT "$server"; wait "$server" ;;
    esac >&2
    echo "$?"
done
[ -z "$server" ] || { kill -QUIT "$server"; wait "$server"; }
rm -rf "${DIRECTORY:?}"
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
    keeper: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What the server writes; locked only because a receiver cannot be shared.
    log: Mutex<Receiver<String>>,
    port: u16,
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
        let (initdb, owner) = (part::path("postgres")?, Owner::needed()?);
        let postgres = initdb.with_file_name("postgres");
        let directory = tempfile::Builder::new().prefix("mall-postgres-").tempdir().map_err(text)?.keep();
        own(owner, &directory)?;
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(postgres).args(["-D", "data", "-k"]).arg(&directory);
        command.args(SETTINGS.iter().chain(settings).flat_map(|setting| ["-c", setting]));
        // A group of its own: Ctrl-C must reach the test process alone, or nobody is left to clean up.
        command.env("DIRECTORY", &directory).env("INITDB", initdb).current_dir(&directory).process_group(0);
        if let Some(Owner { uid, gid }) = owner {
            command.uid(uid).gid(gid);
        }
        let mut server = Self::keep(command)?;
        server.order("make")?;
        let data = directory.join("data");
        prepare(&data).map_err(text)?;
        for entry in data.read_dir().map_err(text)? {
            own(owner, &entry.map_err(text)?.path())?;
        }
        server.run()?;
        Ok(server)
    }

    /// The URL of one of its databases, without parameters.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database.
    pub async fn create(&self, database: &str) {
        super::administer(self, &format!("create database \"{database}\"")).await;
    }

    /// Stops the server as an administrator would, and keeps its data.
    pub fn stop(&mut self) -> Result<(), String> {
        self.order("stop")?;
        self.wait_for("database system is shut down")
    }

    /// Starts the stopped server again, at the same address.
    pub fn restart(&mut self) -> Result<(), String> {
        self.run()
    }

    fn keep(mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = command.spawn().map_err(text)?;
        let (Some(answers), Some(stderr)) = (keeper.stdout.take(), keeper.stderr.take()) else {
            return Err("a child process without pipes".to_owned());
        };
        let (line, log) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end, heard or not: a full pipe would stop the server.
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|text| drop(line.send(text)));
        });
        Ok(Self {
            orders: keeper.stdin.take(),
            answers: BufReader::new(answers),
            keeper,
            log: Mutex::new(log),
            port: ports::free().port(),
        })
    }

    fn order(&mut self, order: &str) -> Result<(), String> {
        let orders = self.orders.as_mut().ok_or("the keeper is gone")?;
        writeln!(orders, "{order}").map_err(text)?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(text)?;
        if answer.trim() == "0" { Ok(()) } else { Err(format!("{order}: {}", self.last_words())) }
    }

    fn run(&mut self) -> Result<(), String> {
        let order = format!("run {}", self.port);
        self.order(&order)?;
        self.wait_for("database system is ready to accept connections")
    }

    /// Reads the log up to an event, or to the end of all hope.
    fn wait_for(&mut self, event: &str) -> Result<(), String> {
        while let Some(line) = self.line(Duration::MAX) {
            if line.contains(event) {
                return Ok(());
            }
            if line.contains("FATAL:  could not") || line.contains("database system is shut down") {
                return Err(format!("{line}\n{}", self.last_words()));
            }
        }
        Err("the log of PostgreSQL ended".to_owned())
    }

    fn line(&mut self, wait: Duration) -> Option<String> {
        self.log.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(wait).ok()
    }

    fn last_words(&mut self) -> String {
        let lines: Vec<_> = std::iter::from_fn(|| self.line(Duration::from_millis(200))).collect();
        lines.join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        // There is nobody to tell if this fails.
        let _ = self.keeper.wait();
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

fn own(owner: Option<Owner>, path: &Path) -> Result<(), String> {
    let Some(Owner { uid, gid }) = owner else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(text)
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
