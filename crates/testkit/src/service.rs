//! What the tests of a domain's service share: keys and tokens, settings for free ports, and who may call what.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth::{CallbackKey, Role, ServiceSigner, UserSigner};
use rpc::Lifecycle;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// A test machine may be busy, and to be told so is not what these tests are about.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every service that has a key.
const SIGNERS: [&str; 4] = ["user.rpc", "product.rpc", "order.rpc", "pay.rpc"];

/// The keys of all services and of the payment provider.
#[derive(Debug)]
pub struct Keys {
    dir: PathBuf,
    /// Where they were made for a test, which goes with this.
    _own: Option<TempDir>,
}

impl Default for Keys {
    /// New ones.
    fn default() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        auth::keys::generate(dir.path(), &SIGNERS).expect("make keys");
        auth::callback::generate(dir.path(), "sandbox").expect("make a secret");
        Self { dir: dir.path().to_owned(), _own: Some(dir) }
    }
}

impl Keys {
    /// Those in a directory.
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), _own: None }
    }

    /// The `auth` section of a service that has these keys.
    pub fn config(&self) -> auth::Config {
        let password = auth::password::Config { wait: PATIENCE, ..Default::default() };
        auth::Config { keys: self.dir.clone(), password, ..Default::default() }
    }

    /// The token of the user `id`.
    pub fn user(&self, id: i64) -> String {
        UserSigner::load(&self.config()).expect("a key").issue(id, Role::User).value
    }

    /// The token of an admin.
    pub fn admin(&self, id: i64) -> String {
        UserSigner::load(&self.config()).expect("a key").issue(id, Role::Admin).value
    }

    /// The token with which the service `name` calls `peer`.
    pub fn service(&self, name: &str, peer: &str) -> String {
        ServiceSigner::load(&self.config(), name).expect("a key").token_for(peer)
    }

    /// What signs callbacks as the payment provider does.
    pub fn provider(&self) -> CallbackKey {
        CallbackKey::load(&self.config(), "sandbox").expect("a secret")
    }

    /// Who of all callers may call a method of the service `name`, such as `mall.user.v1.UserService/Login`.
    ///
    /// # Panics
    ///
    /// Panics if a good token is taken for none, but for callbacks, which are known by their signatures.
    pub async fn admitted(&self, channel: &rpc::Channel, name: &str, method: &str) -> String {
        let mut callers = vec![("anyone", None), ("user", Some(self.user(7))), ("admin", Some(self.admin(8)))];
        callers.extend(SIGNERS.map(|service| (service, Some(self.service(service, name)))));
        let mut admitted = Vec::new();
        for (caller, token) in callers {
            match call(channel, method, token.as_deref()).await {
                Code::Unauthenticated if token.is_none() || method.ends_with("/Callback") => {}
                Code::Unauthenticated => panic!("{method}: the token of {caller} is not accepted"),
                Code::PermissionDenied => {}
                _ => admitted.push(caller),
            }
        }
        admitted.join(" ")
    }
}

/// Calls a method with an empty message.
async fn call(channel: &rpc::Channel, method: &str, token: Option<&str>) -> Code {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("a channel");
    let request = token.map_or_else(|| Request::new(()), |token| with_token(token, ()));
    let path = PathAndQuery::try_from(format!("/{method}")).expect("a path");
    let answer = client.unary(request, path, tonic_prost::ProstCodec::<(), ()>::default()).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// The `server` section of a service on free ports.
pub fn server() -> rpc::server::Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    rpc::server::Config { listen: any, admin: any, timeout: PATIENCE, max_timeout: PATIENCE, ..Default::default() }
}

/// The `pool` section of a service.
pub fn pool() -> db::PoolConfig {
    db::PoolConfig { wait: PATIENCE, ..Default::default() }
}

/// How to call the service at `address`.
pub fn client(address: SocketAddr) -> rpc::client::Config {
    rpc::client::Config { target: address.into(), timeout: PATIENCE, ..Default::default() }
}

/// A service at work in this process.
#[derive(Debug)]
pub struct Running<E> {
    /// A channel to it.
    pub channel: rpc::Channel,
    /// Where it is.
    pub address: SocketAddr,
    lifecycle: Lifecycle,
    served: JoinHandle<Result<(), E>>,
}

impl<E: std::error::Error + Send + 'static> Running<E> {
    /// Serves what has bound `address` and drains with `lifecycle`.
    pub fn new(
        address: SocketAddr,
        lifecycle: Lifecycle,
        serve: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        let channel = rpc::client::connect(&client(address)).expect("a channel");
        Self { channel, address, lifecycle, served: tokio::spawn(serve) }
    }

    /// Drains it and waits for its end.
    ///
    /// # Panics
    ///
    /// Panics if it fails.
    pub async fn stop(self) {
        self.lifecycle.drain();
        self.served.await.expect("no panic").expect("serve");
    }

    /// Ends it at once, in the middle of whatever it does.
    pub async fn kill(&mut self) {
        self.served.abort();
        let _ = (&mut self.served).await;
    }
}

/// The call of someone who has a token.
///
/// # Panics
///
/// Panics if the token cannot be sent.
pub fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a token"));
    request
}

/// The fields that the status says are wrong.
///
/// # Panics
///
/// Panics if it says anything else.
pub fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("details");
    details.field_violations.into_iter().map(|violation| violation.field).collect()
}
