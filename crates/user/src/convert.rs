//! Between the messages of the API and the domain.

use proto::user::v1::{
    ChangePasswordRequest, LoginRequest, RegisterRequest, RegisterResponse, UpdateProfileRequest,
    UpdateProfileResponse, UserInfoResponse,
};
use rpc::{Checks, Invalid};

use crate::model::{
    Credentials, Gender, Mobile, Name, PasswordChange, ProfileChange, Registration, User, new_password, tried_password,
};

impl TryFrom<RegisterRequest> for Registration {
    type Error = Invalid;

    fn try_from(RegisterRequest { name, gender, mobile, password }: RegisterRequest) -> Result<Self, Invalid> {
        let mut checks = Checks::default();
        let name = checks.field("name", Name::parse(name));
        let gender = checks.field("gender", Gender::parse(gender));
        let mobile = checks.field("mobile", Mobile::parse(mobile));
        let password = checks.field("password", new_password(password));
        checks.done(|| Some(Self { name: name?, gender: gender?, mobile: mobile?, password: password? }))
    }
}

impl TryFrom<LoginRequest> for Credentials {
    type Error = Invalid;

    fn try_from(LoginRequest { mobile, password }: LoginRequest) -> Result<Self, Invalid> {
        let mut checks = Checks::default();
        let mobile = checks.field("mobile", Mobile::parse(mobile));
        let password = checks.field("password", tried_password(password));
        checks.done(|| Some(Self { mobile: mobile?, password: password? }))
    }
}

impl TryFrom<ChangePasswordRequest> for PasswordChange {
    type Error = Invalid;

    fn try_from(
        ChangePasswordRequest { old_password, new_password: new }: ChangePasswordRequest,
    ) -> Result<Self, Invalid> {
        let mut checks = Checks::default();
        let old = checks.field("oldPassword", tried_password(old_password));
        let new = checks.field("newPassword", new_password(new));
        checks.done(|| Some(Self { old: old?, new: new? }))
    }
}

impl TryFrom<UpdateProfileRequest> for ProfileChange {
    type Error = Invalid;

    fn try_from(UpdateProfileRequest { name, gender }: UpdateProfileRequest) -> Result<Self, Invalid> {
        let mut checks = Checks::default();
        let name = name.and_then(|name| checks.field("name", Name::parse(name)));
        let gender = gender.and_then(|gender| checks.field("gender", Gender::parse(gender)));
        checks.done(|| Some(Self { name, gender }))
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
