//! Writing to an HTTP/2 connection what many calls have to say in one system call.
//!
//! A call that has something to write wakes the task of its connection, which tokio runs next: each of a dozen calls that
//! are ready at one time would be written alone, and the peer woken for it alone. A connection that waits until what else is
//! ready has run finds the others' there as well: what is ready on its own worker, and no longer than [`MANY`] times of being
//! asked. grpc-go gives way before small writes too (`runtime.Gosched` in its `controlbuf.go`).

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Bytes that are worth a system call of their own: half of what h2 puts together. It does so with heads, trailers and
/// messages below 256 bytes; longer ones come as a slice of their own, and are written at once.
const ENOUGH: usize = 8 * 1024;

/// A write that is asked for more often than this waits no longer: the peer is to begin with the first calls while others are
/// still made ready here.
const MANY: u32 = 4;

/// A connection that writes once all else that is ready has run.
#[derive(Debug)]
pub(crate) struct Batched<T> {
    inner: T,
    turn: Arc<Turn>,
    /// Makes the turn come.
    turn_waker: Waker,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// There is something to write, which was asked for so often, and it waits for its turn.
    Waiting(u32),
    /// It had its turn, and the system has not taken all of it yet.
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
        Self { inner, turn_waker: Waker::from(Arc::clone(&turn)), turn, state: State::Idle }
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
                let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&self.turn_waker));
                1
            }
        };
        self.state = State::Waiting(asked);
        if asked > MANY || self.turn.has_come.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes note of a write of so many bytes.
    fn written(&mut self, bytes: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let is_whole = matches!(written, Poll::Ready(Ok(count)) if count == bytes);
        self.state = if is_whole { State::Idle } else { State::Writing };
        written
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Batched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, bytes.len()));
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.iter().map(|slice| slice.len()).sum();
        // h2 puts nothing more together once there is a long message.
        ready!(self.poll_turn(cx, if bytes.len() > 1 { ENOUGH } else { count }));
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.written(count, written)
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
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    use bytes::Bytes;
    use futures::future::join_all;
    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::client::conn::http2 as client;
    use hyper::server::conn::http2 as server;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_util::io::InspectWriter;

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

    /// How many writes a connection takes to answer eight calls.
    async fn writes<T>(around: fn(InspectWriter<DuplexStream, Count>) -> T) -> usize
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (near, far) = duplex(64 * 1024);
        let writes = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&writes);
        let count: Count = Box::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let far = TokioIo::new(around(InspectWriter::new(far, count)));
        let answer = service_fn(async |_| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
        tokio::spawn(server::Builder::new(TokioExecutor::new()).serve_connection(far, answer));
        let (mut sender, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let mut call = || sender.send_request(Request::get("http://peer/").body(Empty::<Bytes>::new()).unwrap());
        call().await.unwrap();
        let before = writes.load(Ordering::Relaxed);
        for answer in join_all((0..8).map(|_| call())).await {
            assert!(answer.unwrap().status().is_success());
        }
        writes.load(Ordering::Relaxed) - before
    }

    type Count = Box<dyn FnMut(&[u8]) + Send>;

    // One worker, as each process of `mall up` on two cores has.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn answers_that_are_ready_at_one_time_are_written_at_one_time() {
        let both = tokio::spawn(async { (writes(|io| io).await, writes(Batched::new).await) });
        let (alone, batched) = both.await.unwrap();
        assert!(2 * batched <= alone, "{batched} in place of {alone} writes");
    }
}
