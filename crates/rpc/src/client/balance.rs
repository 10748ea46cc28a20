//! Spreads calls over the endpoints of a peer: of two by chance, the one that costs less.
//!
//! tower's balancer needs a queue before it and a task behind that, for every call; and tonic's channel does not tell which
//! calls were never sent. This one holds hyper's connections itself: a call goes from its caller's task to the
//! connection's, and comes back from it if it was not sent.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use discovery::{Address, Endpoints, Set, Target};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use opentelemetry::metrics::Counter;
use telemetry::{KeyValue, metric, semconv};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;

use super::Config;
use super::failure::{Failure, Fate};
use super::method::Method;
use super::outgoing::{Outgoing, Taken};
use super::peer::{Keeping, Peer, Tried, Unanswered};
use super::retry::{Retries, Wish};
use crate::criticality::Criticality;
use crate::deadline;
use crate::tls::Connector;

/// How many tries to connect must fail before a call does.
const TRIES: u64 = 3;
/// How often one call is given to a connection at most: there are peers whose connections end before they take any.
const ROUNDS: u32 = 8;
/// gRPC's name for how often the call was sent before.
const ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

static RESENDS: LazyLock<Counter<u64>> = LazyLock::new(|| metric::RPC_CLIENT_RESENDS.counter());

/// The endpoints of one peer. Those that left the set finish what they have.
pub(super) struct Balance {
    target: Target,
    members: RwLock<Arc<[Arc<Member>]>>,
    retries: Retries,
    awake: watch::Sender<bool>,
    keeping: Keeping,
    /// What the metric of calls that are sent again is labelled with.
    labels: Vec<KeyValue>,
    following: OnceLock<AbortOnDropHandle<()>>,
}

/// An endpoint in the set.
#[derive(Debug)]
struct Member {
    peer: Arc<Peer>,
    _keeping: AbortOnDropHandle<()>,
}

impl fmt::Debug for Balance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Balance").field("members", &self.members()).finish_non_exhaustive()
    }
}

/// A call that may be sent once more, and whether the last connection took it.
#[derive(Debug)]
struct Spare {
    head: Parts,
    message: Bytes,
    taken: Taken,
}

impl Spare {
    fn request(&mut self) -> Request<Outgoing> {
        self.taken = Taken::default();
        let body = Outgoing::Message(self.message.clone(), self.taken.clone());
        Request::from_parts(self.head.clone(), body)
    }
}

impl Balance {
    /// Follows `endpoints` for as long as it is kept.
    pub(super) fn new(
        config: &Config,
        tls: Option<Connector>,
        mut endpoints: Endpoints,
        labels: Vec<KeyValue>,
    ) -> Arc<Self> {
        let (awake, sleeping) = watch::channel(false);
        let news = Arc::new(watch::Sender::new(()));
        let keeping = Keeping { config: config.clone(), tls, awake: sleeping, news, doubt: endpoints.doubt() };
        let this = Arc::new(Self {
            target: config.target.clone(),
            members: RwLock::new(Arc::new([])),
            retries: Retries::default(),
            awake,
            keeping,
            labels,
            following: OnceLock::new(),
        });
        if let Some(set) = endpoints.current() {
            this.update(&set);
        }
        let following = tokio::spawn(follow(endpoints, Arc::downgrade(&this)));
        // It is new, and so is this.
        let _ = this.following.set(AbortOnDropHandle::new(following));
        this
    }

