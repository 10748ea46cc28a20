//! The balanced channel over real servers that come, go, fail and die.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use discovery::{Endpoints, Set};
use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::user_service_server::UserServiceServer;
use proto::user::v1::*;
use rpc::lifecycle::Lifecycle;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use crate::told::Told;

/// What a server does with each call.
#[derive(Debug, Default)]
struct Behaviour {
    calls: AtomicUsize,
    micros: AtomicUsize,
    unavailable: AtomicBool,
}

impl Behaviour {
    async fn call(self: Arc<Self>) -> Result<(), Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(Status::unavailable("no"));
        }
        sleep(Duration::from_micros(self.micros.load(Ordering::SeqCst) as u64)).await;
        Ok(())
    }
}

/// A server in a runtime of its own: dropped, it is gone with all its connections, as a process that is killed.
struct Server {
    address: SocketAddr,
    behaviour: Arc<Behaviour>,
    lifecycle: Lifecycle,
    runtime: Option<Runtime>,
}

impl Server {
    async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    async fn start_at(listen: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let lifecycle = Lifecycle::new();
        let config = rpc::server::Config { listen, admin: ([127, 0, 0, 1], 0).into(), ..Default::default() };
        let bound = runtime.spawn(rpc::Server::bind(config, lifecycle.clone())).await.unwrap().unwrap();
        let (address, behaviour) = (bound.address().unwrap(), Arc::new(Behaviour::default()));
        behaviour.micros.store(2000, Ordering::SeqCst);
        let told = behaviour.clone();
        let told = Told::new(move |_| told.clone().call());
        runtime.spawn(bound.serve(|most| UserServiceServer::new(told).max_decoding_message_size(most)));
        Self { address, behaviour, lifecycle, runtime: Some(runtime) }
    }

    fn calls(&self) -> usize {
        self.behaviour.calls.load(Ordering::SeqCst)
    }

