//! PostgreSQL goes away and comes back: Unavailable, then as before, without a restart.

use std::time::Duration;

use db::{Error, Pool, PoolConfig};
use testkit::database::{Server, on_postgres};
use testkit::requirement;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};
use tonic::{Code, Status};

use crate::accounts::{MIGRATIONS, add, balance, deposit, execute};

const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
     where pid <> pg_backend_pid() and datname = current_database()";

#[tokio::test]
async fn idle_connections_that_were_terminated_are_replaced() {
    on_postgres(MIGRATIONS, async |database| {
        let id = add(&database.pool, "1").await.unwrap();
        let other = Pool::new(&database.url.parse().unwrap(), &PoolConfig::default()).unwrap();
        for _ in 0..5 {
            balance(&database.pool, id).await.unwrap();
            execute(&other, TERMINATE).await.unwrap();
            // The news needs a moment; until then a statement may fail, but as Unavailable and once.
            if let Err(error) = balance(&database.pool, id).await {
                assert!(matches!(error, Error::Lost(_)), "{error:?}");
                balance(&database.pool, id).await.unwrap();
            }
        }
    })
    .await;
}

/// Whether a statement of this database sleeps.
async fn sleeps(pool: &Pool) -> bool {
    let sleeping = "select 1 / count(*) from pg_stat_activity \
         where datname = current_database() and state = 'active' and query like 'select pg_sleep%'";
    execute(pool, sleeping).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_dropped_is_ended_by_the_server_too() {
    on_postgres(MIGRATIONS, async |database| {
        let pool = database.pool.clone();
        let sleeper = tokio::spawn(async move { execute(&pool, "select pg_sleep(600)").await });
        while !sleeps(&database.pool).await {
            tokio::task::yield_now().await;
        }
        sleeper.abort();
        sleeper.await.unwrap_err();
        let gone = async { while sleeps(&database.pool).await {} };
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_nobody_ends_is_ended_by_the_server() {
    on_postgres(MIGRATIONS, async |database| {
        let config = PoolConfig { statement_timeout: Duration::from_millis(200), ..Default::default() };
        let pool = Pool::new(&database.url.parse().unwrap(), &config).unwrap();
        let error = execute(&pool, "select pg_sleep(600)").await.unwrap_err();
        assert!(matches!(error, Error::Late(_)), "{error:?}");
        assert_eq!(Status::from(error).code(), Code::DeadlineExceeded);
        add(&pool, "1").await.expect("the connection is as good as before");
    })
    .await;
}

#[test]
fn a_time_that_postgresql_does_not_know_is_refused_at_the_start() {
    for statement_timeout in [Duration::ZERO, Duration::from_secs(30 * 86_400)] {
        let config = PoolConfig { statement_timeout, ..Default::default() };
        let made = Pool::new(&"postgres://127.0.0.1/x".parse().unwrap(), &config);
        assert!(matches!(made, Err(Error::StatementTimeout(_))), "{statement_timeout:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_connection_is_terminated_is_unavailable() {
    on_postgres(MIGRATIONS, async |database| {
        let other = Pool::new(&database.url.parse().unwrap(), &PoolConfig::default()).unwrap();
        let pool = database.pool.clone();
        let sleeper = tokio::spawn(async move { execute(&pool, "select pg_sleep(600)").await });
        while !sleeps(&other).await {
            tokio::task::yield_now().await;
        }
        execute(&other, TERMINATE).await.unwrap();
        let error = sleeper.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Lost(_)), "{error:?}");
        assert_eq!(Status::from(error).code(), Code::Unavailable);
        add(&database.pool, "1").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_and_starts_is_found_again() {
    let mut server = match Server::start(&[]) {
        Ok(server) => server,
        Err(why) => return requirement::missing("postgres", why),
    };
    let config = PoolConfig { size: 4.try_into().unwrap(), wait: Duration::from_secs(30), ..Default::default() };
    let pool = Pool::new(&server.url("postgres").parse().unwrap(), &config).unwrap();
    pool.migrate(MIGRATIONS).await.unwrap();
    let id = add(&pool, "1").await.unwrap();
    let (one, two) = tokio::join!(deposit(&pool, id, 1), deposit(&pool, id, 1));
    one.unwrap();
    two.unwrap();

    server.stop().unwrap();
    for _ in 0..8 {
        let error = balance(&pool, id).await.unwrap_err();
        assert!(matches!(error, Error::Lost(_) | Error::Connect(_)), "{error:?}");
        assert_eq!(Status::from(error).code(), Code::Unavailable);
    }

    server.restart().unwrap();
    for _ in 0..8 {
        assert_eq!(balance(&pool, id).await.unwrap(), Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_first_packet_is_lost_is_made_again() {
    on_postgres(MIGRATIONS, async |database| {
        // It has room for one who is not accepted yet; of all others the packets are dropped.
        let narrow = TcpSocket::new_v4().unwrap();
        narrow.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let narrow = narrow.listen(0).unwrap();
        let address = narrow.local_addr().unwrap().to_string();
        let _first = TcpStream::connect(&address).await.unwrap();
        let server = database.url.split(['@', '/']).nth(3).unwrap().to_owned();
        let url = database.url.replace(&server, &address);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            while let Ok((mut client, _)) = narrow.accept().await {
                let server = TcpStream::connect(&server).await;
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server.unwrap()).await });
            }
        });
        let pool = Pool::new(&url.parse().unwrap(), &PoolConfig::default()).unwrap();
        execute(&pool, "select 1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_server_that_never_was_is_unavailable_at_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://nobody:secret@{free}/nothing");
    let pool = Pool::new(&url.parse().unwrap(), &PoolConfig::default()).unwrap();
    let error = balance(&pool, 1).await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"));
}
