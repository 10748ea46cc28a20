//! Shoppers without end while everything around them breaks, one thing after another: what they bought must be there, what
//! they did not must not, every failure must be one that tells them to try again, and no process may grow.
//!
//! `MALL_SOAK=20m` says for how long; without it, each thing breaks once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use db::{Pool, PoolConfig};
use procfs::process::Process;
use serde_json::Value;
use testkit::database::Server;
use testkit::process::{Mall, SERVICES, Signal, signal};
use testkit::requirement;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::books::Books;
use crate::support::{Customer, MALL, mall};

/// What shoppers may be told when something is broken.
const EXPLAINED: [&str; 6] =
    ["503 UNAVAILABLE", "504 DEADLINE_EXCEEDED", "429 RESOURCE_EXHAUSTED", "connect", "broken off", "timeout"];

/// What a process may grow by, from the first round that it has seen to the last.
const MOST_GROWTH: u64 = 24 * 1024 * 1024;

const STOCK: i64 = 1_000_000;

/// How long a round's shoppers go on, and when something breaks.
const ROUND: Duration = Duration::from_secs(6);
const BEFORE: Duration = Duration::from_secs(1);
/// How long it stays broken.
const BROKEN: Duration = Duration::from_secs(2);

/// A connection between processes that can be broken.
struct Cable {
    address: SocketAddr,
    state: watch::Sender<State>,
    _passing: AbortOnDropHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Whole,
    /// Every piece of what is sent is late.
    Slow(Duration),
    /// Nothing comes through, and nobody is told.
    Hanging,
    /// Connections end, and new ones at once.
    Cut,
}

impl Cable {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, (state, now)) = (listener.local_addr().unwrap(), watch::channel(State::Whole));
        let passing = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { continue };
                let (now, mut cut) = (now.clone(), now.clone());
                tokio::spawn(async move {
                    if *cut.borrow() == State::Cut {
                        return;
                    }
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::select! {
                        _ = cut.wait_for(|state| *state == State::Cut) => {}
                        () = pass(near_in, far_out, now.clone()) => {}
                        () = pass(far_in, near_out, now) => {}
                    }
                });
            }
        });
        Self { address, state, _passing: AbortOnDropHandle::new(passing) }
    }

    async fn is_for(&self, state: State, time: Duration) {
        self.state.send_replace(state);
        sleep(time).await;
        self.state.send_replace(State::Whole);
    }
}

/// Passes on what comes, as the cable is.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut now: watch::Receiver<State>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let state = *now.borrow();
        match state {
            State::Whole | State::Cut => {}
            State::Slow(time) => sleep(time).await,
            State::Hanging => drop(now.wait_for(|state| *state != State::Hanging).await),
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// A mall, what is around it, and what its shoppers have seen.
struct Soak<'a> {
    mall: &'a Mall,
    product: i64,
    /// Where each domain's data is.
    url: Box<dyn Fn(&str) -> String + 'a>,
    seen: BTreeMap<String, u64>,
    operations: u64,
    /// The memory of each process after its first round.
    memory: BTreeMap<(String, u32), u64>,
}

impl<'a> Soak<'a> {
    async fn new(mall: &'a Mall, url: impl Fn(&str) -> String + 'a) -> Self {
        let customer = Customer::new(mall, "15838607660").await;
        let product = customer.offer(STOCK, 50).await;
        let (seen, memory) = (BTreeMap::new(), BTreeMap::new());
        Self { mall, product, url: Box::new(url), seen, operations: 0, memory }
    }

