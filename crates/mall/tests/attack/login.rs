//! Whether the time that a refused login takes tells if there is such a user.

use std::time::Instant;

use proto::user::v1::LoginRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use testkit::process::Mall;
use testkit::service::client;
use testkit::shopper::Shopper;
use tonic::Code;

use crate::victim::MALL;

const SAMPLES: usize = 2000;
/// In standard deviations; chance alone shows as much once in two million times.
const SIGNIFICANT: f64 = 5.0;

const KNOWN: &str = "15838607661";
const UNKNOWN: &str = "15838607662";

/// How far apart two samples are by the ranks of their values: Mann and Whitney's test, whose statistic is normal for as many.
fn difference(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<_> =
        one.iter().map(|value| (value, true)).chain(other.iter().map(|value| (value, false))).collect();
    all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let ranks = all.iter().zip(1..).filter(|((_, of_one), _)| *of_one).map(|(_, rank)| f64::from(rank)).sum::<f64>();
    let (n, m) = (one.len() as f64, other.len() as f64);
    let above = ranks - n * (n + 1.0) / 2.0;
    (above - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_takes_as_long_for_a_known_mobile_as_for_an_unknown_one() {
    let mall = Mall::of(MALL)
        .variable("MALL__AUTH__LIMIT__MOBILE_TRIES", "1000000")
        .variable("MALL__AUTH__LIMIT__ADDRESS_TRIES", "1000000")
        .start()
        .await;
    Shopper::new(&mall, KNOWN).await;
    let channel = rpc::client::connect(&client(mall.address("user.rpc", "listen"))).unwrap();
    let mut client = UserServiceClient::new(channel);
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let is_known = fastrand::bool();
        let mobile = if is_known { KNOWN } else { UNKNOWN };
        let request = LoginRequest { mobile: mobile.into(), password: "not the right one".into() };
        let began = Instant::now();
        let status = client.login(request).await.unwrap_err();
        let took = began.elapsed().as_secs_f64();
        assert_eq!(status.code(), Code::Unauthenticated);
        if is_known { &mut known } else { &mut unknown }.push(took);
    }
    let shown = difference(&known, &unknown);
    assert!(shown.abs() < SIGNIFICANT, "{shown} standard deviations");

    // What a login without a hash would save is seen at once: so this can fail.
    let faster: Vec<_> = unknown.iter().map(|took| took * 0.5).collect();
    assert!(difference(&known, &faster) > SIGNIFICANT);
}
