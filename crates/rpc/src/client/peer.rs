//! One endpoint of a peer: its connection, which is made again whenever it ends, and what a call to it would cost.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use discovery::{Address, Doubt};
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use telemetry::{KeyValue, semconv};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use super::Config;
use super::cost::Cost;
use super::failure::Fate;
use super::outgoing::Outgoing;
use crate::accept::Io;
use crate::batched::Batched;
use crate::tls::Connector;

/// The waits between two tries to connect; chance makes each of them longer, up to twice.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(25))
    .with_max_delay(LONGEST_WAIT)
    .with_jitter()
    .without_max_times();
const LONGEST_WAIT: Duration = Duration::from_millis(2500);
/// The wait when a call needs the connection now.
const HASTE: Duration = Duration::from_millis(25);
/// A connection that lasted so long had nothing wrong with it: after its end the waits begin with the first.
const LASTING: Duration = Duration::from_secs(1);

type Connection = http2::Connection<TokioIo<Batched<Io>>, Outgoing, TokioExecutor>;

/// One endpoint.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: Address,
    /// What calls are addressed to.
    pub(super) authority: Authority,
    state: Mutex<State>,
    needed: Notify,
}

#[derive(Debug)]
struct State {
    link: Link,
    cost: Cost,
    /// Tries to connect that failed, ever.
    failures: u64,
}

#[derive(Debug)]
enum Link {
    /// It was not tried yet, or was in order until it ended.
    Down,
    Failed(Arc<dyn StdError + Send + Sync>),
    Up(Line),
}

/// A connection that takes calls.
#[derive(Debug)]
struct Line {
    sender: http2::SendRequest<Outgoing>,
    /// Who is at the other end, for spans.
    attributes: Arc<[KeyValue]>,
}

/// What the endpoints of one channel share.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    pub(super) config: Config,
    pub(super) tls: Option<Connector>,
    /// Turns true with the first call: nothing is connected before.
    pub(super) awake: watch::Receiver<bool>,
    /// Told of every change of a connection.
    pub(super) news: Arc<watch::Sender<()>>,
    pub(super) doubt: Doubt,
}

