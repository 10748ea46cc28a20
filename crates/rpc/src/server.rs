//! The chassis of every gRPC service: health, reflection, traces, deadlines, admission, limits, and a bounded drain.

use std::any::Any;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use http::{Request, Response};
use ipnet::{IpNet, Ipv4Net};
use proto::access;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;

use crate::accept::{Acceptor, Info};
use crate::admin::{self, AdminServer};
use crate::admission::{AdmissionLayer, Bounds};
use crate::batched::Batched;
use crate::criticality::{CRITICALITY, Criticality};
use crate::deadline::DeadlineLayer;
use crate::faults::FaultLayer;
use crate::lifecycle::Lifecycle;
use crate::{Error, accept, listen, tls};

/// How a gRPC server listens, and the limits it keeps.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Speaks TLS, and nothing else.
    pub tls: Option<tls::Server>,
    /// Where `/livez`, `/readyz` and `/metrics` are served over HTTP.
    pub admin: SocketAddr,
    /// The time for a call that brings no `grpc-timeout`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The most time that a call gets, whatever it brings.
    #[serde(with = "humantime_serde")]
    pub max_timeout: Duration,
    /// Calls of one method that run at one time, at most: its own limit, below that, follows how fast it answers.
    pub max_in_flight: usize,
    /// Calls of one method that wait for their turn, for half of `timeout` at most; of one more, the least critical is
    /// refused. Of all methods together, as many are there as of one may run and wait.
    pub max_queued: usize,
    /// Connections at one time; one more waits to be accepted.
    pub max_connections: usize,
    /// The time until a new connection has agreed on TLS and begun HTTP/2; a later one is closed.
    #[serde(with = "humantime_serde")]
    pub connection_timeout: Duration,
    /// The streams that one connection may have open.
    pub max_streams: u32,
    /// Bytes of one request message.
    pub max_message_bytes: usize,
    /// The time for a request message to arrive.
    #[serde(with = "humantime_serde")]
    pub message_timeout: Duration,
    /// Bytes of the headers of one call.
    pub max_header_bytes: u32,
    /// How long a quiet connection is left alone before it is pinged.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// How long a ping may go unanswered before the connection is closed.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
    /// Networks of the gateways and services whose word is taken for the address of their client and for how critical a call
    /// is; this machine's by default.
    pub trusted_gateways: Vec<IpNet>,
    /// Whether callers may ask for faults in their baggage, as `fault=ProductService/Detail:delay=200ms`; not where others
    /// than those who try it out can call.
    pub faults: bool,
    /// How long calls are still served after the word to stop, while the process already says that it is not ready: the
    /// time that whoever sends them here needs to hear of it. None by default, for nobody needs it on a laptop.
    #[serde(with = "humantime_serde")]
    pub lame_duck: Duration,
    /// How long calls in flight may take to finish after that.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 9000)),
            tls: None,
            admin: SocketAddr::from(([0, 0, 0, 0], 19000)),
            timeout: Duration::from_secs(2),
            max_timeout: Duration::from_secs(30),
            max_in_flight: 1024,
            max_queued: 256,
            max_connections: 10_000,
            connection_timeout: Duration::from_secs(10),
            max_streams: 1024,
            max_message_bytes: 1024 * 1024,
            message_timeout: Duration::from_secs(5),
            max_header_bytes: 32 * 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            trusted_gateways: vec![
                Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into(),
                IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST)),
            ],
            faults: false,
            lame_duck: Duration::ZERO,
            drain: Duration::from_secs(5),
        }
    }
}

impl Config {
    fn bounds(&self) -> Bounds {
        Bounds {
            in_flight: self.max_in_flight,
            queued: self.max_queued,
            patience: self.timeout / 2,
            arrival: self.message_timeout,
            message_bytes: self.max_message_bytes,
        }
    }
}

/// A server that listens and is not yet ready.
#[derive(Debug)]
pub struct Server {
    config: Config,
    lifecycle: Lifecycle,
    listener: TcpListener,
    acceptor: Acceptor,
    admin: AdminServer,
}

impl Server {
    /// Takes both addresses, so that a taken port is known before anything else is begun.
    pub async fn bind(config: Config, lifecycle: Lifecycle) -> Result<Self, Error> {
        let tls = config.tls.as_ref().map(|tls| tls::Acceptor::new(tls, &[tls::H2])).transpose()?;
        let acceptor = Acceptor { tls, timeout: config.connection_timeout };
        let listener = listen(config.listen).await?;
        let admin = admin::serve(config.admin, lifecycle.clone()).await?;
        Ok(Self { config, lifecycle, listener, acceptor, admin })
    }

