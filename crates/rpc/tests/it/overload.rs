//! Ten times as many calls as a service can do, in virtual time: it does as many as ever, and those as fast.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use rpc::admission::{AdmissionLayer, Bounds};
use rpc::criticality::{CRITICALITY, Criticality};
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, sleep};
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _};

const BROWSE: &str = "/shop.Shop/Browse";
const PAID: &str = "/shop.Shop/Paid";

type Service = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A service that does four calls at a time, each in 5 ms: 800 in a second.
fn service() -> Service {
    let workers = Arc::new(Semaphore::new(4));
    let work = tower::service_fn(move |_: Request<Body>| {
        let workers = workers.clone();
        async move {
            let _worker = workers.acquire().await.unwrap();
            sleep(Duration::from_millis(5)).await;
            Ok(Response::new(Body::empty()))
        }
    });
    let methods = [(BROWSE, Criticality::Sheddable), (PAID, Criticality::Critical)];
    let methods = methods.map(|(path, criticality)| (path.trim_start_matches('/').to_owned(), criticality));
    let second = Duration::from_secs(1);
    let bounds = Bounds { in_flight: 1024, queued: 256, patience: second, arrival: 5 * second, message_bytes: 1024 };
    BoxCloneSyncService::new(AdmissionLayer::new(methods, bounds).layer(work))
}

/// How the calls of a while went.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(Vec<Duration>, usize)>>);

impl Seen {
    async fn call(&self, service: Service, path: &str, said: Option<Criticality>) {
        let mut request = Request::post(path).body(Body::empty()).unwrap();
        if let Some(said) = said {
            request.headers_mut().insert(CRITICALITY, said.name().parse().unwrap());
        }
        let began = Instant::now();
        let answer = service.oneshot(request).await.unwrap();
        let mut seen = self.0.lock().unwrap();
        match answer.headers().get("grpc-status") {
            None => seen.0.push(began.elapsed()),
            Some(status) => {
                assert_eq!(status, "8", "RESOURCE_EXHAUSTED");
                seen.1 += 1;
            }
        }
    }

    /// Begins anew; answers how many calls were done, what the slowest hundredth of them took, and how many were refused.
    fn take(&self) -> (usize, Duration, usize) {
        let (mut done, refused) = std::mem::take(&mut *self.0.lock().unwrap());
        done.sort_unstable();
        (done.len(), done.get(done.len() * 99 / 100).copied().unwrap_or_default(), refused)
    }
}

/// Calls come at this rate, whatever becomes of them, until the handle is dropped.
fn arrive(
    service: &Service,
    per_second: u64,
    path: &'static str,
    said: Option<Criticality>,
) -> (Seen, AbortOnDropHandle<()>) {
    let (service, seen) = (service.clone(), Seen::default());
    let counted = seen.clone();
    let arriving = tokio::spawn(async move {
        // Timers have no finer grain than a millisecond.
        let (every, calls) = if per_second >= 1000 { (1, per_second / 1000) } else { (1000 / per_second, 1) };
        let mut ticks = interval(Duration::from_millis(every));
        loop {
            ticks.tick().await;
            for _ in 0..calls {
                let (service, seen) = (service.clone(), counted.clone());
                tokio::spawn(async move { seen.call(service, path, said).await });
            }
        }
    });
    (seen, AbortOnDropHandle::new(arriving))
}

/// What a service does when 64 callers wait for each other: in a second, and the slowest hundredth.
async fn peak(service: &Service) -> (usize, Duration) {
    let seen = Seen::default();
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (service, seen) = (service.clone(), seen.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    seen.call(service.clone(), BROWSE, None).await;
                }
            }))
        })
        .collect();
    sleep(Duration::from_secs(5)).await;
    drop(callers);
    let (done, slowest, refused) = seen.take();
    assert_eq!(refused, 0);
    (done / 5, slowest)
}

#[tokio::test(start_paused = true)]
async fn at_ten_times_its_capacity_a_service_does_what_it_can() {
    let service = service();
    let (most, slowest) = peak(&service).await;
    let (seen, arriving) = arrive(&service, 10 * most as u64, BROWSE, None);
    // From the first second to the thirtieth: it does not drift.
    for second in 0..30 {
        sleep(Duration::from_secs(1)).await;
        let (done, at_most, refused) = seen.take();
        assert!(done >= most * 8 / 10, "second {second}: {done} of {most}");
        assert!(second < 2 || at_most <= 3 * slowest, "second {second}: {at_most:?} in place of {slowest:?}");
        assert!(refused > most, "second {second}: {refused}");
    }
    drop(arriving);
    sleep(Duration::from_secs(1)).await;
    let (again, as_ever) = peak(&service).await;
    assert!(again >= most * 95 / 100 && as_ever <= slowest * 2, "{again} of {most}, {as_ever:?} for {slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_promised_is_done_whoever_looks_around() {
    let service = service();
    let (most, _) = peak(&service).await;
    let (_browsing, _browsers) = arrive(&service, 10 * most as u64, BROWSE, None);
    let (paid, _payers) = arrive(&service, 100, PAID, None);
    sleep(Duration::from_secs(2)).await;
    paid.take();
    sleep(Duration::from_secs(10)).await;
    let (done, slowest, refused) = paid.take();
    assert!(done >= 990 && refused == 0, "{done} done, {refused} refused");
    assert!(slowest < Duration::from_millis(300), "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_say_that_a_call_is_made_for_a_critical_one() {
    let service = service();
    let (most, _) = peak(&service).await;
    let (_browsing, _browsers) = arrive(&service, 10 * most as u64, BROWSE, None);
    let (promised, _promisers) = arrive(&service, 100, BROWSE, Some(Criticality::Critical));
    sleep(Duration::from_secs(2)).await;
    promised.take();
    sleep(Duration::from_secs(10)).await;
    let (done, _, refused) = promised.take();
    assert!(done >= 990 && refused <= 10, "{done} done, {refused} refused");
}