    /// The calls since this was asked last.
    fn take_calls(&self) -> usize {
        self.behaviour.calls.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

fn set<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Option<Set> {
    Some(servers.into_iter().map(|server| server.address.into()).collect())
}

/// A channel to whatever the sender says.
type Channel = (UserServiceClient<rpc::Channel>, watch::Sender<Option<Set>>);

fn channel(first: Option<Set>) -> Channel {
    let (sender, receiver) = watch::channel(first);
    let config = rpc::client::Config {
        target: "dns:///user-rpc:9000".parse().unwrap(),
        timeout: Duration::from_secs(10),
        ..Default::default()
    };
    (UserServiceClient::new(rpc::client::connect_to(Endpoints::told(receiver), &config).unwrap()), sender)
}

/// Callers that call again and again until they are stopped.
struct Load {
    stopped: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<Status>>>,
}

impl Load {
    fn start<F>(callers: usize, call: impl Fn() -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send,
    {
        let stopped = Arc::new(AtomicBool::new(false));
        let callers = (0..callers).map(|_| {
            let (stopped, call) = (stopped.clone(), call.clone());
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !stopped.load(Ordering::SeqCst) {
                    failures.extend(call().await.err());
                }
                failures
            })
        });
        Self { callers: callers.collect(), stopped }
    }

    fn reading(callers: usize, client: &UserServiceClient<rpc::Channel>) -> Self {
        let client = client.clone();
        Self::start(callers, move || {
            let mut client = client.clone();
            async move { client.user_info(UserInfoRequest {}).await.map(drop) }
        })
    }

    fn writing(callers: usize, client: &UserServiceClient<rpc::Channel>) -> Self {
        let client = client.clone();
        Self::start(callers, move || {
            let mut client = client.clone();
            async move { client.register(RegisterRequest::default()).await.map(drop) }
        })
    }

    /// What failed in all.
    async fn stop(self) -> Vec<Status> {
        self.stopped.store(true, Ordering::SeqCst);
        let mut failures = Vec::new();
        for caller in self.callers {
            failures.extend(caller.await.unwrap());
        }
        failures
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.expect(what);
}

/// Each server's calls of a while, in hundredths of them all.
async fn shares(servers: &[&Server], time: Duration) -> Vec<usize> {
    for server in servers {
        server.take_calls();
    }
    sleep(time).await;
    let calls: Vec<_> = servers.iter().map(|server| server.take_calls()).collect();
    let all = calls.iter().sum::<usize>().max(1);
    calls.iter().map(|calls| 100 * calls / all).collect()
}

/// Three servers, and callers that all of them have calls of; the channel is there for as long as it is held.
async fn three_busy() -> ([Server; 3], Load, Channel) {
    let servers = [Server::start().await, Server::start().await, Server::start().await];
    let channel = channel(set(&servers));
    let load = Load::reading(12, &channel.0);
    until("every server has calls", || servers.iter().all(|server| server.calls() > 0)).await;
    (servers, load, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_spread_over_all_endpoints() {
    let (servers, load, _channel) = three_busy().await;
    let spread = shares(&servers.each_ref(), Duration::from_secs(2)).await;
    // On a busy machine the times of equals differ, and their shares with them.
    assert!(spread.iter().all(|share| *share >= 10), "{spread:?}");

    // One that is much slower gets much less.
    servers[0].behaviour.micros.store(200_000, Ordering::SeqCst);
    sleep(Duration::from_millis(500)).await;
    let spread = shares(&servers.each_ref(), Duration::from_secs(2)).await;
    assert!(spread[0] <= 10, "{spread:?}");
    assert!(load.stop().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_at_once_never_looks_idle() {
    let (servers, load, _channel) = three_busy().await;
    for server in &servers[..2] {
        server.behaviour.unavailable.store(true, Ordering::SeqCst);
    }
    sleep(Duration::from_millis(100)).await;
    let spread = shares(&servers.each_ref(), Duration::from_secs(1)).await;
    assert!(spread[2] >= 97, "two of three fail: {spread:?}");
    for server in &servers[..2] {
        server.behaviour.unavailable.store(false, Ordering::SeqCst);
    }
    until("they are tried again", || servers[..2].iter().all(|server| server.calls() > 100)).await;
    assert!(load.stop().await.iter().all(|status| status.code() == Code::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_in_too_much_of_a_hurry_says_nothing_of_an_endpoint() {
    let (servers, load, (client, _endpoints)) = three_busy().await;
    let soon = Instant::now() + Duration::from_millis(1);
    let mut hasty = client.clone();
    let late = rpc::deadline::scope(soon, hasty.register(RegisterRequest::default())).await;
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    let spread = shares(&servers.each_ref(), Duration::from_secs(1)).await;
    assert!(spread.iter().all(|share| *share >= 10), "{spread:?}");
    assert!(load.stop().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_under_load_loses_no_call() {
    let mut servers = vec![Server::start().await, Server::start().await, Server::start().await];
    let (client, endpoints) = channel(set(&servers));
    let loads = [Load::reading(8, &client), Load::writing(8, &client)];
    for _ in 0..3 {
        until("every server has calls", || servers.iter().all(|server| server.calls() > 50)).await;
        let stopped = servers.remove(0);
        // It drains before anybody is told, as a pod that is deleted at once may.
        stopped.lifecycle.drain();
        sleep(Duration::from_millis(300)).await;
        servers.push(Server::start().await);
        endpoints.send_replace(set(&servers));
        sleep(Duration::from_millis(300)).await;
        drop(stopped);
    }
    for load in loads {
        let failures = load.stop().await;
        assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures.first());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_one_costs_only_calls_in_flight_that_may_not_be_repeated() {
    const WRITERS: usize = 8;
    let mut servers = vec![Server::start().await, Server::start().await, Server::start().await];
    let (client, endpoints) = channel(set(&servers));
    let (reads, writes) = (Load::reading(8, &client), Load::writing(WRITERS, &client));
    until("every server has calls", || servers.iter().all(|server| server.calls() > 50)).await;
    let address = servers[0].address;
    drop(servers.remove(0));
    sleep(Duration::from_millis(500)).await;
    // It comes back where it was.
    servers.push(Server::start_at(address).await);
    until("it has calls again", || servers[2].calls() > 50).await;
    drop(endpoints);
    let failures = reads.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    let failures = writes.stop().await;
    assert!(failures.len() <= WRITERS, "{failures:?}");
    assert!(failures.iter().all(|status| status.code() == Code::Unavailable), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_endpoint_has_its_share_within_a_second_and_one_that_left_has_nothing() {
    let (old, new) = (Server::start().await, Server::start().await);
    let (client, endpoints) = channel(set([&old]));
    let load = Load::reading(12, &client);
    until("there is load", || old.calls() > 100).await;
    endpoints.send_replace(set([&old, &new]));
    sleep(Duration::from_secs(1)).await;
    let spread = shares(&[&old, &new], Duration::from_secs(1)).await;
    assert!(spread[1] >= 30, "{spread:?}");

    // A call in flight when its endpoint leaves is finished there.
    old.behaviour.micros.store(1_500_000, Ordering::SeqCst);
    old.take_calls();
    until("calls are in flight", || old.calls() > 0).await;
    endpoints.send_replace(set([&new]));
    sleep(Duration::from_millis(100)).await;
    let before = old.calls();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(old.calls(), before, "none after it left");
    assert!(load.stop().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_a_first_endpoint_but_not_for_ever() {
    let server = Server::start().await;
    for first in [None, set([])] {
        let (mut client, endpoints) = channel(first);
        let began = Instant::now();
        let status = client.user_info(UserInfoRequest {}).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!((Duration::from_millis(950)..Duration::from_secs(5)).contains(&began.elapsed()));
        let call = tokio::spawn(async move { client.user_info(UserInfoRequest {}).await });
        sleep(Duration::from_millis(100)).await;
        endpoints.send_replace(set([&server]));
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_around_an_endpoint_that_does_not_answer() {
    let server = Server::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (mut client, _endpoints) = channel(Some([closed.into(), server.address.into()].into()));
    for _ in 0..50 {
        client.user_info(UserInfoRequest {}).await.unwrap();
    }
    let (mut client, _endpoints) = channel(Some([closed.into()].into()));
    let status = client.user_info(UserInfoRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.message().contains("127.0.0.1"), "{status:?}");
}

/// The client spans of a call that is made in a trace of its own.
async fn traced<F: Future>(call: F) -> (F::Output, Vec<(String, String, String)>) {
    use telemetry::testing::{attribute, install};
    let captured = install(1.0);
    let root = telemetry::Span::start(telemetry::SpanKind::Internal, "test");
    let id = root.span_context().trace_id();
    let answer = root.run(call).await;
    drop(root);
    let spans = captured.wait(id, 2).await;
    let spans = spans.iter().filter(|span| span.span_kind == telemetry::SpanKind::Client).map(|span| {
        let of = |key| attribute(span, key);
        (of("server.address"), of("network.peer.port"), of("http.request.resend_count"))
    });
    (answer, spans.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_sent_again_is_one_span() {
    let mut servers = vec![Server::start().await, Server::start().await];
    for server in &servers {
        server.behaviour.micros.store(300_000, Ordering::SeqCst);
    }
    let (mut client, _endpoints) = channel(set(&servers));
    let call = tokio::spawn(traced(async move { client.user_info(UserInfoRequest {}).await }));
    until("the call has begun", || servers.iter().any(|server| server.calls() > 0)).await;
    let first = servers.iter().position(|server| server.calls() > 0).unwrap();
    drop(servers.remove(first));
    let (answer, spans) = call.await.unwrap();
    answer.unwrap();
    let port = servers[0].address.port().to_string();
    assert_eq!(spans, [("user-rpc".to_owned(), port, "1".to_owned())]);
}

/// A server that refuses every stream without looking at it, and counts them.
async fn refusing() -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, refused) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(AtomicUsize::new(0)));
    let (address, count) = (listener.local_addr().unwrap(), refused.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
            });
        }
    });
    (address, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_not_looked_at_goes_elsewhere_whatever_it_does() {
    let server = Server::start().await;
    let (refusing, refused) = refusing().await;
    let (client, _endpoints) = channel(Some([refusing.into(), server.address.into()].into()));
    for _ in 0..20 {
        client.clone().register(RegisterRequest::default()).await.unwrap();
    }
    assert!(refused.load(Ordering::SeqCst) > 0);
    assert_eq!(server.calls(), 20);
}

/// A server that takes one call at a time on a connection, and ends as soon as it has one and a little later; it answers
/// that call then.
async fn narrow() -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, taken) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(AtomicUsize::new(0)));
    let (address, count) = (listener.local_addr().unwrap(), taken.clone());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut connection =
            h2::server::Builder::new().max_concurrent_streams(1).handshake::<_, bytes::Bytes>(stream).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        let _ = timeout(Duration::from_millis(300), connection.accept()).await;
        connection.graceful_shutdown();
        let _ = timeout(Duration::from_millis(300), connection.accept()).await;
        let answer = tonic::codegen::http::Response::builder().header("grpc-status", "5").body(()).unwrap();
        respond.send_response(answer, true).unwrap();
        while let Some(Ok(_)) = connection.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_its_turn_when_its_endpoint_ends_goes_elsewhere_whatever_it_does() {
    let server = Server::start().await;
    let (narrow, taken) = narrow().await;
    let (client, endpoints) = channel(Some([narrow.into()].into()));
    let call = || {
        let mut client = client.clone();
        tokio::spawn(async move { client.register(RegisterRequest::default()).await })
    };
    let first = call();
    until("the first call is there", || taken.load(Ordering::SeqCst) == 1).await;
    let waiting = [call(), call(), call()];
    sleep(Duration::from_millis(100)).await;
    endpoints.send_replace(Some([narrow.into(), server.address.into()].into()));
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    assert_eq!(first.await.unwrap().unwrap_err().code(), Code::NotFound, "the call in flight is finished where it was");
    assert_eq!((taken.load(Ordering::SeqCst), server.calls()), (1, 3));
}
