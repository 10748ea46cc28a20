//! What errors tell: what to do, and never a value.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};

use db::{Error, with_conn};
use diesel_async::RunQueryDsl;
use testkit::database::on_each;
use tonic::{Code, Status};

use crate::accounts::{MIGRATIONS, add};

const SECRET: &str = "13800000000";

/// All that a log could print of an error.
fn everything(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    text
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The status of an error, and what its conversion logs.
fn status(error: Error) -> (Status, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let status = tracing::subscriber::with_default(subscriber, || Status::from(error));
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (status, text)
}

#[tokio::test]
async fn a_unique_violation_names_its_constraint_and_no_value() {
    on_each(MIGRATIONS, async |database| {
        add(&database.pool, SECRET).await.unwrap();
        let error = add(&database.pool, SECRET).await.unwrap_err();
        assert!(error.is_unique_violation());
        let expected = if database.is_postgres() { "accounts_mobile_key" } else { "accounts.mobile" };
        assert_eq!(error.constraint(), Some(expected));
        let text = everything(&error);
        assert!(text.contains(&format!("unique_violation of {expected} (SQLSTATE 23505)")), "{text}");
        assert!(!text.contains(SECRET), "{text}");
        let (status, log) = status(error);
        assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("ERROR") && log.contains("unique_violation") && !log.contains(SECRET), "{log}");
    })
    .await;
}

#[tokio::test]
async fn a_value_of_the_wrong_form_is_not_repeated() {
    on_each(MIGRATIONS, async |database| {
        // PostgreSQL repeats the value in its message; SQLite's cast knows no wrong form, its dates neither.
        let text = if database.is_postgres() { "select $1::bigint" } else { "select json($1)" };
        let run = async || -> Result<(), Error> {
            with_conn!(database.pool, conn => {
                let query = diesel::sql_query(text).bind::<diesel::sql_types::Text, _>(format!("\"{SECRET}\" {SECRET}"));
                query.execute(&mut conn).await.map(drop)?
            });
            Ok(())
        };
        let error = run().await.unwrap_err();
        let Error::Query(cause) = &error else { panic!("{error:?}") };
        assert_eq!(cause.name(), "other");
        assert!(!everything(&error).contains(SECRET), "{}", everything(&error));
    })
    .await;
}

#[tokio::test]
async fn what_may_succeed_later_is_unavailable() {
    let (status, log) = status(Error::Busy(std::time::Duration::from_secs(2)));
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "the database is busy or unreachable, try again");
    assert!(log.contains("WARN") && log.contains("within 2s"), "{log}");
}
