//! Waiting for what no event tells.

use std::time::Duration;

/// Asks until there is an answer.
///
/// # Panics
///
/// Panics after a minute without one.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
    answer.unwrap_or_else(|_| panic!("not within a minute: {what}"))
}
