//! Reading what `/metrics` answers.

use http::Request;

use crate::http::Client;

/// The text that a URL of metrics answers; `None` when nobody does.
///
/// # Panics
///
/// Panics if `url` is none.
pub async fn read(url: &str) -> Option<String> {
    let request = Request::get(url).body(Default::default()).expect("a URL");
    let answer = Client::default().try_send(request).await.ok()?;
    answer.status().is_success().then(|| String::from_utf8_lossy(answer.body()).into_owned())
}

/// The sum of all series of a name that have these labels; `None` where there is none.
pub fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        // The labels' values may have spaces and braces in them, the number that follows has none.
        let (labelled, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let has = |(name, value): &(&str, &str)| {
            let label = format!("{name}=\"{value}\"");
            labelled.match_indices(&label).any(|(at, _)| at == 0 || labelled[..at].ends_with(','))
        };
        labels.iter().all(has).then(|| value.split(' ').next()?.parse::<f64>().ok()).flatten()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or_default() + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE sent_total counter\n\
        sent_total{kind=\"spans\",to=\"a b}\"} 3\n\
        sent_total{subkind=\"spans\",to=\"c\"} 4.5 1700000000000\n\
        sent_total_more 7\n\
        alone 1e3\n";

    #[test]
    fn series_are_found_by_name_and_labels() {
        assert_eq!(sum(TEXT, "sent_total", &[]), Some(7.5));
        assert_eq!(sum(TEXT, "sent_total", &[("kind", "spans")]), Some(3.0));
        assert_eq!(sum(TEXT, "sent_total", &[("to", "c")]), Some(4.5));
        assert_eq!(sum(TEXT, "alone", &[]), Some(1000.0));
        assert_eq!(sum(TEXT, "sent_total", &[("to", "d")]), None);
        assert_eq!(sum(TEXT, "sent", &[]), None);
    }
}
