//! One statement at work: its span, its metric and, on SQLite, its turn to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use diesel::result::Error as DieselError;
use telemetry::{KeyValue, Span, SpanKind, semconv};
use tokio::sync::OwnedSemaphorePermit;

use crate::error::QueryError;
use crate::metrics;
use crate::text::{Target, Text};

/// A statement from its start to its last row.
pub(crate) struct Call {
    text: Arc<Text>,
    span: Span,
    /// Whether the database's codes of errors are SQLSTATEs.
    sqlstate: bool,
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
            span.set_all(text.attributes());
        }
        let sqlstate = target.system == semconv::POSTGRESQL;
        Self { text, span, sqlstate, started: Instant::now(), broken, turn: None, stage: Stage::Running }
    }

    /// The database has answered; rows may follow.
    pub(crate) fn answered(&mut self) {
        self.stage = Stage::Answered;
    }

    /// Ends the span; a lost connection is never used again.
    pub(crate) fn finish(mut self, error: Option<&DieselError>) {
        self.end(error);
    }

    fn end(&mut self, error: Option<&DieselError>) {
        self.stage = Stage::Finished;
        let Some(error) = error.map(QueryError::new) else { return self.record(None) };
        if error.is_lost() {
            self.broken.store(true, Ordering::Relaxed);
        }
        let code = error.sqlstate().filter(|_| self.sqlstate);
        if let Some(code) = code {
            self.span.set(semconv::DB_RESPONSE_STATUS_CODE, code);
        }
        self.record(Some(code.unwrap_or(error.name())));
    }

    fn record(&self, error: Option<&'static str>) {
        let seconds = self.started.elapsed().as_secs_f64();
        let Some(error) = error else { return self.text.duration().record(seconds) };
        self.span.fail(error);
        let mut labels = self.text.labels().to_vec();
        labels.push(KeyValue::new(semconv::ERROR_TYPE, error));
        metrics::DURATION.record(seconds, &labels);
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