    /// Shoppers shop while `trouble` goes on; then the books must balance.
    async fn round(&mut self, what: &str, trouble: impl Future<Output = ()>) {
        let mut load = Command::new(MALL);
        load.args([
            "load",
            "--json",
            "--users",
            "4",
            "--rate",
            "25",
            "--mix",
            "browse=2,order=2,pay=1",
            "--wait",
            "60s",
        ]);
        load.args(["--duration", &format!("{}s", ROUND.as_secs())]).arg("--data-dir").arg(self.mall.data());
        load.stdin(Stdio::null()).kill_on_drop(true);
        let (output, ()) = tokio::join!(load.output(), async {
            sleep(BEFORE).await;
            trouble.await;
        });
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let json: Value = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| {
            panic!("{what}: the load says {text}{}", String::from_utf8_lossy(&output.stderr));
        });
        self.operations += json["operations"].as_u64().unwrap();
        for row in json["rows"].as_array().unwrap() {
            for (error, count) in row["errors"].as_object().unwrap() {
                assert!(EXPLAINED.contains(&error.as_str()), "{what}: {} x {error} in {json}", count);
                *self.seen.entry(error.clone()).or_default() += count.as_u64().unwrap();
            }
        }
        let books = Books::closed_in(&self.url).await;
        books.balance(&[(self.product, STOCK)]);
        self.is_flat(what);
        eprintln!(
            "{what}: {} operations and {} failed so far, {} orders",
            self.operations,
            self.failed(),
            books.orders.len()
        );
    }

    fn failed(&self) -> u64 {
        self.seen.values().sum()
    }

    fn is_flat(&mut self, what: &str) {
        for (service, pid) in self.mall.services() {
            let status = Process::new(pid.try_into().unwrap()).and_then(|process| process.status());
            let Some(now) = status.ok().and_then(|status| status.vmrss).map(|kib| kib * 1024) else { continue };
            // The viewer keeps traces, up to its own limit.
            let first = *self.memory.entry((service.clone(), pid)).or_insert(now);
            assert!(service == "viewer" || now < first + MOST_GROWTH, "{what}: {service} grew from {first} to {now}");
        }
    }
}

/// Rounds of all that can break, in an order by chance, until the time is over; at least one of each.
struct Schedule {
    random: fastrand::Rng,
    end: Instant,
    kinds: usize,
    left: Vec<usize>,
    all_once: bool,
}

impl Schedule {
    /// `share` is how many soaks share the time.
    fn new(kinds: usize, share: u32) -> Self {
        let time = std::env::var("MALL_SOAK").ok().map(|time| humantime::parse_duration(&time).expect("MALL_SOAK=20m"));
        let seed = std::env::var("MALL_SOAK_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| fastrand::u64(..));
        eprintln!("the order of rounds: MALL_SOAK_SEED={seed}");
        let random = fastrand::Rng::with_seed(seed);
        Self {
            random,
            end: Instant::now() + time.unwrap_or_default() / share,
            kinds,
            left: Vec::new(),
            all_once: false,
        }
    }
}

impl Iterator for Schedule {
    /// What breaks, and the service that it happens to.
    type Item = (usize, &'static str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            if self.all_once && Instant::now() >= self.end {
                return None;
            }
            self.left = (0..self.kinds).collect();
            self.random.shuffle(&mut self.left);
            self.all_once = true;
        }
        Some((self.left.pop()?, SERVICES[self.random.usize(..SERVICES.len())]))
    }
}

fn kill(mall: &Mall, service: &str) {
    if let Some(pid) = mall.services().get(service) {
        signal(*pid, Signal::KILL);
    }
}

async fn pause(mall: &Mall, service: &str) {
    if let Some(pid) = mall.services().get(service).copied() {
        signal(pid, Signal::STOP);
        sleep(BROKEN).await;
        signal(pid, Signal::CONT);
    }
}

