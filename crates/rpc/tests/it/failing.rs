//! A peer that says it is unavailable: who asks again, how often, and who stops asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::*;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::told::{Running, client, config, start};

/// A server that says so of its next calls, which it counts.
struct Failing {
    server: Running,
    left: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Failing {
    async fn start(pushback: Option<&'static str>) -> Self {
        let (left, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (fails, count) = (left.clone(), calls.clone());
        let server = start(config(), move || {
            count.fetch_add(1, Ordering::SeqCst);
            let fails = fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            let mut status = Status::unavailable("not now");
            if let Some(millis) = pushback {
                status.metadata_mut().insert("grpc-retry-pushback-ms", millis.parse().unwrap());
            }
            async move { if fails { Err(status) } else { Ok(()) } }
        });
        Self { server: server.await, left, calls }
    }

    /// Of so many calls.
    fn fail(&self, calls: usize) {
        self.left.store(calls, Ordering::SeqCst);
        self.calls.store(0, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn client(&self) -> UserServiceClient<rpc::Channel> {
        self.server.client()
    }
}

async fn read(client: &UserServiceClient<rpc::Channel>) -> Result<(), Status> {
    client.clone().user_info(UserInfoRequest {}).await.map(drop)
}

#[tokio::test]
async fn only_what_does_no_harm_is_asked_again_after_a_while_and_not_for_ever() {
    let server = Failing::start(None).await;
    let mut client = server.client();
    server.fail(2);
    let began = Instant::now();
    read(&client).await.unwrap();
    assert_eq!(server.calls(), 3);
    assert!(began.elapsed() >= Duration::from_millis(30), "10 and 20 ms at least: {:?}", began.elapsed());

    server.fail(usize::MAX);
    assert_eq!(read(&client).await.unwrap_err().message(), "not now", "the server's own words");
    assert_eq!(server.calls(), 4);

    server.fail(1);
    let status = client.register(RegisterRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), server.calls()), (Code::Unavailable, 1));
}

#[tokio::test]
async fn a_server_says_when_it_is_asked_again() {
    let server = Failing::start(Some("150")).await;
    server.fail(1);
    let began = Instant::now();
    read(&server.client()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());

    let never = Failing::start(Some("-1")).await;
    never.fail(1);
    read(&never.client()).await.unwrap_err();
    assert_eq!(never.calls(), 1);

    // A wait that the call's end would cut short is not begun.
    server.fail(1);
    let began = Instant::now();
    let hasty = client(server.server.address, Duration::from_millis(140));
    assert_eq!(read(&hasty).await.unwrap_err().code(), Code::Unavailable);
    assert!(began.elapsed() < Duration::from_millis(140), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_fails_all_the_time_is_left_alone_until_it_works() {
    let server = Failing::start(None).await;
    let client = server.client();
    server.fail(usize::MAX);
    let refused = async {
        loop {
            let status = read(&client).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            if status.message() != "not now" {
                return status;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("it is refused at last");
    let asked = server.calls();
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(read(&client).await.is_err());
    }
    assert!(server.calls() <= asked + 8, "{} of 100 were asked", server.calls() - asked);
    assert!(failed == 100);
    // Another method is another matter.
    let status = client.clone().register(RegisterRequest::default()).await.unwrap_err();
    assert_eq!(status.message(), "not now");

    server.fail(0);
    let works = async {
        while read(&client).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), works).await.expect("it is tried again");
    for _ in 0..20 {
        read(&client).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_there_is_left_alone_as_well() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = client(closed, Duration::from_secs(5));
    let at_once = async {
        loop {
            let began = Instant::now();
            assert_eq!(read(&client).await.unwrap_err().code(), Code::Unavailable);
            // A try to connect takes longer: three must fail, with a wait between them.
            if began.elapsed() < Duration::from_millis(5) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), at_once).await.expect("the caller is told at once");
}
