//! The user service over real tonic, on SQLite and on PostgreSQL: one body for both.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use futures::future::join_all;
use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::*;
use rpc::lifecycle::Lifecycle;
use tempfile::TempDir;
use testkit::database::{Database, on_each, on_sqlite};
use testkit::service::{self, Keys, Running, fields, with_token};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

type Client = UserServiceClient<rpc::Channel>;

/// A running user.rpc over a database of its own.
struct Service {
    client: Client,
    running: Running<user::ServeError>,
    keys: Keys,
}

impl Service {
    async fn start(database: &Database) -> Self {
        Self::configured(database, |_| {}).await
    }

    /// A configuration on free ports.
    fn config(database: &Database, keys: &Keys) -> user::Config {
        user::Config {
            server: service::server(),
            database: database.url.parse().unwrap(),
            pool: service::pool(),
            auth: keys.config(),
            first_user_is_admin: false,
            admin: None,
        }
    }

    async fn configured(database: &Database, change: impl FnOnce(&mut user::Config)) -> Self {
        let keys = Keys::default();
        let mut config = Self::config(database, &keys);
        change(&mut config);
        let lifecycle = Lifecycle::new();
        let server = user::Server::bind(config, lifecycle.clone()).await.unwrap();
        let running = Running::new(server.address().unwrap(), lifecycle, server.serve());
        Self { client: UserServiceClient::new(running.channel.clone()), running, keys }
    }

    async fn register(&self, mobile: &str, password: &str) -> Result<RegisterResponse, Status> {
        let request =
            RegisterRequest { name: "Ann".into(), gender: 2, mobile: mobile.into(), password: password.into() };
        Ok(self.client.clone().register(request).await?.into_inner())
    }

    async fn login(&self, mobile: &str, password: &str) -> Result<LoginResponse, Status> {
        let request = LoginRequest { mobile: mobile.into(), password: password.into() };
        Ok(self.client.clone().login(request).await?.into_inner())
    }

    /// A user who is registered and logged in.
    async fn user(&self, mobile: &str) -> String {
        self.register(mobile, "secret").await.unwrap();
        self.login(mobile, "secret").await.unwrap().access_token
    }

    async fn info(&self, token: &str) -> Result<UserInfoResponse, Status> {
        Ok(self.client.clone().user_info(with_token(token, UserInfoRequest {})).await?.into_inner())
    }

    async fn change_password(&self, token: &str, old: &str, new: &str) -> Result<(), Status> {
        let request = ChangePasswordRequest { old_password: old.into(), new_password: new.into() };
        self.client.clone().change_password(with_token(token, request)).await.map(drop)
    }

