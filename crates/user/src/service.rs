//! The methods of `mall.user.v1.UserService`: validate, call, convert.

use std::net::IpAddr;
use std::sync::Arc;

use auth::limit::Limits;
use auth::password::{Passwords, needs_rehash};
use auth::{Caller, Role, Token, UserSigner};
use proto::user::v1::user_service_server::UserService;
use proto::user::v1::{
    ChangePasswordRequest, ChangePasswordResponse, LoginRequest, LoginResponse, RegisterRequest, RegisterResponse,
    UpdateProfileRequest, UpdateProfileResponse, UserInfoRequest, UserInfoResponse,
};
use tonic::{Request, Response, Status};

use crate::config::Admin;
use crate::convert::{Credentials, PasswordChange, ProfileChange, Registration};
use crate::error::{Error, ServeError};
use crate::model::{Gender, User};
use crate::store::{NewUser, Store};

/// The user service.
#[derive(Clone)]
pub(crate) struct Users(Arc<Inner>);

struct Inner {
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
        Ok(Self(Arc::new(Inner { store, passwords, limits, signer: UserSigner::load(config)? })))
    }

    /// Makes the admin's account if nobody has its mobile number.
    pub(crate) async fn ensure_admin(&self, Admin { mobile, password }: Admin) -> Result<(), ServeError> {
        let request = RegisterRequest {
            name: "admin".to_owned(),
            gender: Gender::Unknown as i32,
            mobile: mobile.expose_secret().clone(),
            password: password.expose_secret().clone(),
        };
        let admin = Registration::try_from(request).map_err(|error| ServeError::Admin(error.to_string()))?;
        match self.0.create(admin, Role::Admin).await {
            Ok(_) => tracing::info!("the admin's account was made"),
            Err(Error::MobileTaken) => tracing::debug!("the admin's account was there"),
            Err(error) => return Err(ServeError::Admin(Status::from(error).message().to_owned())),
        }
        Ok(())
    }
}

impl Inner {
    async fn create(&self, new: Registration, role: Role) -> Result<User, Error> {
        let Registration { name, gender, mobile, password } = new;
        let password = self.passwords.hash(password).await?;
        self.store.create(NewUser { name, gender, mobile, password, role: role.as_str() }).await
    }

    /// Gives a token for the right password. A try counts until the password has proved right, and a try that never
    /// came to that, because the database was away, is nobody's fault.
    async fn login(&self, credentials: Credentials, address: Option<IpAddr>) -> Result<Token, Error> {
        let attempt = self.limits.attempt(credentials.mobile.as_str(), address)?;
        let token = self.check(credentials).await;
        if !matches!(token, Err(Error::WrongCredentials)) {
            attempt.succeeded();
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
            let hash = self.passwords.hash(password).await?;
            self.store.replace_password(account.id, &account.password, &hash).await?;
        }
        Ok(self.signer.issue(account.id, account.role))
    }

    /// Wrong old passwords count as failed logins: a stolen token must not serve to guess the password.
    async fn change_password(&self, id: i64, PasswordChange { old, new }: PasswordChange) -> Result<(), Error> {
        let (mobile, hash) = self.store.password(id).await?;
        let attempt = self.limits.attempt(&mobile, None)?;
        if !self.passwords.verify(old, &hash).await? {
            return Err(Error::WrongPassword);
        }
        attempt.succeeded();
        let new = self.passwords.hash(new).await?;
        // Someone else changed it in between: the old password is no longer the old password.
        if self.store.replace_password(id, &hash, &new).await? { Ok(()) } else { Err(Error::WrongPassword) }
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let new = Registration::try_from(request.into_inner())?;
        let user = self.0.create(new, Role::User).await?;
        Ok(Response::new(user.into()))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let address = rpc::client_address(&request);
        let credentials = Credentials::try_from(request.into_inner())?;
        let token = self.0.login(credentials, address).await?;
        Ok(Response::new(LoginResponse { access_token: token.value, access_expire: token.expires_at }))
    }

    async fn user_info(&self, request: Request<UserInfoRequest>) -> Result<Response<UserInfoResponse>, Status> {
        let id = Caller::of(&request).user_id()?;
        let user = self.0.store.find(id).await?;
        Ok(Response::new(user.into()))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let id = Caller::of(&request).user_id()?;
        let change = PasswordChange::try_from(request.into_inner())?;
        self.0.change_password(id, change).await?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        let id = Caller::of(&request).user_id()?;
        let change = ProfileChange::try_from(request.into_inner())?;
        let user = self.0.store.update(id, change).await?;
        Ok(Response::new(user.into()))
    }
}
