//! What becomes of every span, whatever the collector does.

use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::Code;

use super::*;
use crate::export::Spans;
use crate::{Config, fake, resource};

struct Fixture {
    tracer: SdkTracer,
    counts: Arc<Counts>,
    worker: Worker<Spans>,
}

fn start(address: std::net::SocketAddr, queue: Queue) -> Fixture {
    let config = Config { endpoint: Some(address.to_string()), queue, ..Config::default() };
    let exporter = Spans::new(&config, &resource::of(&config)).unwrap();
    let (processor, worker) = Processor::start(config.queue, exporter);
    let counts = processor.counts();
    let tracer = SdkTracerProvider::builder().with_span_processor(processor).build().tracer("test");
    Fixture { tracer, counts, worker }
}

impl Fixture {
    fn make(&self, spans: usize) {
        for _ in 0..spans {
            self.tracer.start("work").end();
        }
    }

    /// Waits until this many spans are sent or lost.
    async fn settled(&self, spans: u64) {
        let settled = async {
            while self.counts.sent() + self.counts.all_dropped() < spans {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), settled).await.expect("spans are neither sent nor lost");
    }

    fn dropped(&self) -> [u64; 5] {
        REASONS.map(|(reason, _)| self.counts.dropped(reason))
    }
}

fn small() -> Queue {
    Queue { size: 8, batch: 4, delay: Duration::from_millis(10), timeout: Duration::from_millis(200) }
}

#[tokio::test]
async fn a_collector_that_is_there_gets_every_span() {
    let (listener, address) = fake::listen().await;
    let mut received = fake::grpc(listener, Code::Ok, None);
    let fixture = start(address, Queue { delay: Duration::from_millis(10), ..Queue::default() });
    fixture.make(1500);
    fixture.settled(1500).await;
    assert_eq!((fixture.counts.sent(), fixture.dropped()), (1500, [0; 5]));
    fixture.make(3);
    fixture.worker.shutdown(Duration::from_secs(10)).await;
    assert_eq!(fixture.counts.sent(), 1503);
    let mut batches = Vec::new();
    while let Ok((_, request)) = received.try_recv() {
        batches.push(fake::spans(&request).count());
    }
    assert_eq!(batches.iter().sum::<usize>(), 1503);
    assert!(batches.iter().all(|batch| *batch <= 256), "{batches:?}");
}

#[tokio::test]
async fn what_a_collector_rejects_is_lost() {
    let (listener, address) = fake::listen().await;
    let _received = fake::rejecting(listener, 3);
    let fixture = start(address, small());
    fixture.make(4);
    fixture.settled(4).await;
    assert_eq!((fixture.counts.sent(), fixture.dropped()), (1, [0, 0, 0, 3, 0]));
    // It cannot reject more than it was sent.
    fixture.make(2);
    fixture.settled(6).await;
    assert_eq!((fixture.counts.sent(), fixture.dropped()), (1, [0, 0, 0, 5, 0]));
}

#[tokio::test]
async fn a_collector_that_comes_back_gets_what_is_made_from_then_on() {
    let (socket, address) = fake::absent();
    let fixture = start(address, Queue { timeout: Duration::from_secs(5), ..small() });
    fixture.make(3);
    fixture.settled(3).await;
    assert_eq!((fixture.counts.sent(), fixture.dropped()), (0, [0, 3, 0, 0, 0]));
    let mut received = fake::grpc(socket.listen(16).unwrap(), Code::Ok, None);
    fixture.make(2);
    fixture.settled(5).await;
    assert_eq!((fixture.counts.sent(), fixture.dropped()), (2, [0, 3, 0, 0, 0]));
    assert_eq!(fake::spans(&received.recv().await.unwrap().1).count(), 2);
}

#[tokio::test]
async fn a_collector_that_refuses_costs_its_batches() {
    let (listener, address) = fake::listen().await;
    let mut received = fake::grpc(listener, Code::PermissionDenied, None);
    let fixture = start(address, small());
    fixture.make(4);
    fixture.settled(4).await;
    fixture.make(1);
    fixture.settled(5).await;
    assert_eq!((fixture.counts.sent(), fixture.dropped()), (0, [0, 5, 0, 0, 0]));
    assert_eq!(fake::spans(&received.recv().await.unwrap().1).count(), 4);
}

#[tokio::test]
async fn a_collector_that_hangs_costs_what_does_not_fit() {
    let (_listener, address) = fake::listen().await;
    let fixture = start(address, small());
    // Nothing else runs on this thread before the first await: the queue alone takes what it can.
    fixture.make(20);
    assert_eq!(fixture.dropped(), [12, 0, 0, 0, 0]);
    fixture.settled(20).await;
    assert_eq!((fixture.counts.sent(), fixture.dropped()), (0, [12, 0, 8, 0, 0]));
}

#[tokio::test]
async fn every_span_of_many_threads_is_counted_once() {
    let (listener, address) = fake::listen().await;
    let mut received = fake::grpc(listener, Code::Ok, None);
    let fixture = start(address, Queue { size: 64, batch: 16, ..small() });
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let tracer = fixture.tracer.clone();
            std::thread::spawn(move || (0..5000).for_each(|_| tracer.start("work").end()))
        })
        .collect();
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fixture.worker.shutdown(Duration::from_secs(10)).await;
    let mut arrived = 0;
    while let Ok((_, request)) = received.try_recv() {
        arrived += fake::spans(&request).count() as u64;
    }
    assert_eq!(fixture.counts.sent() + fixture.counts.all_dropped(), 20_000);
    assert_eq!(fixture.counts.sent(), arrived);
}

#[tokio::test]
async fn shutdown_leaves_a_collector_that_hangs_and_counts_what_is_left() {
    let (_listener, address) = fake::listen().await;
    let fixture = start(address, Queue { size: 100, batch: 10, ..Queue::default() });
    fixture.make(30);
    while fixture.worker.shared.under_way.load(Ordering::Acquire) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let Fixture { tracer, counts, worker } = fixture;
    // The collector would be waited for 10 s.
    worker.shutdown(Duration::from_millis(50)).await;
    assert_eq!((counts.sent(), counts.dropped(Reason::Timeout), counts.dropped(Reason::Shutdown)), (0, 0, 30));
    tracer.start("too late").end();
    assert_eq!(counts.dropped(Reason::Shutdown), 31);
}

#[test]
fn losses_are_logged_once_a_minute() {
    let (mut report, start) = (Report::default(), Instant::now());
    let told: Vec<_> = [(0, 0), (1, 5), (5, 10), (5, 55), (9, 64), (9, 65), (9, 130)]
        .map(|(dropped, seconds)| report.due(dropped, start + Duration::from_secs(seconds)))
        .into();
    assert_eq!(told, [None, Some(1), None, None, None, Some(8), None]);
}