    /// Where gRPC is served, with the port that the system chose if that was left to it.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        Ok(self.listener.local_addr()?)
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Serves what `make_service` makes with the most bytes of a message until the process is told to stop, for
    /// [`Config::lame_duck`] more, and then what it has for at most [`Config::drain`].
    pub async fn serve<S>(self, make_service: impl FnOnce(usize) -> S) -> Result<(), Error>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let Self { config, lifecycle, listener, acceptor, admin: _admin } = self;
        let (health, health_service) = tonic_health::server::health_reporter();
        tokio::spawn(report_health(health, S::NAME, lifecycle.clone()));
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .with_service_name(S::NAME)
                .with_service_name("grpc.health.v1.Health")
        };
        let cut_off = CancellationToken::new();
        let methods = methods_of(S::NAME);
        let bounds = config.bounds();
        let layers = ServiceBuilder::new()
            .map_request(introduce)
            .layer(telemetry::grpc::ServerLayer::new(methods.iter().map(|(name, _)| name)))
            .layer(CatchPanicLayer::custom(answer_panic))
            .map_request(move |request| believe(&config.trusted_gateways, request))
            .layer(DeadlineLayer::new(config.timeout, config.max_timeout, cut_off.clone()))
            .layer(AdmissionLayer::new(methods, bounds))
            .map_request(|request| {
                telemetry::handling();
                request
            })
            // What a caller asks for is as if the handler were slow, or failed.
            .option_layer(config.faults.then_some(FaultLayer))
            .map_response(blame_sender)
            .into_inner();
        let router = tonic::transport::Server::builder()
            .max_concurrent_streams(config.max_streams)
            // A gateway passes on that its clients are gone, many on one connection: that is no attack, and must not cost the
            // others their calls. h2 bears 20.
            .http2_max_pending_accept_reset_streams(Some(config.max_streams as usize))
            .http2_max_header_list_size(config.max_header_bytes)
            .http2_keepalive_interval(Some(config.keepalive_interval))
            .http2_keepalive_timeout(Some(config.keepalive_timeout))
            .layer(layers)
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(make_service(config.max_message_bytes));
        tracing::info!(address = %listener.local_addr()?, "serving");
        // The end of the connections is the end of the service; a signal would leave some of them unanswered.
        let incoming = accept::until_draining(listener, acceptor, config.max_connections, lifecycle.clone());
        let incoming = incoming.map(|connection| Ok::<_, Infallible>(Batched::new(connection)));
        let mut serving = pin!(router.serve_with_incoming_shutdown(incoming, std::future::pending()));
        lifecycle.set_serving();
        if let Some(result) = lifecycle.bounded(config.lame_duck, config.drain, &mut serving).await {
            return Ok(result?);
        }
        tracing::warn!(after = ?config.drain, "calls were still running at the end of the drain and are cut off");
        cut_off.cancel();
        // Their answers are on the way; whoever does not take them by then gets none.
        let _ = tokio::time::timeout(Duration::from_millis(200), serving).await;
        Ok(())
    }
}

/// Says whose connection a call came by.
fn introduce(mut request: Request<Body>) -> Request<Body> {
    if let Some(Info { addresses, identity }) = request.extensions_mut().remove::<Info>() {
        request.extensions_mut().insert(addresses);
        request.extensions_mut().insert(identity);
    }
    request
}

/// Drops what the caller says of its client's address and of how critical the call is, unless it is a gateway of ours.
fn believe(gateways: &[IpNet], mut request: Request<Body>) -> Request<Body> {
    let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let trusted = peer.is_some_and(|peer| gateways.iter().any(|net| net.contains(&peer.ip().to_canonical())));
    // It is somebody else's call, whoever's connection it came by.
    if request.headers().contains_key(crate::CLIENT_ADDRESS) {
        request.extensions_mut().remove::<crate::Identity>();
    }
    if !trusted {
        request.headers_mut().remove(crate::CLIENT_ADDRESS);
        request.headers_mut().remove(CRITICALITY);
    }
    request
}

/// tonic says INTERNAL of a message that it cannot read; but it is the sender who is at fault.
fn blame_sender(response: Response<Body>) -> Response<Body> {
    const UNREADABLE: [&str; 4] = [
        "failed to decode Protobuf message",
        "Unexpected EOF decoding stream",
        "protocol error: received message with",
        "Error decompressing",
    ];
    let unreadable = |status: &Status| {
        status.code() == Code::Internal && UNREADABLE.iter().any(|text| status.message().starts_with(text))
    };
    if response.extensions().get().is_some_and(unreadable) {
        return Status::invalid_argument("the message cannot be read").into_http();
    }
    response
}

/// The methods of a service, each `pkg.Svc/Method`, and how much they matter.
fn methods_of(service: &str) -> Vec<(String, Criticality)> {
    let pool = proto::descriptors();
    let option = pool.get_extension_by_name("mall.access.v1.criticality");
    let service = pool.get_service_by_name(service);
    let methods = service.iter().flat_map(|service| service.methods());
    methods
        .map(|method| {
            let name = format!("{}/{}", method.parent_service().full_name(), method.name());
            let said = option.as_ref().and_then(|option| method.options().get_extension(option).as_enum_number());
            let criticality = match said.map(access::v1::Criticality::try_from) {
                Some(Ok(access::v1::Criticality::Sheddable)) => Criticality::Sheddable,
                Some(Ok(access::v1::Criticality::Critical)) => Criticality::Critical,
                _ => Criticality::Normal,
            };
            (name, criticality)
        })
        .collect()
}

/// Keeps the gRPC health of the server and of `service` at what the process can do.
async fn report_health(mut health: HealthReporter, service: &'static str, lifecycle: Lifecycle) {
    let report = async |status| {
        for name in ["", service] {
            health.set_service_status(name, status).await;
        }
    };
    report(ServingStatus::NotServing).await;
    lifecycle.serving().await;
    report(ServingStatus::Serving).await;
    lifecycle.stopping().await;
    report(ServingStatus::NotServing).await;
    lifecycle.draining().await;
    // Whoever watches has been told, and would keep the connection open to the end of the drain.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for name in ["", service] {
        health.clear_service_status(name).await;
    }
}

/// A panic in a handler ends its call and nothing else; telemetry's hook has logged where it was.
fn answer_panic(_: Box<dyn Any + Send>) -> Response<Body> {
    Status::internal("internal error").into_http()
}
