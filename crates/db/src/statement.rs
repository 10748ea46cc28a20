//! One statement at work: its span, its metric and, on SQLite, its turn to write.

use std::any::TypeId;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use diesel::QueryResult;
use diesel::result::Error as DieselError;
use futures::Stream;
use futures::future::BoxFuture;
use pin_project_lite::pin_project;
use telemetry::{KeyValue, Span, SpanKind, semconv};
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Kind, QueryError};
use crate::metrics;

/// What is told of a statement.
pub(crate) struct Text {
    /// With placeholders; absent where values may stand in it.
    sql: Option<Arc<str>>,
    operation: Arc<str>,
    table: Option<Arc<str>>,
    /// The span's name: `SELECT users`.
    summary: String,
    /// The attributes of the metric.
    labels: Vec<KeyValue>,
}

impl Text {
    /// Whether SQLite's write lock is needed.
    pub(crate) fn writes(&self) -> bool {
        !matches!(&*self.operation, "SELECT" | "EXPLAIN" | "SAVEPOINT" | "RELEASE" | "COMMIT" | "ROLLBACK")
    }

    fn new(target: &Target, sql: &str) -> Self {
        let operation = sql.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()).unwrap_or_default();
        let operation: Arc<str> = operation.to_ascii_uppercase().into();
        let table = match &*operation {
            "SELECT" | "DELETE" => table_after(sql, " from "),
            "INSERT" => table_after(sql, " into "),
            "UPDATE" => table_after(sql, "update "),
            _ => None,
        };
        let summary = match &table {
            Some(table) => format!("{operation} {table}"),
            None => operation.to_string(),
        };
        let mut labels = vec![
            KeyValue::new(semconv::DB_SYSTEM_NAME, target.system),
            KeyValue::new(semconv::DB_NAMESPACE, target.namespace.clone()),
            KeyValue::new(semconv::DB_OPERATION_NAME, operation.clone()),
        ];
        labels.extend(table.clone().map(|table| KeyValue::new(semconv::DB_COLLECTION_NAME, table)));
        Self { sql: None, operation, table, summary, labels }
    }
}

/// The first table named after `word`: `"users"`, `public.users`, `("users" INNER JOIN ..`.
fn table_after(sql: &str, word: &str) -> Option<Arc<str>> {
    let start = sql.to_ascii_lowercase().find(word)? + word.len();
    let name: String = sql[start..]
        .trim_start_matches(['(', ' '])
        .chars()
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '`'))
        .filter(|c| !matches!(c, '"' | '`'))
        .collect();
    (!name.is_empty()).then(|| name.into())
}

/// The database that the connections of a pool lead to, and the statements seen so far.
pub(crate) struct Target {
    pub(crate) system: &'static str,
    pub(crate) namespace: Arc<str>,
    pub(crate) server: Option<(Arc<str>, u16)>,
    texts: RwLock<HashMap<Key, Arc<Text>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// A query whose type determines its text.
    Query(TypeId),
    /// A word of ours.
    Word(&'static str),
}

impl Target {
    pub(crate) fn new(system: &'static str, namespace: Arc<str>, server: Option<(Arc<str>, u16)>) -> Self {
        Self { system, namespace, server, texts: RwLock::default() }
    }

    /// The text of a query, made once where the query's type determines it.
    pub(crate) fn query(&self, id: Option<TypeId>, sql: impl FnOnce() -> String) -> Arc<Text> {
        let make = || {
            let sql = sql();
            Text { sql: Some(sql.as_str().into()), ..Text::new(self, &sql) }
        };
        match id {
            Some(id) => self.remembered(Key::Query(id), make),
            None => Arc::new(make()),
        }
    }

    /// A statement without values: `BEGIN`.
    pub(crate) fn word(&self, word: &'static str) -> Arc<Text> {
        self.remembered(Key::Word(word), || Text { sql: Some(word.into()), ..Text::new(self, word) })
    }

    /// Statements written by hand, whose text may hold values: only the first word is told.
    pub(crate) fn batch(&self, sql: &str) -> Arc<Text> {
        Arc::new(Text::new(self, sql))
    }

