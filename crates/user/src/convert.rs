//! Between the messages of the API and the domain.

use proto::user::v1::{
    ChangePasswordRequest, LoginRequest, RegisterRequest, RegisterResponse, UpdateProfileRequest,
    UpdateProfileResponse, UserInfoResponse,
};
use tonic_types::FieldViolation;

use crate::error::Error;
use crate::model::{
    Credentials, Gender, Mobile, Name, PasswordChange, ProfileChange, Registration, Rule, User, new_password,
    tried_password,
};

impl TryFrom<RegisterRequest> for Registration {
    type Error = Error;

    fn try_from(RegisterRequest { name, gender, mobile, password }: RegisterRequest) -> Result<Self, Error> {
        let mut checks = Checks::default();
        let name = checks.field("name", Name::parse(name));
        let gender = checks.field("gender", Gender::parse(gender));
        let mobile = checks.field("mobile", Mobile::parse(mobile));
        let password = checks.field("password", new_password(password));
        match (name, gender, mobile, password) {
            (Some(name), Some(gender), Some(mobile), Some(password)) => Ok(Self { name, gender, mobile, password }),
            _ => Err(checks.into()),
        }
    }
}

impl TryFrom<LoginRequest> for Credentials {
    type Error = Error;

    fn try_from(LoginRequest { mobile, password }: LoginRequest) -> Result<Self, Error> {
        let mut checks = Checks::default();
        let mobile = checks.field("mobile", Mobile::parse(mobile));
        let password = checks.field("password", tried_password(password));
        match (mobile, password) {
            (Some(mobile), Some(password)) => Ok(Self { mobile, password }),
            _ => Err(checks.into()),
        }
    }
}

impl TryFrom<ChangePasswordRequest> for PasswordChange {
    type Error = Error;

    fn try_from(
        ChangePasswordRequest { old_password, new_password: new }: ChangePasswordRequest,
    ) -> Result<Self, Error> {
        let mut checks = Checks::default();
        let old = checks.field("oldPassword", tried_password(old_password));
        let new = checks.field("newPassword", new_password(new));
        match (old, new) {
            (Some(old), Some(new)) => Ok(Self { old, new }),
            _ => Err(checks.into()),
        }
    }
}

impl TryFrom<UpdateProfileRequest> for ProfileChange {
    type Error = Error;

    fn try_from(UpdateProfileRequest { name, gender }: UpdateProfileRequest) -> Result<Self, Error> {
        let mut checks = Checks::default();
        let name = name.and_then(|name| checks.field("name", Name::parse(name)));
        let gender = gender.and_then(|gender| checks.field("gender", Gender::parse(gender)));
        if checks.broken.is_empty() { Ok(Self { name, gender }) } else { Err(checks.into()) }
    }
}

/// Makes responses whose fields are those of a user: the API has one message for each method.
macro_rules! from_user {
    ($($response:ident),+) => {
        $(impl From<User> for $response {
            fn from(User { id, name, gender, mobile }: User) -> Self {
                Self { id, name: name.into(), gender: gender as i32, mobile: mobile.into() }
            }
        })+
    };
}

from_user!(RegisterResponse, UserInfoResponse, UpdateProfileResponse);

/// Collects every broken rule of a request, so that one answer names them all.
#[derive(Default)]
struct Checks {
    broken: Vec<FieldViolation>,
}

impl Checks {
    fn field<T>(&mut self, field: &str, checked: Result<T, Rule>) -> Option<T> {
        checked.map_err(|rule| self.broken.push(FieldViolation::new(field, rule))).ok()
    }
}

impl From<Checks> for Error {
    fn from(checks: Checks) -> Self {
        Self::Invalid(checks.broken)
    }
}
