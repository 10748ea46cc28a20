//! How often the hot path asks for memory: a call to user.rpc and a request that user.api makes such a call for, each with
//! all that is done for it in Rust, on both sides. Counts, unlike times, are the same on every machine. Telemetry is not set
//! up, and what SQLite does in C is not counted.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::alloc::System;

use axum::body::Body;
use gateway::{Answers, Api};
use http::{Request, header};
use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::{LoginRequest, RegisterRequest, UserInfoRequest};
use rpc::Lifecycle;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use testkit::http::Error;
use testkit::service::{self, Keys, Running, with_token};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CALLS: u32 = 2000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (dir, keys) = (tempfile::tempdir()?, Keys::default());
    let url = format!("sqlite:{}", dir.path().join("user.db").display()).parse()?;
    let pool = service::pool();
    db::Pool::new(&url, &pool)?.migrate(user::MIGRATIONS).await?;
    let (server, auth) = (service::server(), keys.config());
    let config = user::Config { server, database: url, pool, auth, first_user_is_admin: false, admin: None };
    let lifecycle = Lifecycle::new();
    let server = user::Server::bind(config, lifecycle.clone()).await?;
    let running = Running::new(server.address()?, lifecycle.clone(), server.serve());

    let mut client = UserServiceClient::new(running.channel.clone());
    let (mobile, password) = ("15838607661".to_owned(), "secret-12345".to_owned());
    let name = "Ann".to_owned();
    client.register(RegisterRequest { name, gender: 2, mobile: mobile.clone(), password: password.clone() }).await?;
    let token = client.login(LoginRequest { mobile, password }).await?.into_inner().access_token;

    let call = async || client.clone().user_info(with_token(&token, UserInfoRequest {})).await.map(drop);
    measure("a call to user.rpc", async || Ok(call().await?)).await?;

    let answers = Answers::new(Api::User, running.channel.clone(), &gateway::Config::default(), lifecycle)?;
    let bearer = format!("Bearer {token}");
    let request = async || {
        let request = Request::post("/api/user/userinfo").header(header::AUTHORIZATION, &bearer);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from("{}"))?;
        let answer = answers.clone().answer(request).await?;
        let status = answer.status();
        axum::body::to_bytes(answer.into_body(), usize::MAX).await?;
        if status.is_success() { Ok(()) } else { Err(format!("it was answered {status}").into()) }
    };
    measure("a request to user.api", request).await?;
    running.stop().await;
    Ok(())
}

async fn measure(what: &str, work: impl AsyncFn() -> Result<(), Error>) -> Result<(), Error> {
    for _ in 0..CALLS / 10 {
        work().await?;
    }
    let region = Region::new(MEMORY);
    for _ in 0..CALLS {
        work().await?;
    }
    let change = region.change();
    let each = |count: usize| count as f64 / f64::from(CALLS);
    let (calls, bytes) = (each(change.allocations + change.reallocations), each(change.bytes_allocated));
    println!("{what:<24} {calls:>7.1} allocations of {bytes:.0} bytes");
    Ok(())
}