    fn remembered(&self, key: Key, make: impl FnOnce() -> Text) -> Arc<Text> {
        if let Some(text) = self.texts.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(text);
        }
        let text = Arc::new(make());
        self.texts.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&text));
        text
    }
}

/// A statement from its start to its last row.
pub(crate) struct Call {
    text: Arc<Text>,
    span: Span,
    system: &'static str,
    started: Instant,
    /// Of the connection: nobody may use it again.
    broken: Arc<AtomicBool>,
    /// The turn to write, given up when the statement is done.
    pub(crate) turn: Option<OwnedSemaphorePermit>,
    stage: Stage,
}

#[derive(PartialEq, Eq)]
enum Stage {
    /// Not answered: whoever drops the call abandons it.
    Running,
    /// Answered, perhaps with more rows to come.
    Answered,
    Finished,
}

impl Call {
    pub(crate) fn start(target: &Target, text: Arc<Text>, broken: Arc<AtomicBool>) -> Self {
        let span = Span::start(SpanKind::Client, text.summary.clone());
        if span.is_recording() {
            span.set(semconv::DB_SYSTEM_NAME, target.system);
            span.set(semconv::DB_NAMESPACE, target.namespace.clone());
            span.set(semconv::DB_OPERATION_NAME, text.operation.clone());
            if let Some(table) = &text.table {
                span.set(semconv::DB_COLLECTION_NAME, table.clone());
            }
            if let Some(sql) = &text.sql {
                span.set(semconv::DB_QUERY_TEXT, sql.clone());
            }
            if let Some((address, port)) = &target.server {
                span.set(semconv::SERVER_ADDRESS, address.clone());
                span.set(semconv::SERVER_PORT, i64::from(*port));
            }
        }
        let (system, started) = (target.system, Instant::now());
        Self { text, span, system, started, broken, turn: None, stage: Stage::Running }
    }

    /// Ends the span; a lost connection is never used again.
    pub(crate) fn finish(mut self, error: Option<&DieselError>) {
        self.end(error);
    }

    fn end(&mut self, error: Option<&DieselError>) {
        if self.stage == Stage::Finished {
            return;
        }
        self.stage = Stage::Finished;
        let kind = error.map(|error| QueryError::new(error).kind());
        if kind == Some(Kind::Lost) {
            self.broken.store(true, Ordering::Relaxed);
        }
        let code = kind.and_then(Kind::sqlstate).filter(|_| self.system == semconv::POSTGRESQL);
        if let Some(code) = code {
            self.span.set(semconv::DB_RESPONSE_STATUS_CODE, code);
        }
        self.record(kind.map(|kind| code.unwrap_or(kind.name())));
    }

    fn record(&self, error: Option<&'static str>) {
        let seconds = self.started.elapsed().as_secs_f64();
        match error {
            None => metrics::DURATION.record(seconds, &self.text.labels),
            Some(error) => {
                self.span.fail(error);
                let mut labels = self.text.labels.clone();
                labels.push(KeyValue::new(semconv::ERROR_TYPE, error));
                metrics::DURATION.record(seconds, &labels);
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        match self.stage {
            Stage::Running => {
                // The database still works on it: the next user of the connection would wait for that.
                self.broken.store(true, Ordering::Relaxed);
                self.record(Some("cancelled"));
            }
            Stage::Answered => self.end(None),
            Stage::Finished => {}
        }
    }
}

/// The right to write, or why there is none.
pub(crate) type Turn = BoxFuture<'static, QueryResult<Option<OwnedSemaphorePermit>>>;

pin_project! {
    /// A statement's future, which waits for its turn first.
    pub struct Running<F> {
        #[pin]
        inner: Option<F>,
        turn: Option<Turn>,
        call: Option<Call>,
    }
}

impl<F> Running<F> {
    /// `inner` must do nothing before it is polled; without it `turn` is an error.
    pub(crate) fn new(inner: Option<F>, turn: Option<Turn>, call: Call) -> Self {
        Self { inner, turn, call: Some(call) }
    }
}

impl<T, F: Future<Output = QueryResult<T>>> Running<F> {
    fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(QueryResult<T>, Option<Call>)> {
        let this = self.project();
        if let Some(turn) = this.turn {
            let answer = ready!(turn.as_mut().poll(cx));
            *this.turn = None;
            match answer {
                Ok(permit) => {
                    if let Some(call) = this.call {
                        call.turn = permit;
                    }
                }
                Err(error) => return Poll::Ready((Err(error), this.call.take())),
            }
        }
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map(|answer| (answer, this.call.take())),
            None => Poll::Ready((Err(DieselError::BrokenTransactionManager), this.call.take())),
        }
    }
}

pin_project! {
    /// The future of a statement that answers a number of rows.
    pub struct Execute<F> {
        #[pin]
        pub(crate) running: Running<F>,
    }
}

impl<F: Future<Output = QueryResult<usize>>> Future for Execute<F> {
    type Output = QueryResult<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, call) = ready!(self.project().running.poll_answer(cx));
        if let Some(call) = call {
            call.finish(answer.as_ref().err());
        }
        Poll::Ready(answer)
    }
}

