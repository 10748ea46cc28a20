//! The users of a load: each registers and logs in before it begins, and again before the token ends.

use std::io::Write as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proto::user::v1::{LoginResponse, RegisterResponse};

use super::operation::Crowd;
use super::progress::Progress;
use crate::shop::{Account, Shop, Token};

/// How many register at one time: each makes the mall hash a password twice, which is slow on purpose.
const AT_ONE_TIME: usize = 4;

/// How long until a login that failed is tried again, and how often at most all users log in.
const PAUSE: Duration = Duration::from_secs(1);

/// Someone who shops.
pub(super) struct User {
    account: Account,
    session: RwLock<Session>,
}

struct Session {
    token: Token,
    /// When half of the token's life is over.
    renew: SystemTime,
}

/// Makes the accounts and logs them in.
pub(super) async fn register(shop: &Shop, count: u32, progress: &Progress) -> anyhow::Result<Vec<User>> {
    let registering = stream::iter(0..count).map(|_| async {
        let account = Account::random();
        let register = async {
            shop.send(account.register()?).await?.read::<RegisterResponse>()?;
            log_in(shop, &account).await
        };
        let session = RwLock::new(register.await.context("set up a user")?);
        progress.advance();
        anyhow::Ok(User { account, session })
    });
    let users = registering.buffer_unordered(AT_ONE_TIME).try_collect().await;
    progress.end();
    users
}

impl User {
    pub(super) fn token(&self) -> Token {
        self.session.read().unwrap_or_else(PoisonError::into_inner).token.clone()
    }

    fn renew(&self) -> SystemTime {
        self.session.read().unwrap_or_else(PoisonError::into_inner).renew
    }
}

/// Logs the users in again, one after the other, when half of the life of their tokens is over.
pub(super) async fn renew(crowd: Arc<Crowd>) {
    loop {
        for user in crowd.users() {
            let due = user.renew().duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(due).await;
            match log_in(crowd.shop(), &user.account).await {
                Ok(session) => *user.session.write().unwrap_or_else(PoisonError::into_inner) = session,
                // The token is still good for as long again.
                Err(error) => {
                    let _ = writeln!(std::io::stderr(), "a user cannot log in again: {error:#}");
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn log_in(shop: &Shop, account: &Account) -> anyhow::Result<Session> {
    let login = shop.send(account.log_in()?).await?.read::<LoginResponse>()?;
    let now = SystemTime::now();
    let ends = UNIX_EPOCH + Duration::from_secs(login.access_expire.unsigned_abs());
    let life = ends.duration_since(now).unwrap_or_default();
    Ok(Session { token: Token::new(&login)?, renew: now + life / 2 })
}
