//! The methods of `mall.user.v1.UserService`: validate, call, convert.

use std::net::IpAddr;
use std::time::Duration;

use auth::limit::Limits;
use auth::password::{Passwords, needs_rehash};
use auth::{Caller, Role, Token, UserSigner};
use proto::user::v1::user_service_server::UserService;
use proto::user::v1::{
    ChangePasswordRequest, ChangePasswordResponse, LoginRequest, LoginResponse, RegisterRequest, RegisterResponse,
    UpdateProfileRequest, UpdateProfileResponse, UserInfoRequest, UserInfoResponse,
};
use redact::Secret;
use telemetry::{Tally, metric};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::config::Admin;
use crate::error::{Error, ServeError};
use crate::model::{
    Credentials, Gender, Mobile, Name, PasswordChange, ProfileChange, Registration, User, new_password,
};
use crate::store::{NewUser, Store};

/// How long a login may take longer for hashing its password anew: with the wait for its first hash, less than a call has.
const REHASH: Duration = Duration::from_millis(500);

/// How tries to log in ended.
static LOGINS: Tally = Tally::new(metric::LOGINS);

/// The user service.
pub(crate) struct Users {
    store: Store,
    passwords: Passwords,
    limits: Limits,
    signer: UserSigner,
}

impl Users {
    /// A service over `store`, which signs tokens with the key that `config` names.
    pub(crate) fn new(store: Store, config: &auth::Config) -> Result<Self, ServeError> {
        let passwords = Passwords::new(&config.password);
        let limits = Limits::new(&config.limit);
        LOGINS.show([["succeeded"], ["refused"], ["limited"], ["failed"]]);
        Ok(Self { store, passwords, limits, signer: UserSigner::load(config)? })
    }

    /// Makes the admin's account if nobody has its mobile number.
    pub(crate) async fn ensure_admin(&self, Admin { mobile, password }: Admin) -> Result<(), ServeError> {
        let invalid = |field| move |rule| ServeError::Admin { field, rule };
        let mobile = Mobile::parse(mobile.expose_secret().clone()).map_err(invalid("mobile"))?;
        let admin = Registration {
            name: Name::parse("admin".to_owned()).map_err(invalid("name"))?,
            gender: Gender::Unknown,
            mobile: mobile.clone(),
            password: new_password(password.expose_secret().clone()).map_err(invalid("password"))?,
        };
        let failed = |error: Error| ServeError::MakeAdmin(error.into());
        match self.create(admin, Role::Admin).await {
            Ok(_) => {
                tracing::info!("the admin's account was made");
                Ok(())
            }
            Err(Error::MobileTaken) => match self.store.account(&mobile).await.map_err(failed)? {
                Some(account) if account.role == Role::Admin => Ok(()),
                _ => Err(ServeError::AdminTaken),
            },
            Err(error) => Err(failed(error)),
        }
    }

    async fn create(&self, new: Registration, role: Role) -> Result<User, Error> {
        let Registration { name, gender, mobile, password } = new;
        let password = self.passwords.hash(password).await?;
        self.store.create(NewUser { name, gender, mobile, password, role: role.as_str() }).await
    }

    /// Gives a token for the right password.
    async fn log_in(&self, credentials: Credentials, address: Option<IpAddr>) -> Result<Token, Error> {
        let attempt =
            self.limits.attempt(credentials.mobile.as_str(), address).inspect_err(|_| LOGINS.count(["limited"]))?;
        let token = self.check(credentials).await;
        match &token {
            Ok(_) => LOGINS.count(["succeeded"]),
            Err(Error::WrongCredentials) => {
                LOGINS.count(["refused"]);
                attempt.failed();
            }
            Err(_) => LOGINS.count(["failed"]),
        }
        token
    }

    async fn check(&self, Credentials { mobile, password }: Credentials) -> Result<Token, Error> {
        let Some(account) = self.store.account(&mobile).await? else {
            self.passwords.verify_nothing(password).await?;
            return Err(Error::WrongCredentials);
        };
        if !self.passwords.verify(password.clone(), &account.password).await? {
            return Err(Error::WrongCredentials);
        }
        if needs_rehash(&account.password) {
            // The password is right all the same, and if there is no time now, the next login tries again.
            let rehashed = timeout(REHASH, self.rehash(account.id, password, &account.password)).await;
            if let Ok(Err(error)) = rehashed {
                tracing::warn!(error = &error as &dyn std::error::Error, "hash a password anew");
            }
        }
        Ok(self.signer.issue(account.id, account.role))
    }

    async fn rehash(&self, id: i64, password: Secret<String>, old: &str) -> Result<(), Error> {
        let new = self.passwords.hash(password).await?;
        self.store.replace_password(id, old, &new).await.map(drop)
    }

    /// Wrong old passwords count as failed logins: a stolen token must not serve to guess the password.
    async fn replace_password(&self, id: i64, PasswordChange { old, new }: PasswordChange) -> Result<(), Error> {
        let (mobile, hash) = self.store.password(id).await?;
        let attempt = self.limits.attempt(&mobile, None)?;
        if !self.passwords.verify(old, &hash).await? {
            attempt.failed();
            return Err(Error::WrongPassword);
        }
        let new = self.passwords.hash(new).await?;
        if self.store.replace_password(id, &hash, &new).await? { Ok(()) } else { Err(Error::PasswordChanged) }
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let new = Registration::try_from(request.into_inner())?;
        let user = self.create(new, Role::User).await?;
        Ok(Response::new(user.into()))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let address = rpc::client_address(&request);
        let credentials = Credentials::try_from(request.into_inner())?;
        let token = self.log_in(credentials, address).await?;
        Ok(Response::new(LoginResponse { access_token: token.value, access_expire: token.expires_at }))
    }

    async fn user_info(&self, request: Request<UserInfoRequest>) -> Result<Response<UserInfoResponse>, Status> {
        let id = Caller::of(&request).user_id()?;
        let user = self.store.find(id).await?;
        Ok(Response::new(user.into()))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let id = Caller::of(&request).user_id()?;
        let change = PasswordChange::try_from(request.into_inner())?;
        self.replace_password(id, change).await?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        let id = Caller::of(&request).user_id()?;
        let change = ProfileChange::try_from(request.into_inner())?;
        let user = self.store.update(id, change).await?;
        Ok(Response::new(user.into()))
    }
}