impl Peer {
    pub(super) fn new(address: Address, authority: Authority) -> Self {
        let state = State { link: Link::Down, cost: Cost::new(Instant::now()), failures: 0 };
        Self { address, authority, state: Mutex::new(state), needed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What another call would cost and whether it failed a short while ago; nothing where it cannot be sent now.
    pub(super) fn cost(&self, now: Instant) -> Option<(bool, f64)> {
        let state = self.state();
        let is_up = matches!(&state.link, Link::Up(line) if !line.sender.is_closed());
        is_up.then(|| (state.cost.is_punished(now), state.cost.value(now)))
    }

    /// How many tries to connect have failed, and why the last one did.
    pub(super) fn failures(&self) -> (u64, Option<Arc<dyn StdError + Send + Sync>>) {
        let state = self.state();
        let why = if let Link::Failed(error) = &state.link { Some(Arc::clone(error)) } else { None };
        (state.failures, why)
    }

    /// Does not wait with the next try to connect.
    pub(super) fn need(&self) {
        self.needed.notify_one();
    }

    /// Sends a call; or gives it back, where it was not sent. Where there is no answer at the instant `silent`, the peer counts
    /// as one that failed.
    pub(super) async fn send(
        self: &Arc<Self>,
        request: Request<Outgoing>,
        silent: Option<Instant>,
        tried: &mut Tried,
    ) -> Result<Response<Incoming>, Unanswered> {
        let (answer, mut call) = {
            let mut state = self.state();
            let State { link: Link::Up(line), cost, .. } = &mut *state else {
                return Err(Unanswered::Unsent(Box::new(request), None));
            };
            cost.begin();
            tried.last = Some(Arc::clone(&line.attributes));
            (line.sender.try_send_request(request), Call { peer: self, began: Instant::now(), silent, ended: false })
        };
        match answer.await {
            Ok(answer) => {
                call.end(&answer);
                Ok(answer)
            }
            Err(mut error) => match error.take_message() {
                Some(request) => {
                    call.ended = true;
                    Err(Unanswered::Unsent(Box::new(request), Some(error.into_error())))
                }
                None => Err(Unanswered::Sent(call.broken(error))),
            },
        }
    }

    /// Keeps it connected for as long as it is polled; calls in flight go on after that.
    pub(super) async fn keep(self: Arc<Self>, keeping: Keeping) {
        let Keeping { config, tls, mut awake, news, doubt } = keeping;
        if awake.wait_for(|awake| *awake).await.is_err() {
            return;
        }
        let mut waits = WAITS.build();
        loop {
            match connect(&self.address, &config, tls.as_ref()).await {
                Ok((line, connection)) => {
                    let began = Instant::now();
                    self.connected(line);
                    news.send_replace(());
                    let ended = connection.await;
                    tracing::debug!(address = %self.address, ?ended, "a connection ended");
                    self.state().link = Link::Down;
                    if began.elapsed() > LASTING {
                        waits = WAITS.build();
                    }
                }
                Err(error) => self.failed(error),
            }
            doubt.say();
            news.send_replace(());
            tokio::select! {
                () = sleep(waits.next().unwrap_or(LONGEST_WAIT)) => {}
                () = async { tokio::join!(self.needed.notified(), sleep(HASTE)); } => {}
            }
        }
    }

    fn connected(&self, line: Line) {
        tracing::debug!(address = %self.address, "connected");
        let mut state = self.state();
        state.link = Link::Up(line);
        state.cost.reconnected();
    }

    fn failed(&self, error: Box<dyn StdError + Send + Sync>) {
        // Nothing is written while calls wait for what the peer costs.
        let is_first = matches!(self.state().link, Link::Down);
        if is_first {
            tracing::warn!(address = %self.address, error = &*error as &dyn StdError, "an endpoint cannot be reached");
        } else {
            tracing::debug!(address = %self.address, error = &*error as &dyn StdError, "not connected");
        }
        let mut state = self.state();
        state.failures += 1;
        state.link = Link::Failed(Arc::from(error));
    }
}

/// Where a call was sent, and how often before.
#[derive(Debug, Default)]
pub(super) struct Tried {
    last: Option<Arc<[KeyValue]>>,
    pub(super) resent: u32,
    /// Probes and the questions of tools have no span.
    is_traced: bool,
}

impl Tried {
    pub(super) fn new(is_traced: bool) -> Self {
        Self { is_traced, ..Self::default() }
    }

    /// Sets what is known at the end of a call on its span: an attribute that is set twice is there twice.
    pub(super) fn annotate(&self) {
        if !self.is_traced {
            return;
        }
        telemetry::Span::annotate(self.last.as_deref().unwrap_or_default());
        if self.resent > 0 {
            telemetry::Span::annotate(&[KeyValue::new(semconv::HTTP_REQUEST_RESEND_COUNT, i64::from(self.resent))]);
        }
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It is still here, because the connection ended before it was its turn.
    Unsent(Box<Request<Outgoing>>, Option<hyper::Error>),
    Sent(hyper::Error),
}

/// A call in flight, for the account of its endpoint. Dropped before its end, it was given up.
struct Call<'a> {
    peer: &'a Arc<Peer>,
    began: Instant,
    silent: Option<Instant>,
    ended: bool,
}

impl Call<'_> {
    /// It was answered, by a peer that is well or not.
    fn end<B>(&mut self, answer: &Response<B>) {
        self.ended = true;
        let now = Instant::now();
        let cost = &mut self.peer.state().cost;
        // That one refuses fast does not tell that it is fast.
        if code(answer) != Some(Code::ResourceExhausted) {
            cost.answered(now.saturating_duration_since(self.began), now);
        }
        if is_unavailable(answer) {
            cost.failed(now);
        }
    }

    fn broken(&mut self, error: TrySendError<Request<Outgoing>>) -> hyper::Error {
        self.ended = true;
        let error = error.into_error();
        if Fate::of(&error).is_fault() {
            self.peer.state().cost.failed(Instant::now());
        }
        error
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let cost = &mut self.peer.state().cost;
        cost.end();
        if !self.ended {
            cost.given_up(now.saturating_duration_since(self.began), now);
            // Not by whoever asked: by the deadline. A peer that is silent must not be tried again and again.
            if self.silent.is_some_and(|silent| now >= silent) {
                cost.failed(now);
            }
        }
    }
}

/// Whether the answer says that the peer cannot work now; a call that it refuses for reasons of its own is answered.
pub(super) fn is_unavailable<B>(answer: &Response<B>) -> bool {
    code(answer) == Some(Code::Unavailable)
        || matches!(answer.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE)
}

/// The status of an answer that has no message.
pub(super) fn code<B>(answer: &Response<B>) -> Option<Code> {
    answer.headers().get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()))
}

async fn connect(
    address: &Address,
    config: &Config,
    tls: Option<&Connector>,
) -> Result<(Line, Connection), Box<dyn StdError + Send + Sync>> {
    let connecting = async {
        // TCP sends a first packet that was lost again after a second, when whoever waits has given up; another one is there
        // sooner.
        let stream = timeout(config.connect_timeout / 3, TcpStream::connect(address.as_str())).await??;
        stream.set_nodelay(true)?;
        let attributes = attributes(stream.peer_addr()?);
        let stream = match tls {
            Some(tls) => Io::Right(Box::new(tls.connect(stream).await?)),
            None => Io::Left(stream),
        };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(Batched::new(stream)))
            .await?;
        Ok((Line { sender, attributes }, connection))
    };
    timeout(config.connect_timeout, connecting).await?
}

fn attributes(peer: SocketAddr) -> Arc<[KeyValue]> {
    Arc::new([
        KeyValue::new(semconv::NETWORK_PEER_ADDRESS, Arc::<str>::from(peer.ip().to_string())),
        KeyValue::new(semconv::NETWORK_PEER_PORT, i64::from(peer.port())),
    ])
}
