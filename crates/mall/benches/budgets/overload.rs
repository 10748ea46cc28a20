//! A service with ten times the calls that it can do, over real connections: what it does of them, and how fast.
//!
//! It does four calls at a time, each in 5 ms, which takes no CPU: all of both cores is for the calls that it refuses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::user::v1::UserInfoRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::user_service_server::UserServiceServer;
use testkit::{Told, service};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic::{Code, Status};

use crate::p99;
use crate::report::{Goal, Row, number};

/// Callers that wait for each other, at its peak.
const CALLERS: usize = 64;
const CONNECTIONS: usize = 8;
const TIME: Duration = Duration::from_secs(5);
const TIMES: u32 = 10;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let lifecycle = rpc::Lifecycle::new();
        let server = rpc::Server::bind(service::server(), lifecycle.clone()).await?;
        let address = server.address()?;
        let turns = Arc::new(Semaphore::new(4));
        let work = Told::new(move |_| {
            let turns = Arc::clone(&turns);
            async move {
                let _turn = turns.acquire().await.map_err(|_| Status::internal("closed"))?;
                sleep(Duration::from_millis(5)).await;
                Ok(())
            }
        });
        let serving = tokio::spawn(server.serve(|most| UserServiceServer::new(work).max_decoding_message_size(most)));
        let clients: Vec<Client> = (0..CONNECTIONS)
            .map(|_| Ok(UserServiceClient::new(rpc::client::connect(&service::client(address))?)))
            .collect::<Result<_, rpc::Error>>()?;
        let (peak, slowest) = peak(&clients).await?;
        flood(&clients, f64::from(TIMES) * peak, Duration::from_secs(2)).await?;
        let flooded = flood(&clients, f64::from(TIMES) * peak, TIME).await?;
        lifecycle.drain();
        serving.await??;
        let note = format!(
            "{:.0} of {peak:.0} /s, {:.0} offered, {:.0} refused",
            flooded.done, flooded.offered, flooded.refused
        );
        let budget = format!("at {TIMES} times its peak, what a service does of it");
        Ok(vec![
            Row::new(budget, Goal::AtLeast(80.0), 100.0 * flooded.done / peak, "%").note(note),
            Row::new("the p99 of those, of that at its peak", Goal::AtMost(300.0), 100.0 * flooded.p99 / slowest, "%")
                .note(format!("{} and {} ms, with {CALLERS} callers", number(flooded.p99), number(slowest))),
        ])
    })
}

type Client = UserServiceClient<rpc::Channel>;

/// How a flood went; calls are a second's.
struct Flooded {
    offered: f64,
    done: f64,
    refused: f64,
    /// Of those that were done, in milliseconds.
    p99: f64,
}

/// Milliseconds, and when it was done.
async fn call(mut client: Client) -> Result<(f64, Instant), Status> {
    let began = Instant::now();
    client.user_info(UserInfoRequest {}).await?;
    let done = Instant::now();
    Ok(((done - began).as_secs_f64() * 1e3, done))
}

/// Calls in a second, and the p99 in milliseconds.
async fn peak(clients: &[Client]) -> anyhow::Result<(f64, f64)> {
    let began = Instant::now();
    let calling = clients.iter().cycle().take(CALLERS).cloned().map(|client| async move {
        let mut times = Vec::new();
        while began.elapsed() < TIME {
            times.push(call(client.clone()).await?.0);
        }
        Ok::<_, Status>(times)
    });
    let mut callers: JoinSet<_> = calling.collect();
    let mut times = Vec::new();
    while let Some(done) = callers.join_next().await {
        times.extend(done??);
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of calls is small")]
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    Ok((rate, p99(times)))
}

/// Calls come at this rate, whatever becomes of them.
async fn flood(clients: &[Client], per_second: f64, time: Duration) -> anyhow::Result<Flooded> {
    let (began, mut calls, mut offered) = (Instant::now(), JoinSet::new(), 0_u32);
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut next = clients.iter().cycle();
    while began.elapsed() < time {
        ticks.tick().await;
        while f64::from(offered) < began.elapsed().as_secs_f64() * per_second {
            calls.extend(next.next().map(|client| call(client.clone())));
            offered += 1;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let (mut times, mut refused) = (Vec::new(), 0_u32);
    while let Some(done) = calls.join_next().await {
        match done? {
            // Those that wait when the flood ends are served after it, and are no part of it.
            Ok((took, done)) => times.extend((done < began + time).then_some(took)),
            Err(status) if status.code() == Code::ResourceExhausted => refused += 1,
            Err(status) => anyhow::bail!("neither done nor refused: {status}"),
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of calls is small")]
    let done = times.len() as f64 / seconds;
    let [offered, refused] = [offered, refused].map(|calls| f64::from(calls) / seconds);
    Ok(Flooded { offered, done, refused, p99: p99(times) })
}
