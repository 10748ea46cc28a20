//! Whatever callers make up, the number of series stays what it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Method, Request, header};
use http_body_util::Full;
use testkit::process::Mall;
use tokio::task::JoinSet;

use crate::support::{MALL, alone};

const REQUESTS: u32 = 100_000;
const CLIENTS: usize = 16;

/// A request of which no two are alike: a path that leads nowhere, a method of no standard, an id, a trace.
fn request(mall: &Mall, number: u32) -> Request<Full<bytes::Bytes>> {
    let api = ["user.api", "product.api"][number as usize / 4 % 2];
    let (method, path) = match number % 4 {
        0 => (Method::GET, format!("/nowhere/{number}")),
        1 => (Method::GET, format!("/api/user/{number}/userinfo?page={number}")),
        2 => (format!("M{number}").parse().unwrap(), format!("/api/product/{number}")),
        _ => (Method::GET, format!("/api/product/{}", 1_000_000 + number)),
    };
    Request::builder()
        .method(method)
        .uri(mall.url(if number % 4 == 3 { "product.api" } else { api }) + &path)
        .header(header::HOST, format!("host-{number}.example"))
        .header("baggage", format!("key{number}=value{number}"))
        .header("x-request-id", number.to_string())
        .body(Full::default())
        .unwrap()
}

/// Every request in turn, by several clients at once; the number of answers by status.
async fn send(mall: &Arc<Mall>, numbers: std::ops::Range<u32>) -> BTreeMap<u16, u32> {
    let next = Arc::new(AtomicU32::new(numbers.start));
    let mut clients: JoinSet<_> = (0..CLIENTS)
        .map(|_| (mall.clone(), next.clone()))
        .map(|(mall, next)| async move {
            let mut answers = BTreeMap::<u16, u32>::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return answers;
                }
                let answer = mall.send(request(&mall, number)).await;
                *answers.entry(answer.status().as_u16()).or_default() += 1;
            }
        })
        .collect();
    let mut all = BTreeMap::<u16, u32>::new();
    while let Some(answers) = clients.join_next().await {
        for (status, count) in answers.unwrap() {
            *all.entry(status).or_default() += count;
        }
    }
    all
}

/// The number of series of each process.
async fn series(mall: &Mall) -> BTreeMap<String, usize> {
    let mut series = BTreeMap::new();
    for service in mall.services().into_keys() {
        let text = mall.get(&format!("http://{}/metrics", mall.address(&service, "admin"))).await;
        let text = String::from_utf8_lossy(text.body()).into_owned();
        series.insert(service, text.lines().filter(|line| !line.starts_with('#')).count());
    }
    series
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_ids_and_paths_make_no_series() {
    let _alone = alone().await;
    // Tracing all of it would only test the viewer.
    let mall = Mall::of(MALL).patient().variable("OTEL_TRACES_SAMPLER", "always_off");
    let mall = Arc::new(mall.start().await);
    // Every kind of request, more than once, so that each connection and statement has been used.
    send(&mall, 0..400).await;
    let before = series(&mall).await;
    let answers = send(&mall, 400..400 + REQUESTS).await;
    assert_eq!(answers.values().sum::<u32>(), REQUESTS);
    assert!(answers.keys().all(|status| [404, 405].contains(status)), "{answers:?}");
    assert_eq!(series(&mall).await, before);
}
