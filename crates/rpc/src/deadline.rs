//! The time by which a call must be answered: read from `grpc-timeout`, kept beside the call, passed on to every
//! call that is made for it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// The header in which gRPC carries the time left, such as `1500m`.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `future` with `deadline` in force: [`current`] sees it, and so does every client called within.
pub fn scope<F: Future>(deadline: Instant, future: F) -> impl Future<Output = F::Output> {
    DEADLINE.scope(deadline, future)
}

/// When the call that is being handled must be answered; `None` outside of any call.
pub fn current() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

/// The time left for the call that is being handled, zero when it is over; `None` outside of any call.
pub fn remaining() -> Option<Duration> {
    current().map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// The status of a call whose time is over.
pub fn exceeded() -> Status {
    Status::deadline_exceeded("the call took longer than its deadline allows")
}

/// The time that a caller gives, if it says so; an error if what it says is not gRPC's
/// [timeout](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): 1 to 8 digits and one of `HMSmun`.
pub fn parse(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    let malformed = || Status::invalid_argument("grpc-timeout is malformed: 1 to 8 digits and one of H M S m u n");
    let (unit, digits) = value.as_bytes().split_last().ok_or_else(malformed)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let count = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return Err(malformed()),
    }))
}

/// A `grpc-timeout` of `timeout`, in the finest unit whose count fits 8 digits.
pub fn header(timeout: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let text = match (timeout.as_micros(), timeout.as_millis()) {
        (micros, _) if micros <= MOST => format!("{micros}u"),
        (_, millis) if millis <= MOST => format!("{millis}m"),
        _ => format!("{}S", u128::from(timeout.as_secs()).min(MOST)),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0u"))
}

/// Gives every call its deadline and answers DEADLINE_EXCEEDED, dropping the handler, when it passes.
#[derive(Clone, Debug)]
pub struct DeadlineLayer {
    default: Duration,
    most: Duration,
    cut_off: CancellationToken,
}

impl DeadlineLayer {
    /// A call that brings no `grpc-timeout` gets `default`; none gets more than `most`. Once `cut_off` is cancelled
    /// the time of all calls is over: they are answered UNAVAILABLE.
    pub fn new(default: Duration, most: Duration, cut_off: CancellationToken) -> Self {
        Self { default, most, cut_off }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { inner, limits: self.clone() }
    }
}

/// The service that [`DeadlineLayer`] makes.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    limits: DeadlineLayer,
}

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let timeout = match parse(request.headers()) {
            Ok(given) => given.unwrap_or(self.limits.default).min(self.limits.most),
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        // Taken before tonic's own timer starts: that one answers CANCELLED, and must never be first.
        let deadline = Instant::now() + timeout;
        let answer = scope(deadline, self.inner.call(request));
        let cut_off = self.limits.cut_off.clone();
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer,
                () = tokio::time::sleep_until(deadline) => Ok(exceeded().into_http()),
                () = cut_off.cancelled() => Ok(Status::unavailable("the service is stopping, try again").into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &'static str) -> Result<Option<Duration>, tonic::Code> {
        let headers = HeaderMap::from_iter([(GRPC_TIMEOUT.parse().unwrap(), HeaderValue::from_static(text))]);
        parse(&headers).map_err(|status| status.code())
    }

    #[test]
    fn timeouts_of_every_unit_are_read() {
        let cases = [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("7n", Duration::from_nanos(7)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(parse(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn malformed_timeouts_are_refused() {
        for text in ["", "m", "1", "1s", "-1m", "1.5S", "123456789m", " 1m", "1mm"] {
            assert_eq!(parsed(text), Err(tonic::Code::InvalidArgument), "`{text}`");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for timeout in [0, 1, 1_500, 99_999_999, 100_000_000, 3_600_000_000, 90_000_000_000_000] {
            let timeout = Duration::from_micros(timeout);
            let headers = HeaderMap::from_iter([(GRPC_TIMEOUT.parse().unwrap(), header(timeout))]);
            let read = parse(&headers).unwrap().unwrap();
            assert!(read <= timeout && timeout - read < Duration::from_secs(1).min(timeout + Duration::from_nanos(1)));
        }
    }

    #[tokio::test]
    async fn the_time_left_is_known_within_a_call_only() {
        assert_eq!(remaining(), None);
        let deadline = Instant::now() + Duration::from_secs(5);
        let left = scope(deadline, async { remaining() }).await.unwrap();
        assert!(left <= Duration::from_secs(5) && left > Duration::from_secs(1));
        assert_eq!(scope(Instant::now(), async { remaining() }).await, Some(Duration::ZERO));
    }
}