    fn members(&self) -> Arc<[Arc<Member>]> {
        Arc::clone(&self.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the members that are in the set, and no others.
    fn update(&self, set: &Set) {
        let old = self.members();
        let new = set.iter().map(|address| match old.iter().find(|member| member.peer.address == *address) {
            Some(member) => Arc::clone(member),
            None => Arc::new(self.member(address)),
        });
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = new.collect();
        self.keeping.news.send_replace(());
    }

    fn member(&self, address: &Address) -> Member {
        let name = match &self.target {
            Target::Direct(_) => address.to_string(),
            target => target.authority(),
        };
        // Both were read as one.
        let authority = name.parse().unwrap_or_else(|_| Authority::from_static("peer"));
        let peer = Arc::new(Peer::new(address.clone(), authority));
        let keeping = tokio::spawn(Arc::clone(&peer).keep(self.keeping.clone()));
        Member { peer, _keeping: AbortOnDropHandle::new(keeping) }
    }

    /// Sends a call to one endpoint; and to another one, if the first did not even begin it, or if that does no harm.
    pub(super) async fn send(
        &self,
        method: Option<&Method>,
        request: Request<Body>,
        until: Instant,
        tried: &mut Tried,
    ) -> Result<Response<Body>, Failure> {
        let (head, body) = request.into_parts();
        let (mut request, mut spare) = if method.is_some() {
            let message = body.collect().await.map_err(Failure::Message)?.to_bytes();
            let mut spare = Spare { head, message, taken: Taken::default() };
            (spare.request(), Some(spare))
        } else {
            (Request::from_parts(head, Outgoing::Stream(body)), None)
        };
        let mut again = self.retries.begin(method.is_some_and(|it| it.is_idempotent));
        let mut avoided = None;
        let mut rounds = 0;
        loop {
            rounds += 1;
            let peer = self.pick(avoided.as_ref()).await?;
            let left = until.saturating_duration_since(Instant::now());
            let scheme = if self.keeping.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            address(&mut request, (scheme, &peer.authority), left, tried.resent);
            // A caller may be in more of a hurry than any peer could be: that says nothing of the peer.
            let silent = (left >= self.keeping.config.timeout / 2).then_some(until);
            let (failed, fate, wish) = match peer.send(request, silent, tried).await {
                Ok(answer) => match Wish::of(&answer) {
                    Some(wish) => (Ok(answer.map(Body::new)), Fate::Unavailable, wish),
                    None => return Ok(answer.map(Body::new)),
                },
                Err(Unanswered::Unsent(_, Some(source))) if rounds >= ROUNDS => {
                    return Err(Failure::Broken { address: peer.address.clone(), source });
                }
                Err(Unanswered::Unsent(unsent, _)) => {
                    request = *unsent;
                    avoided = Some(peer);
                    continue;
                }
                Err(Unanswered::Sent(source)) => {
                    let fate = match Fate::of(&source) {
                        Fate::Broken if spare.as_ref().is_some_and(|spare| !spare.taken.is_so()) => Fate::Unprocessed,
                        fate => fate,
                    };
                    (Err(Failure::Broken { address: peer.address.clone(), source }), fate, Wish::default())
                }
            };
            let Some(spare) = spare.as_mut() else { return failed };
            let Some(wait) = again.after(fate, wish, until) else { return failed };
            drop(failed);
            tokio::time::sleep(wait).await;
            tried.resent += 1;
            self.count(fate);
            request = spare.request();
            avoided = Some(peer);
        }
    }

    /// Counts a call that is sent again.
    fn count(&self, fate: Fate) {
        let mut labels = self.labels.clone();
        labels.push(KeyValue::new(semconv::REASON, fate.name()));
        RESENDS.add(1, &labels);
    }

    /// The endpoint for the next call. Where none is connected, waits for one as long as a connection may take; or until
    /// all of them have failed some times.
    async fn pick(&self, avoided: Option<&Arc<Peer>>) -> Result<Arc<Peer>, Failure> {
        if let Some(peer) = self.choose(avoided) {
            return Ok(peer);
        }
        let until = Instant::now() + self.keeping.config.connect_timeout;
        let mut news = self.keeping.news.subscribe();
        self.awake.send_if_modified(|awake| !std::mem::replace(awake, true));
        let before: Vec<_> = self.members().iter().map(|it| (Arc::clone(&it.peer), it.peer.failures().0)).collect();
        loop {
            news.borrow_and_update();
            if let Some(peer) = self.choose(avoided) {
                return Ok(peer);
            }
            let members = self.members();
            let has_failed = |peer: &Arc<Peer>| {
                let start = before.iter().find(|(other, _)| Arc::ptr_eq(other, peer)).map_or(0, |(_, start)| *start);
                peer.failures().0 >= start + TRIES
            };
            if !members.is_empty() && members.iter().all(|member| has_failed(&member.peer)) {
                return Err(self.unreachable());
            }
            members.iter().for_each(|member| member.peer.need());
            drop(members);
            // The sender is ours.
            if timeout_at(until, news.changed()).await.is_err() {
                return Err(self.unreachable());
            }
        }
    }

    /// Why nothing is connected: what the last try of one of them said, if there was one.
    fn unreachable(&self) -> Failure {
        let members = self.members();
        let tried = members.iter().find_map(|member| Some((&member.peer.address, member.peer.failures().1?)));
        match (tried, members.first()) {
            (Some((address, source)), _) => Failure::Connect { address: address.clone(), source },
            (None, Some(member)) => {
                let source = Arc::new(std::io::Error::from(std::io::ErrorKind::TimedOut));
                Failure::Connect { address: member.peer.address.clone(), source }
            }
            (None, None) => Failure::Nowhere(self.target.to_string()),
        }
    }

    /// Of two connected endpoints by chance, the one that costs less. Where both failed a short while ago or one is to be
    /// avoided, the best of all.
    fn choose(&self, avoided: Option<&Arc<Peer>>) -> Option<Arc<Peer>> {
        let members = self.members();
        let now = Instant::now();
        let rank = |member: &Member| {
            let (is_punished, cost) = member.peer.cost(now)?;
            let is_avoided = avoided.is_some_and(|avoided| Arc::ptr_eq(avoided, &member.peer));
            Some(Rank { is_avoided, is_punished, cost })
        };
        let count = members.len();
        if count > 2 {
            let first = fastrand::usize(..count);
            let second = (first + fastrand::usize(1..count)) % count;
            if let Some((Rank { is_avoided: false, is_punished: false, .. }, member)) =
                best([&members[first], &members[second]], rank)
            {
                return Some(Arc::clone(&member.peer));
            }
        }
        // From a place by chance, so that equals take turns.
        let (late, early) = members.split_at(if count > 0 { fastrand::usize(..count) } else { 0 });
        best(early.iter().chain(late), rank).map(|(_, member)| Arc::clone(&member.peer))
    }
}

/// What speaks against an endpoint, the gravest first.
#[derive(Clone, Copy, Debug)]
struct Rank {
    /// It just failed this very call.
    is_avoided: bool,
    /// It failed others, a short while ago.
    is_punished: bool,
    cost: f64,
}

/// The first of the best members, if any is connected.
fn best<'a>(
    members: impl IntoIterator<Item = &'a Arc<Member>>,
    rank: impl Fn(&Member) -> Option<Rank>,
) -> Option<(Rank, &'a Arc<Member>)> {
    let ranked = members.into_iter().filter_map(|member| Some((rank(member)?, member)));
    ranked.min_by(|(one, _), (other, _)| {
        let order = (one.is_avoided, one.is_punished).cmp(&(other.is_avoided, other.is_punished));
        order.then(one.cost.total_cmp(&other.cost))
    })
}

/// Takes over every change of the endpoints.
async fn follow(mut endpoints: Endpoints, balance: Weak<Balance>) {
    loop {
        endpoints.changed().await;
        let (Some(balance), Some(set)) = (balance.upgrade(), endpoints.current()) else { return };
        balance.update(&set);
    }
}

/// Writes on a call to whom it goes, how much time is left for it, how much it matters, and how often it was sent before.
fn address(request: &mut Request<Outgoing>, (scheme, authority): (Scheme, &Authority), left: Duration, sent: u32) {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = Some(scheme);
    uri.authority = Some(authority.clone());
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(deadline::GRPC_TIMEOUT, deadline::header(left));
    Criticality::tell(headers);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("grpc-mall/", env!("CARGO_PKG_VERSION"))));
    if sent > 0 {
        headers.insert(ATTEMPTS, HeaderValue::from(sent));
    }
}