pin_project! {
    /// The future of a statement that answers rows.
    pub struct Load<F> {
        #[pin]
        pub(crate) running: Running<F>,
    }
}

impl<S, F: Future<Output = QueryResult<S>>> Future for Load<F> {
    type Output = QueryResult<Rows<S>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, mut call) = ready!(self.project().running.poll_answer(cx));
        match answer {
            Ok(inner) => {
                if let Some(call) = &mut call {
                    call.stage = Stage::Answered;
                }
                Poll::Ready(Ok(Rows { inner, call }))
            }
            Err(error) => {
                if let Some(call) = call {
                    call.finish(Some(&error));
                }
                Poll::Ready(Err(error))
            }
        }
    }
}

pin_project! {
    /// A statement's rows; PostgreSQL tells of most errors only here.
    pub struct Rows<S> {
        #[pin]
        inner: S,
        call: Option<Call>,
    }
}

impl<T, S: Stream<Item = QueryResult<T>>> Stream for Rows<S> {
    type Item = QueryResult<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let row = ready!(this.inner.poll_next(cx));
        match &row {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                if let Some(call) = this.call.take() {
                    call.finish(Some(error));
                }
            }
            None => drop(this.call.take()),
        }
        Poll::Ready(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_summed_up() {
        let target = Target::new(semconv::SQLITE, "user.db".into(), None);
        for (sql, summary, writes) in [
            (r#"SELECT "users"."id" FROM "users" WHERE "users"."id" = $1"#, "SELECT users", false),
            ("SELECT `a`.`id` FROM (`a` INNER JOIN `b` ON `a`.`id` = `b`.`id`)", "SELECT a", false),
            ("select 1", "SELECT", false),
            (r#"INSERT INTO "mall"."users" ("mobile") VALUES ($1)"#, "INSERT mall.users", true),
            ("UPDATE `users` SET `name` = ?", "UPDATE users", true),
            (r#"DELETE FROM "users""#, "DELETE users", true),
            ("with gone as (delete from users returning id) select * from gone", "WITH", true),
            ("BEGIN IMMEDIATE", "BEGIN", true),
            ("ROLLBACK TO SAVEPOINT", "ROLLBACK", false),
            ("", "", true),
        ] {
            let text = target.query(None, || sql.to_owned());
            assert_eq!((text.summary.as_str(), text.writes()), (summary, writes), "{sql}");
            assert_eq!(text.sql.as_deref(), Some(sql));
        }
    }

    #[test]
    fn a_static_query_is_written_once_and_a_batch_never() {
        let target = Target::new(semconv::SQLITE, "user.db".into(), None);
        let id = Some(TypeId::of::<u8>());
        let first = target.query(id, || "SELECT 1".to_owned());
        let again = target.query(id, || unreachable!("it is known"));
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(target.batch("insert into users values ('secret')").sql, None);
    }
}
