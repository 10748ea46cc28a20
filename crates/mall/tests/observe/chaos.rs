//! Whatever happens to the collector, and behind it: no request fails, and every span is sent, or dropped and counted.

use std::time::{Duration, Instant};

use testkit::collector::{self, Collector};
use testkit::jaeger::{self, Jaeger};
use testkit::process::{Mall, SERVICES, Signal, gone, signal};
use testkit::relay::{Mood, Relay};
use testkit::{eventually, exposition};

use crate::support::{Account, Books, Crowd, alone, mall};

const SHOPPERS: usize = 3;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The collector is killed, and started again much later.
    Stopped,
    /// It is stopped as it should be, and started again at once.
    Restarted,
    /// Its ports are open and it does nothing.
    Hanging,
    /// It answers UNAVAILABLE.
    Refusing,
    /// The same, of its own accord: there is not enough memory.
    Limited,
    /// It answers, and takes its time.
    Slow,
    /// Jaeger is away, and there is no room for what it will be sent.
    DiskFull,
    /// Jaeger is away.
    JaegerStopped,
}

/// By what a fault is seen to be at work.
enum Sign {
    /// Spans are dropped for this reason.
    Dropped(&'static str),
    /// A number that the collector tells of itself is above 0.
    Told(&'static str),
    Nothing,
}

/// What the collector says that it has accepted, all in all, against what the services say that they have sent.
enum Accepted {
    Exactly,
    /// And also some of which the services did not hear in time.
    AtLeast,
    /// It was not there all the time.
    Unknown,
}

struct Fault {
    kind: Kind,
    sign: Sign,
    /// Why spans may be dropped.
    dropped: &'static [&'static str],
    accepted: Accepted,
}

const FAULTS: [Fault; 8] = [
    Fault {
        kind: Kind::Stopped,
        sign: Sign::Dropped("failed"),
        dropped: &["failed", "timeout", "queue_full"],
        accepted: Accepted::Unknown,
    },
    Fault {
        kind: Kind::Restarted,
        sign: Sign::Nothing,
        dropped: &["failed", "timeout", "queue_full"],
        accepted: Accepted::Unknown,
    },
    Fault {
        kind: Kind::Hanging,
        sign: Sign::Dropped("timeout"),
        dropped: &["timeout", "queue_full"],
        accepted: Accepted::AtLeast,
    },
    Fault {
        kind: Kind::Refusing,
        sign: Sign::Dropped("failed"),
        dropped: &["failed", "queue_full"],
        accepted: Accepted::Exactly,
    },
    Fault {
        kind: Kind::Limited,
        sign: Sign::Dropped("failed"),
        dropped: &["failed", "timeout", "queue_full"],
        accepted: Accepted::Unknown,
    },
    Fault {
        kind: Kind::Slow,
        sign: Sign::Dropped("queue_full"),
        dropped: &["queue_full", "timeout"],
        accepted: Accepted::AtLeast,
    },
    Fault {
        kind: Kind::DiskFull,
        sign: Sign::Told("otelcol_exporter_enqueue_failed_spans_total"),
        dropped: &[],
        accepted: Accepted::Exactly,
    },
    Fault {
        kind: Kind::JaegerStopped,
        sign: Sign::Told("otelcol_exporter_queue_size"),
        dropped: &[],
        accepted: Accepted::Exactly,
    },
];

/// A disk for the queue to Jaeger that is soon full.
const SMALL_DISK: &str = r#"mount -t tmpfs -o size=512k tmpfs "$COLLECTOR_STORAGE""#;

/// A machine, or a container, that has no more memory than a collector takes when it does nothing.
const LITTLE_MEMORY: &str = r#"if [ "$LITTLE_MEMORY" = yes ]; then
    mount -t tmpfs tmpfs /mnt
    echo 'MemTotal: 8192 kB' >/mnt/meminfo
    mount --bind /mnt/meminfo /proc/meminfo
    if [ -e /sys/fs/cgroup/memory.max ]; then
        echo 8388608 >/mnt/memory.max
        mount --bind /mnt/memory.max /sys/fs/cgroup/memory.max
    fi
fi"#;

/// What the spans go through.
struct Way {
    collector: Collector,
    jaeger: Jaeger,
    /// Between the services and the collector.
    relay: Relay,
}

impl Way {
    async fn new(kind: Kind) -> Option<Self> {
        let jaeger = jaeger::start().await?;
        let mut collector = collector::builder().jaeger(&jaeger.otlp_grpc);
        match kind {
            Kind::DiskFull => collector = collector.mounts(SMALL_DISK),
            Kind::Limited => collector = collector.mounts(LITTLE_MEMORY).variable("LITTLE_MEMORY", "no"),
            _ => {}
        }
        let collector = collector.start().await?;
        let relay = Relay::start(&collector.otlp_grpc).await;
        Some(Self { collector, jaeger, relay })
    }

