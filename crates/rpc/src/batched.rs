//! Writing to an HTTP/2 connection what many calls have to say in one system call.
//!
//! A call that has something to write wakes the task of its connection, which tokio runs next: each of a dozen calls that
//! are ready at one time would be written alone, its head even without its message, and the peer woken for each. A connection
//! that waits until all else that is ready has run finds the others' there as well. grpc-go gives way before small writes
//! too (`runtime.Gosched` in its `controlbuf.go`).

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Bytes that are worth a system call of their own: half of what h2 puts together.
const ENOUGH: usize = 8 * 1024;

/// So many wake-ups are waited for: the peer is to begin with the first calls while others are still made ready here.
const MANY: u32 = 4;

/// A connection that writes once all else that is ready has run.
#[derive(Debug)]
pub(crate) struct Batched<T> {
    inner: T,
    turn: Arc<Turn>,
    /// Has the turn come.
    come: Waker,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// There is something to write, which so many calls have asked for, and it waits for its turn.
    Waiting(u32),
    /// It had its turn, and the system takes no more for now.
    Writing,
}

/// The turn of a connection to write. Whatever else wakes its task does not make it come.
#[derive(Debug, Default)]
struct Turn {
    has_come: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.has_come.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<T> Batched<T> {
    pub(crate) fn new(inner: T) -> Self {
        let turn = Arc::<Turn>::default();
        Self { inner, come: Waker::from(Arc::clone(&turn)), turn, state: State::Idle }
    }

    /// Waits for the turn of a write of so many bytes.
    fn poll_turn(&mut self, cx: &Context<'_>, bytes: usize) -> Poll<()> {
        if self.state == State::Writing || bytes >= ENOUGH {
            return Poll::Ready(());
        }
        self.turn.task.register(cx.waker());
        let asked = match self.state {
            State::Waiting(asked) => asked + 1,
            _ => {
                self.turn.has_come.store(false, Ordering::Relaxed);
                // Asked once, it wakes after all others; at once where there is no runtime.
                let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&self.come));
                1
            }
        };
        self.state = State::Waiting(asked);
        if asked > MANY || self.turn.has_come.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn written<R>(&mut self, written: Poll<R>) -> Poll<R> {
        self.state = if written.is_pending() { State::Writing } else { State::Idle };
        written
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Batched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, bytes.len()));
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // h2 puts nothing more together once there is a long message.
        let count = if bytes.len() > 1 { ENOUGH } else { bytes.iter().map(|slice| slice.len()).sum() };
        ready!(self.poll_turn(cx, count));
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Batched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: Connected> Connected for Batched<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> T::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// One end of a connection, and whether another task has run that was ready before.
    fn beside_another() -> (Batched<DuplexStream>, DuplexStream, Arc<AtomicBool>) {
        let (near, far) = duplex(64 * 1024);
        let has_run = Arc::<AtomicBool>::default();
        let told = Arc::clone(&has_run);
        tokio::spawn(async move { told.store(true, Ordering::Relaxed) });
        (Batched::new(near), far, has_run)
    }

    #[tokio::test]
    async fn a_small_write_lets_others_go_first_and_a_large_one_does_not() {
        let (mut connection, _far, has_run) = beside_another();
        connection.write_all(&[0; ENOUGH]).await.unwrap();
        assert!(!has_run.load(Ordering::Relaxed));
        connection.write_all(b"x").await.unwrap();
        assert!(has_run.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_write_that_many_ask_for_waits_no_longer() {
        let (mut connection, _far, has_run) = beside_another();
        let mut polls = 0;
        let mut poll = || {
            polls += 1;
            Pin::new(&mut connection).poll_write(&mut Context::from_waker(Waker::noop()), b"x").is_ready()
        };
        while !poll() {}
        assert_eq!(polls, MANY + 1);
        assert!(!has_run.load(Ordering::Relaxed));
    }

    #[test]
    fn without_a_runtime_nothing_waits() {
        let mut connection = Batched::new(Vec::new());
        let written = Pin::new(&mut connection).poll_write(&mut Context::from_waker(Waker::noop()), b"x");
        assert!(matches!(written, Poll::Ready(Ok(1))));
    }
}
