//! A statement's futures: its turn to write, its answer, its rows.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use diesel::QueryResult;
use diesel::result::Error as DieselError;
use futures::Stream;
use futures::future::BoxFuture;
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use crate::sqlite;
use crate::statement::Call;

/// The right to write, or why there is none.
pub(crate) type Turn = BoxFuture<'static, QueryResult<Option<OwnedSemaphorePermit>>>;

pin_project! {
    /// A statement's future, which waits for its turn first.
    pub struct Running<F> {
        #[pin]
        inner: Option<F>,
        turn: Option<Turn>,
        call: Option<Call>,
        at_once: bool,
    }
}

impl<F> Running<F> {
    /// `inner` must do nothing before it is polled; without it `turn` is an error. SQLite does it on the thread that polls
    /// it where that is to be `at_once`.
    pub(crate) fn new(inner: Option<F>, turn: Option<Turn>, call: Call, at_once: bool) -> Self {
        Self { inner, turn, call: Some(call), at_once }
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
            Some(inner) => {
                let answer = sqlite::at_once(*this.at_once, || inner.poll(cx));
                answer.map(|answer| (answer, this.call.take()))
            }
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
                    call.answered();
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
