//! One span and one measurement for each statement, under the caller's span, without a value.

use std::time::Duration;

use db::with_conn;
use telemetry::testing::{Captured, attribute, install};
use telemetry::{Span, SpanKind, semconv};
use testkit::database::{Database, on_each};

use crate::accounts::{MIGRATIONS, abandon, add, balance, connected, deposit, execute};

const SECRET: &str = "13800000000";

/// Runs `work` in a span of its own and answers the spans it made, in the order of their ends, without that span.
async fn spans_of(captured: &Captured, work: impl Future) -> Vec<opentelemetry_sdk::trace::SpanData> {
    let root = Span::start(SpanKind::Server, "request");
    let id = root.span_context();
    root.run(work).await;
    drop(root);
    let mut spans = captured.trace(id.trace_id());
    let root = spans.pop().unwrap();
    assert_eq!(root.name, "request");
    assert!(spans.iter().all(|span| span.parent_span_id == id.span_id()), "{spans:#?}");
    spans
}

fn names(spans: &[opentelemetry_sdk::trace::SpanData]) -> Vec<&str> {
    spans.iter().map(|span| &*span.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_is_a_client_span_with_its_text() {
    let captured = install(1.0);
    on_each(MIGRATIONS, async |Database { pool, url }| {
        let id = add(&pool, SECRET).await.unwrap();
        let spans = spans_of(&captured, async { balance(&pool, id).await.unwrap() }).await;
        let [span] = spans.as_slice() else { panic!("{spans:#?}") };
        assert_eq!((&*span.name, &span.span_kind), ("SELECT accounts", &SpanKind::Client));
        assert_eq!(attribute(span, semconv::DB_OPERATION_NAME), "SELECT");
        assert_eq!(attribute(span, semconv::DB_COLLECTION_NAME), "accounts");
        assert_eq!(attribute(span, semconv::DB_QUERY_SUMMARY), "SELECT accounts");
        if url.starts_with("postgres") {
            assert_eq!(attribute(span, semconv::DB_SYSTEM_NAME), "postgresql");
            assert_eq!(attribute(span, semconv::SERVER_ADDRESS), "127.0.0.1");
            assert!(attribute(span, semconv::DB_NAMESPACE).starts_with("test_"));
            let text = r#"SELECT "accounts"."balance" FROM "accounts" WHERE ("accounts"."id" = $1) LIMIT $2"#;
            assert_eq!(attribute(span, semconv::DB_QUERY_TEXT).replace("  ", " ").trim(), text);
        } else {
            assert_eq!(attribute(span, semconv::DB_SYSTEM_NAME), "sqlite");
            assert_eq!(attribute(span, semconv::DB_NAMESPACE), url.rsplit('/').next().unwrap());
            assert!(attribute(span, semconv::DB_QUERY_TEXT).contains("`accounts`.`id` = ?"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_shows_its_bounds() {
    let captured = install(1.0);
    on_each(MIGRATIONS, async |database| {
        let id = add(&database.pool, "1").await.unwrap();
        let spans = spans_of(&captured, async { deposit(&database.pool, id, 1).await.unwrap() }).await;
        assert_eq!(names(&spans), ["BEGIN", "SELECT accounts", "UPDATE accounts", "COMMIT"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_on_the_span_and_its_values_are_nowhere() {
    let captured = install(1.0);
    on_each(MIGRATIONS, async |database| {
        add(&database.pool, SECRET).await.unwrap();
        let spans = spans_of(&captured, async { add(&database.pool, SECRET).await.unwrap_err() }).await;
        let [span] = spans.as_slice() else { panic!("{spans:#?}") };
        assert_eq!(span.name, "INSERT accounts");
        assert!(matches!(span.status, opentelemetry::trace::Status::Error { .. }));
        if database.is_postgres() {
            assert_eq!(attribute(span, semconv::DB_RESPONSE_STATUS_CODE), "23505");
            assert_eq!(attribute(span, semconv::ERROR_TYPE), "23505");
        } else {
            assert_eq!(attribute(span, semconv::ERROR_TYPE), "unique_violation");
        }
        assert!(!format!("{span:?}").contains(SECRET), "{span:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_connection_is_a_span_if_it_is_long() {
    let captured = install(1.0);
    on_each(MIGRATIONS, async |database| {
        let pool = connected(&database.url, 1, Duration::from_millis(100)).await;
        let id = add(&pool, "1").await.unwrap();
        let at_once = spans_of(&captured, async { balance(&pool, id).await.unwrap() }).await;
        assert_eq!(names(&at_once), ["SELECT accounts"]);
        let hold = async || -> Result<_, db::Error> {
            Ok(with_conn!(pool, _conn => spans_of(&captured, async { balance(&pool, id).await.unwrap_err() }).await))
        };
        let in_vain = hold().await.unwrap();
        assert_eq!(names(&in_vain), [semconv::DB_WAIT]);
        assert_eq!(attribute(&in_vain[0], semconv::ERROR_TYPE), "timeout");
        let took = in_vain[0].end_time.duration_since(in_vain[0].start_time).unwrap();
        assert!(took >= Duration::from_millis(100), "{took:?}: it begins with the wait");
    })
    .await;
}

/// How many waits were measured, and how many of them were long.
fn waits(pool: &str) -> [f64; 2] {
    let text = telemetry::metrics_text();
    let pool = ("db_client_connection_pool_name", pool);
    let count = |name, labels: &[_]| testkit::exposition::sum(&text, name, labels).unwrap_or_default();
    let all = count("db_client_connection_wait_time_seconds_count", &[pool]);
    [all, all - count("db_client_connection_wait_time_seconds_bucket", &[pool, ("le", "0.001")])]
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_wait_any_longer_is_measured_and_has_a_span() {
    let captured = install(1.0);
    on_each(MIGRATIONS, async |database| {
        let pool = connected(&database.url, 1, Duration::from_secs(60)).await;
        let name = database.url.rsplit('/').next().unwrap();
        let before = waits(name);
        let give_up = async || tokio::time::timeout(Duration::from_millis(20), balance(&pool, 1)).await.unwrap_err();
        let hold = async || -> Result<_, db::Error> {
            Ok(with_conn!(pool, _conn => spans_of(&captured, async { give_up().await }).await))
        };
        let given_up = hold().await.unwrap();
        assert_eq!(names(&given_up), [semconv::DB_WAIT]);
        assert_eq!(attribute(&given_up[0], semconv::ERROR_TYPE), "cancelled");
        let after = waits(name);
        assert_eq!([after[0] - before[0], after[1] - before[1]], [2.0, 1.0], "one was held, one was waited for");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_dropped_ends_its_span() {
    let captured = install(1.0);
    on_each(MIGRATIONS, async |database| {
        execute(&database.pool, "select 1").await.unwrap();
        let spans = spans_of(&captured, abandon(&database)).await;
        let [span] = spans.as_slice() else { panic!("{spans:#?}") };
        assert_eq!(attribute(span, semconv::ERROR_TYPE), "cancelled");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_and_pools_are_measured() {
    on_each(MIGRATIONS, async |database| {
        add(&database.pool, "1").await.unwrap();
        add(&database.pool, "1").await.unwrap_err();
        let text = telemetry::metrics_text();
        for line in [
            r#"db_client_operation_duration_seconds_count{db_collection_name="accounts""#,
            r#"db_client_connection_count{db_client_connection_pool_name="#,
            r#"db_client_connection_pending_requests{"#,
            r#"db_client_connection_wait_time_seconds_count{"#,
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
        let error = if database.is_postgres() { r#"error_type="23505""# } else { r#"error_type="unique_violation""# };
        assert!(text.contains(error), "{text}");
    })
    .await;
}
