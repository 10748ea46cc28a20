//! The users of a load: each registers and logs in before it begins.

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use proto::user::v1::{LoginResponse, RegisterResponse};

use crate::shop::{Account, Shop, Token};

/// How many register at one time: each makes the mall hash a password twice, which is slow on purpose.
const AT_ONE_TIME: usize = 4;

/// Makes the accounts and answers their tokens.
pub(super) async fn register(shop: &Shop, count: u32, bar: &ProgressBar) -> anyhow::Result<Vec<Token>> {
    let registering = stream::iter(0..count).map(|_| async {
        let token = log_in(shop).await.context("set up a user")?;
        bar.inc(1);
        anyhow::Ok(token)
    });
    let tokens = registering.buffer_unordered(AT_ONE_TIME).try_collect().await;
    bar.finish_and_clear();
    tokens
}

async fn log_in(shop: &Shop) -> anyhow::Result<Token> {
    let account = Account::random();
    shop.send(account.register()?).await?.read::<RegisterResponse>()?;
    Ok(Token::new(&shop.send(account.log_in()?).await?.read::<LoginResponse>()?)?)
}