    /// Where the services send what they have.
    fn url(&self, kind: Kind) -> String {
        match kind {
            Kind::Refusing | Kind::Slow => self.relay.url(),
            _ => self.collector.otlp_grpc.clone(),
        }
    }

    async fn strike(&mut self, kind: Kind) {
        let collector = &mut self.collector.process;
        match kind {
            Kind::Stopped => collector.kill(),
            Kind::Restarted => {
                collector.stop().await;
                collector.start_again().await;
            }
            Kind::Hanging => collector.pause(),
            Kind::Refusing => self.relay.set(Mood::Unwilling),
            Kind::Limited => {
                collector.kill();
                collector.set("LITTLE_MEMORY", "yes");
                collector.start_again().await;
            }
            Kind::Slow => self.relay.set(Mood::Slow(Duration::from_millis(1500))),
            Kind::DiskFull | Kind::JaegerStopped => self.jaeger.process.kill(),
        }
    }

    async fn mend(&mut self, kind: Kind) {
        let collector = &mut self.collector.process;
        match kind {
            Kind::Stopped => collector.start_again().await,
            Kind::Restarted => {}
            Kind::Hanging => collector.resume(),
            Kind::Refusing | Kind::Slow => self.relay.set(Mood::Willing),
            Kind::Limited => {
                collector.kill();
                collector.set("LITTLE_MEMORY", "no");
                collector.start_again().await;
            }
            Kind::DiskFull | Kind::JaegerStopped => self.jaeger.process.start_again().await,
        }
    }

    /// A number that the collector tells of itself.
    async fn told(&self, name: &str) -> Option<f64> {
        exposition::sum(&exposition::read(&self.collector.own_metrics).await?, name, &[])
    }

