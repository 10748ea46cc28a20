//! What a token costs: made, verified, and seen again.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::hint::black_box;
use std::time::Instant;

use auth::{Config, Role, ServiceSigner, UserSigner, Verifier};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

fn measure(what: &str, rounds: u32, mut work: impl FnMut()) {
    for _ in 0..rounds / 10 {
        work();
    }
    let start = Instant::now();
    for _ in 0..rounds {
        work();
    }
    println!("{what:<34} {:>9} ns", start.elapsed().as_nanos() / u128::from(rounds));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    auth::keys::generate(dir.path(), &["user.rpc", "order.rpc"])?;
    let config = Config { keys: dir.path().to_owned(), ..Config::default() };
    let forgetful = Verifier::load(&Config { remembered_tokens: 0, ..config.clone() }, "user.rpc")?;
    let verifier = Verifier::load(&config, "user.rpc")?;
    let users = UserSigner::load(&config)?;
    let order = ServiceSigner::load(&config, "order.rpc")?;

    let bearer = |token: &str| -> Result<HeaderMap, http::header::InvalidHeaderValue> {
        Ok([(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?)].into_iter().collect())
    };
    let user = bearer(&users.issue(1, Role::User).value)?;
    let service = bearer(&order.token_for("user.rpc"))?;
    verifier.caller(&user)?;
    verifier.caller(&service)?;

    measure("sign a user's token", 10_000, || drop(black_box(users.issue(1, Role::User))));
    measure("a service's token, used again", 1_000_000, || drop(black_box(order.token_for("user.rpc"))));
    measure("verify a token never seen", 10_000, || drop(black_box(forgetful.caller(&user))));
    measure("a user's token seen again", 1_000_000, || drop(black_box(verifier.caller(&user))));
    measure("a service's token seen again", 1_000_000, || drop(black_box(verifier.caller(&service))));
    Ok(())
}