    async fn update(
        &self,
        token: &str,
        name: Option<&str>,
        gender: Option<i32>,
    ) -> Result<UpdateProfileResponse, Status> {
        let request = UpdateProfileRequest { name: name.map(str::to_owned), gender };
        Ok(self.client.clone().update_profile(with_token(token, request)).await?.into_inner())
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

/// What the caller of `token` may do, as the token says it.
fn role(token: &str) -> String {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice::<serde_json::Value>(&json).unwrap()["role"].as_str().unwrap().to_owned()
}

async fn on_service(test: impl AsyncFn(&Service)) {
    on_each(user::MIGRATIONS, async |database| {
        let service = Service::start(&database).await;
        test(&service).await;
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_registers_logs_in_and_sees_themselves() {
    on_service(async |service| {
        let registered = service.register("15838607661", "secret").await.unwrap();
        assert_eq!(registered, RegisterResponse { id: 1, name: "Ann".into(), gender: 2, mobile: "15838607661".into() });
        let before = unix_now();
        let login = service.login("15838607661", "secret").await.unwrap();
        assert!((before + 86_400..=unix_now() + 86_400).contains(&login.access_expire));
        let info = service.info(&login.access_token).await.unwrap();
        assert_eq!(info, UserInfoResponse { id: 1, name: "Ann".into(), gender: 2, mobile: "15838607661".into() });
    })
    .await;
}

fn unix_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_register_one_mobile_one_wins() {
    on_service(async |service| {
        let tries = join_all((0..16).map(|_| service.register("15838607661", "secret"))).await;
        let (won, lost): (Vec<_>, Vec<_>) = tries.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for status in lost.into_iter().map(Result::unwrap_err) {
            assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
            assert!(!status.message().contains("15838607661"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_field_of_a_registration_is_named() {
    on_service(async |service| {
        let bad = RegisterRequest { name: " ".into(), gender: 3, mobile: "none".into(), password: "12345".into() };
        let status = service.client.clone().register(bad).await.unwrap_err();
        assert_eq!(fields(&status), ["name", "gender", "mobile", "password"]);
        assert!(!format!("{status:?}").contains("12345"), "a refused password is not repeated");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_mobile_and_wrong_password_are_one_answer() {
    on_service(async |service| {
        service.register("15838607661", "secret").await.unwrap();
        let wrong = service.login("15838607661", "secrets").await.unwrap_err();
        let unknown = service.login("15838607662", "secret").await.unwrap_err();
        assert_eq!(wrong.code(), Code::Unauthenticated);
        assert_eq!(
            (wrong.code(), wrong.message(), wrong.details()),
            (unknown.code(), unknown.message(), unknown.details())
        );
        let malformed = service.login("", &"x".repeat(129)).await.unwrap_err();
        assert_eq!(fields(&malformed), ["mobile", "password"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_per_mobile() {
    on_service(async |service| {
        service.register("15838607661", "secret").await.unwrap();
        service.register("15838607662", "secret").await.unwrap();
        for _ in 0..20 {
            service.login("15838607661", "secret").await.expect("the right password is never too often");
        }
        for _ in 0..5 {
            assert_eq!(service.login("15838607661", "guess!").await.unwrap_err().code(), Code::Unauthenticated);
        }
        let refused = service.login("15838607661", "secret").await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
        service.login("15838607662", "secret").await.expect("another user is not held up");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_per_address() {
    on_each(user::MIGRATIONS, async |database| {
        let service = Service::configured(&database, |config| {
            config.auth.limit.address_tries = 3.try_into().unwrap();
            config.auth.limit.address_period = Duration::from_secs(3600);
        })
        .await;
        let from = async |address: &str, mobile: &str| {
            let mut request = Request::new(LoginRequest { mobile: mobile.into(), password: "guess!".into() });
            request.metadata_mut().insert(rpc::CLIENT_ADDRESS, address.parse().unwrap());
            service.client.clone().login(request).await.unwrap_err().code()
        };
        let mut codes = vec![];
        for mobile in ["15838607661", "15838607662", "15838607663", "15838607664", "15838607665", "15838607666"] {
            codes.push(from("192.0.2.1", mobile).await);
        }
        assert!(codes[..3].iter().all(|code| *code == Code::Unauthenticated), "{codes:?}");
        assert!(codes[3..].iter().all(|code| *code == Code::ResourceExhausted), "{codes:?}");
        assert_eq!(from("192.0.2.2", "15838607667").await, Code::Unauthenticated);
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_by_whoever_knows_it() {
    on_service(async |service| {
        let token = service.user("15838607661").await;
        let wrong = service.change_password(&token, "guess!", "better").await.unwrap_err();
        assert_eq!(fields(&wrong), ["oldPassword"]);
        let short = service.change_password(&token, "secret", "short").await.unwrap_err();
        assert_eq!(fields(&short), ["newPassword"]);
        service.change_password(&token, "secret", "better").await.unwrap();
        assert_eq!(service.login("15838607661", "secret").await.unwrap_err().code(), Code::Unauthenticated);
        service.login("15838607661", "better").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_change_a_password_at_once_one_wins() {
    on_service(async |service| {
        let token = service.user("15838607661").await;
        let changes = ["second", "third!", "fourth"].map(|new| service.change_password(&token, "secret", new));
        let done: Vec<_> = join_all(changes).await.into_iter().filter(Result::is_ok).collect();
        assert_eq!(done.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_does_not_serve_to_guess_the_password() {
    on_service(async |service| {
        let token = service.user("15838607661").await;
        for _ in 0..5 {
            let wrong = service.change_password(&token, "guess!", "better").await.unwrap_err();
            assert_eq!(fields(&wrong), ["oldPassword"]);
        }
        let refused = service.change_password(&token, "secret", "better").await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_changes_where_it_is_told_to() {
    on_service(async |service| {
        let token = service.user("15838607661").await;
        let renamed = service.update(&token, Some("Bea"), None).await.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.gender), ("Bea", 2));
        let zero = service.update(&token, None, Some(0)).await.unwrap();
        assert_eq!((zero.name.as_str(), zero.gender), ("Bea", 0), "zero is a value");
        let same = service.update(&token, None, None).await.unwrap();
        assert_eq!(same, zero);
        let bad = service.update(&token, Some(""), Some(-1)).await.unwrap_err();
        assert_eq!(fields(&bad), ["name", "gender"]);
        let info = service.info(&token).await.unwrap();
        assert_eq!((info.name.as_str(), info.gender), ("Bea", 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_outlives_its_account_harmlessly() {
    on_each(user::MIGRATIONS, async |database| {
        let service = Service::start(&database).await;
        let token = service.keys.user(77);
        assert_eq!(service.info(&token).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(service.update(&token, Some("x"), None).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(service.change_password(&token, "secret", "better").await.unwrap_err().code(), Code::NotFound);
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_user_is_let_in() {
    on_each(user::MIGRATIONS, async |database| {
        let service = Service::start(&database).await;
        let of_service = service.keys.service("order.rpc", "user.rpc");
        let good = service.user("15838607661").await;
        let forged = format!("{}x", &good[..good.len() - 1]);
        let none = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
        for (token, code) in [
            ("", Code::Unauthenticated),
            ("garbage", Code::Unauthenticated),
            (&forged, Code::Unauthenticated),
            (&none, Code::Unauthenticated),
            (&of_service, Code::PermissionDenied),
        ] {
            assert_eq!(service.info(token).await.unwrap_err().code(), code, "info {token}");
            assert_eq!(service.update(token, Some("x"), None).await.unwrap_err().code(), code, "update {token}");
            assert_eq!(
                service.change_password(token, "secret", "better").await.unwrap_err().code(),
                code,
                "password {token}"
            );
        }
        let missing = service.client.clone().user_info(UserInfoRequest {}).await.unwrap_err();
        assert_eq!(missing.code(), Code::Unauthenticated);
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_user_is_the_admin_where_that_is_wanted() {
    on_each(user::MIGRATIONS, async |database| {
        let service = Service::configured(&database, |config| config.first_user_is_admin = true).await;
        let mobiles: Vec<_> = (0..8).map(|n| format!("1583860766{n}")).collect();
        for registered in join_all(mobiles.iter().map(|mobile| service.register(mobile, "secret"))).await {
            registered.unwrap();
        }
        let tokens = join_all(mobiles.iter().map(|mobile| service.login(mobile, "secret"))).await;
        let roles: Vec<_> = tokens.into_iter().map(|token| role(&token.unwrap().access_token)).collect();
        assert_eq!(roles.iter().filter(|role| *role == "admin").count(), 1, "{roles:?}");
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_names_the_admin() {
    on_each(user::MIGRATIONS, async |database| {
        let secret = TempDir::new().unwrap();
        std::fs::write(secret.path().join("mobile"), "15838607660\n").unwrap();
        std::fs::write(secret.path().join("password"), "open sesame\n").unwrap();
        for _ in 0..2 {
            let service = Service::configured(&database, |config| config.admin = Some(secret.path().to_owned())).await;
            let token = service.login("15838607660", "open sesame").await.unwrap().access_token;
            assert_eq!(role(&token), "admin");
            service.stop().await;
        }
        let service = Service::start(&database).await;
        assert_eq!(role(&service.user("15838607661").await), "user");
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_says_what_is_wrong() {
    on_sqlite(user::MIGRATIONS, async |database| {
        let secret = TempDir::new().unwrap();
        let admin = Some(secret.path().to_owned());
        let keys = Keys::default();
        let config = user::Config { admin, ..Service::config(&database, &keys) };
        let error = user::serve(config.clone(), Lifecycle::new()).await.unwrap_err().to_string();
        assert!(error.contains("mobile") && error.contains("`admin`"), "{error}");

        std::fs::write(secret.path().join("mobile"), "letters").unwrap();
        std::fs::write(secret.path().join("password"), "hunter2").unwrap();
        let error = user::serve(config, Lifecycle::new()).await.unwrap_err().to_string();
        assert!(error.contains("mobile must be") && !error.contains("hunter2"), "{error}");
    })
    .await;
}

/// The hash of `secret` with less memory than is used today.
const WEAK: &str = "$argon2id$v=19$m=64,t=2,p=1$GVWk5WYToe0grscovrqeYg$CkS3g/HyVkIlagM0StkeQMYo6gAXSPCiFEzLvXVC4B0";

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_hash_is_made_anew_at_login_and_never_in_its_way() {
    on_each(user::MIGRATIONS, async |database| {
        let service = Service::start(&database).await;
        service.register("15838607661", "secret").await.unwrap();
        let run = async |sql: &str| -> Result<(), db::Error> {
            db::with_conn!(database.pool, conn => conn.batch_execute(sql).await?);
            Ok(())
        };
        let is_weak = async || -> Result<bool, db::Error> {
            Ok(db::with_conn!(database.pool, conn => {
                let weak = sql::<Bool>("exists (select 1 from users where password = '").sql(WEAK).sql("')");
                diesel::select(weak).get_result(&mut conn).await?
            }))
        };
        let weaken = format!("update users set password = '{WEAK}'");
        run(&weaken).await.unwrap();
        assert!(is_weak().await.unwrap());
        service.login("15838607661", "secret").await.unwrap();
        assert!(!is_weak().await.unwrap());

        run(&weaken).await.unwrap();
        let refuse = if database.is_postgres() {
            "alter table users add constraint frozen check (password like '$argon2id$v=19$m=64,%')"
        } else {
            "create trigger frozen before update on users begin select raise(abort, 'frozen'); end"
        };
        run(refuse).await.unwrap();
        service.login("15838607661", "secret").await.unwrap();
        assert!(is_weak().await.unwrap());
        assert_eq!(service.login("15838607661", "guess").await.unwrap_err().code(), Code::Unauthenticated);
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_logins_at_once_hold_nobody_up() {
    on_each(user::MIGRATIONS, async |database| {
        let service =
            Service::configured(&database, |config| config.auth.limit.address_tries = 1000.try_into().unwrap()).await;
        let token = service.user("15838607661").await;
        // Each costs a hash: of an unknown mobile as much as of a known one.
        let mobiles: Vec<_> = (0..200).map(|n| format!("15900000{n:03}")).collect();
        let logins = join_all(mobiles.iter().map(|mobile| service.login(mobile, "secret")));
        let mut logins = Box::pin(logins);
        // While they wait for their turn, other calls are answered.
        let mut answered = 0;
        let results = loop {
            tokio::select! {
                results = &mut logins => break results,
                info = service.info(&token) => { info.unwrap(); answered += 1; }
            }
        };
        assert!(answered > 2, "only {answered} other calls were answered in the meantime");
        drop(logins);
        let statuses: Vec<_> = results.into_iter().map(Result::unwrap_err).collect();
        for status in statuses {
            assert_eq!(status.code(), Code::Unauthenticated, "each has its turn: {status:?}");
        }
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admins_number_must_not_be_anyone_elses() {
    on_each(user::MIGRATIONS, async |database| {
        let service = Service::start(&database).await;
        service.register("15838607660", "secret").await.unwrap();
        service.stop().await;
        let secret = TempDir::new().unwrap();
        std::fs::write(secret.path().join("mobile"), "15838607660").unwrap();
        std::fs::write(secret.path().join("password"), "open sesame").unwrap();
        let keys = Keys::default();
        let config = Service::config(&database, &keys);
        let error =
            user::serve(user::Config { admin: Some(secret.path().to_owned()), ..config }, Lifecycle::new()).await;
        assert!(error.unwrap_err().to_string().contains("no admin's"));

        let service = Service::configured(&database, |config| config.first_user_is_admin = true).await;
        assert_eq!(role(&service.user("15838607661").await), "user", "the first user was there before");
        service.stop().await;
    })
    .await;
}