    async fn accepted(&self) -> f64 {
        self.told("otelcol_receiver_accepted_spans_total").await.unwrap_or_default()
    }
}

/// Waits until the fault is at work.
async fn seen(sign: &Sign, way: &Way, mall: &Mall, before: &Books) {
    eventually("the fault is at work", async || {
        let is_seen = match sign {
            Sign::Dropped(reason) => Books::of(mall).await?.since(before).all().dropped_for(reason) > 0.0,
            Sign::Told(name) => way.told(name).await? > 0.0,
            Sign::Nothing => true,
        };
        is_seen.then_some(())
    })
    .await;
}

/// People shop before the fault, while it lasts, and after it.
async fn endure(fault: &Fault) {
    let Fault { kind, sign, dropped, accepted } = fault;
    let Some(mut way) = Way::new(*kind).await else { return };
    let mall = mall(&way.url(*kind))
        .variable("OTEL_BSP_MAX_QUEUE_SIZE", "512")
        .variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64")
        .variable("OTEL_BSP_EXPORT_TIMEOUT", "3000")
        .start()
        .await;
    let crowd = Crowd::new(&mall, SHOPPERS).await;
    let (before, accepted_before) = (Books::quiet(&mall).await, way.accepted().await);

    let drama = async {
        crowd.rounds(10).await;
        way.strike(*kind).await;
        crowd.rounds(20).await;
        seen(sign, &way, &mall, &before).await;
        way.mend(*kind).await;
        let mended = Books::of(&mall).await.unwrap();
        crowd.rounds(10).await;
        eventually("all services send again", async || {
            let sent = Books::of(&mall).await?.since(&mended);
            sent.0.values().all(|account| account.sent > 0.0).then_some(())
        })
        .await;
        crowd.close();
    };
    tokio::join!(crowd.shop(), drama);

    let books = Books::closed(&mall, &before).await;
    let all = books.all();
    eprintln!("{kind:?}: {all:?}");
    let expected: f64 = dropped.iter().map(|reason| all.dropped_for(reason)).sum();
    assert_eq!(all.dropped(), expected, "{kind:?}: dropped for another reason than {dropped:?}: {books:#?}");
    let accepted_since = way.accepted().await - accepted_before;
    match accepted {
        Accepted::Exactly => assert_eq!(accepted_since, all.sent, "{kind:?}: {books:#?}"),
        Accepted::AtLeast => assert!(accepted_since >= all.sent, "{kind:?}: {accepted_since} {books:#?}"),
        Accepted::Unknown => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_and_every_span_is_sent_or_counted() {
    let _alone = alone().await;
    for fault in &FAULTS {
        endure(fault).await;
    }
}

/// The drain of every service, and what `mall up` gives a process to end besides.
const END: Duration = Duration::from_secs(5 + 4);

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_in_time_while_the_collector_hangs_and_says_what_became_of_its_spans() {
    let _alone = alone().await;
    let Some(way) = Way::new(Kind::Hanging).await else { return };
    let mall = mall(&way.url(Kind::Hanging)).start().await;
    let crowd = Crowd::new(&mall, SHOPPERS).await;
    let before = Books::quiet(&mall).await;
    way.collector.process.pause();
    for answer in crowd.go(10).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // All is made once the last call has ended on both sides.
    let made = eventually("nothing more is made", async || {
        let first = Books::of(&mall).await?.since(&before);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let second = Books::of(&mall).await?.since(&before);
        first.0.iter().all(|(service, account)| account.made == second.0[service].made).then_some(second)
    })
    .await;

    let services = mall.services();
    let pids: Vec<_> = services.values().copied().collect();
    let told = Instant::now();
    for pid in &pids {
        signal(*pid, Signal::TERM);
    }
    gone(&pids).await;
    assert!(told.elapsed() < END, "they took {:?}", told.elapsed());
    for service in SERVICES {
        let last = last_words(&mall, service).await;
        assert!(last.contains("some spans of this process were lost"), "{last}");
        let Account { made, .. } = made.0[service];
        let known = before.0[service].sent + before.0[service].dropped();
        assert_eq!(field(&last, "sent=") + field(&last, "dropped="), known + made, "{last}");
        assert!(field(&last, "dropped=") > 0.0, "{last}");
    }
    // Those that were started again end sooner.
    way.collector.process.resume();
}

/// The last line of the process that has ended first.
async fn last_words(mall: &Mall, service: &str) -> String {
    let ended = mall.logs().line(&format!("{service} ended (")).await.unwrap();
    let text = mall.logs().text();
    let own = |line: &&str| line.split_once('|').is_some_and(|(name, _)| name.trim() == service);
    text.lines().take_while(|line| *line != ended).filter(own).last().unwrap().to_owned()
}

/// The number behind a name in a line of the log.
fn field(line: &str, name: &str) -> f64 {
    let rest = line.split_once(name).unwrap_or_else(|| panic!("no {name} in {line}")).1;
    rest.split(' ').next().unwrap().parse().unwrap()
}