/// Where the OTLP collector of a mall is: one that nobody misses when it is gone.
async fn collector() -> (testkit::otlp::Sink, Cable) {
    let sink = testkit::otlp::Sink::discarding().await;
    let address = sink.url().trim_start_matches("http://").parse().unwrap();
    (sink, Cable::to(address).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_services_die_and_postgresql_is_away() {
    let mut server = match Server::start(&["fsync=on"]) {
        Ok(server) => server,
        Err(why) => return requirement::missing("postgres", why),
    };
    for database in ["user", "product", "order", "pay"] {
        server.create(database).await;
    }
    let direct = server.url("");
    let address = direct.split(['@', '/']).nth(3).unwrap().parse().unwrap();
    let (database, (_sink, spans)) = (Cable::to(address).await, collector().await);
    let mall = mall(None)
        .argument("--postgres")
        .argument(&format!("postgres://postgres@{}", database.address))
        .argument("--otlp")
        .argument(&format!("http://{}", spans.address))
        .start()
        .await;
    let mut soak = Soak::new(&mall, |domain| format!("{direct}{domain}")).await;
    for (kind, service) in Schedule::new(8, 2) {
        match kind {
            0 => soak.round(&format!("{service} is killed"), async { kill(&mall, service) }).await,
            1 => soak.round(&format!("{service} is paused"), pause(&mall, service)).await,
            2 => {
                let restart = async {
                    tokio::task::block_in_place(|| {
                        server.stop().unwrap();
                        server.restart().unwrap();
                    });
                };
                soak.round("PostgreSQL is restarted", restart).await;
            }
            3 => soak.round("the way to PostgreSQL is cut", database.is_for(State::Cut, BROKEN)).await,
            4 => soak.round("the way to PostgreSQL hangs", database.is_for(State::Hanging, BROKEN)).await,
            5 => {
                let slow = State::Slow(Duration::from_millis(20));
                soak.round("the way to PostgreSQL is slow", database.is_for(slow, BROKEN)).await;
            }
            6 => soak.round("the collector is gone", spans.is_for(State::Cut, BROKEN)).await,
            _ => {
                let all = async {
                    for service in SERVICES {
                        kill(&mall, service);
                        sleep(Duration::from_millis(200)).await;
                    }
                };
                soak.round("every service is killed, one after another", all).await;
            }
        }
    }
    assert!(soak.failed() < soak.operations / 2, "{:?} of {}", soak.seen, soak.operations);
}

/// A small file system of its own, which goes with this.
struct SmallDisk {
    dir: PathBuf,
    _temporary: tempfile::TempDir,
}

impl SmallDisk {
    const BYTES: u64 = 48 * 1024 * 1024;

    fn mount() -> Result<Self, String> {
        let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
        let dir = temporary.path().join("disk");
        std::fs::create_dir(&dir).map_err(|error| error.to_string())?;
        let size = format!("size={}", Self::BYTES);
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&dir).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self { dir, _temporary: temporary }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("run mount: {error}")),
        }
    }

    /// Leaves no room, for a while.
    async fn is_full(&self, databases: &[PathBuf]) {
        for database in databases {
            cut_off(database).await;
        }
        let filler = self.dir.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        let full = std::io::copy(&mut std::io::repeat(1).take(Self::BYTES), &mut file);
        assert!(full.is_err(), "the disk is larger than it should be");
        sleep(BROKEN).await;
        std::fs::remove_file(&filler).unwrap();
    }
}

/// Cuts off a database's log, in which SQLite has room: it writes it anew from the beginning.
async fn cut_off(database: &Path) {
    let pool = Pool::new(&format!("sqlite:{}", database.display()).parse().unwrap(), &PoolConfig::default()).unwrap();
    let is_long = || std::fs::metadata(format!("{}-wal", database.display())).is_ok_and(|log| log.len() > 64 * 1024);
    for _ in 0..100 {
        // It says nothing of somebody who reads or writes, and leaves the log as it is.
        crate::books::execute(&pool, "pragma wal_checkpoint(truncate)").await.unwrap();
        if !is_long() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the log of {} cannot be cut off", database.display());
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.dir).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_services_die_and_the_disk_is_full() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => return requirement::missing("mounts", why),
    };
    let (_sink, spans) = collector().await;
    let data = disk.dir.join("data");
    let mall = mall(None).data(&data).argument("--otlp").argument(&format!("http://{}", spans.address)).start().await;
    let database = |domain: &str| data.join(format!("{domain}.db"));
    let databases = ["user", "product", "order", "pay"].map(database);
    let mut soak = Soak::new(&mall, |domain| format!("sqlite:{}", database(domain).display())).await;
    for (kind, service) in Schedule::new(4, 2) {
        match kind {
            0 => soak.round(&format!("{service} is killed"), async { kill(&mall, service) }).await,
            1 => soak.round(&format!("{service} is paused"), pause(&mall, service)).await,
            2 => {
                let before = soak.failed();
                soak.round("the disk is full", disk.is_full(&databases)).await;
                assert!(soak.failed() > before, "nobody noticed that the disk was full");
            }
            _ => soak.round("the collector hangs", spans.is_for(State::Hanging, BROKEN)).await,
        }
    }
    assert!(soak.failed() < soak.operations / 2, "{:?} of {}", soak.seen, soak.operations);
}
