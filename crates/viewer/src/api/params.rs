//! The parameters of a question, which Jaeger's UI puts into the URL.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequestParts, Query as UrlQuery};
use axum::http::Uri;
use axum::http::request::Parts;

use super::Error;
use crate::model::TraceId;
use crate::store::query::MAX_TAGS;
use crate::store::{Query, Tag};

/// As many traces as Jaeger's UI can ask for.
pub(super) const MAX_LIMIT: usize = 1500;
pub(super) const DEFAULT_LIMIT: usize = 100;
const DEFAULT_LOOKBACK: Duration = Duration::from_secs(2 * 24 * 3600);
const DEFAULT_DEPENDENCY_LOOKBACK: Duration = Duration::from_secs(24 * 3600);

/// Parameters by name, some of them several times.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::of(&parts.uri)
    }
}

impl Params {
    /// The parameters in a URL.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Error> {
        let UrlQuery(params) = UrlQuery::try_from_uri(uri).map_err(|error| Error::bad(error.body_text()))?;
        Ok(Self(params))
    }

    /// The first parameter of this name, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let parsed =
            |value: &str| parse(value).ok_or_else(|| Error::bad(format!("unable to parse param '{name}': `{value}`")));
        self.get(name).map(parsed).transpose()
    }

    /// The traces that are asked for by name.
    pub(super) fn trace_ids(&self) -> Result<Vec<TraceId>, Error> {
        let mut seen = HashSet::new();
        let mut ids = self.all("traceID").map(|id| id.parse().map_err(Error::bad)).collect::<Result<Vec<_>, _>>()?;
        ids.retain(|id| seen.insert(*id));
        if ids.len() > MAX_LIMIT {
            return Err(Error::bad(format!("more than {MAX_LIMIT} traces are too many for one answer")));
        }
        Ok(ids)
    }

    /// The search that is asked for.
    pub(super) fn query(&self) -> Result<Query, Error> {
        let service = self.get("service").ok_or_else(|| Error::bad("parameter 'service' is required"))?;
        let end = self.parsed("end", |text| scaled(text, 1_000))?.unwrap_or_else(now);
        let lookback = self.parsed("lookback", lookback)?.unwrap_or(nanos(DEFAULT_LOOKBACK));
        let start = self.parsed("start", |text| scaled(text, 1_000))?.unwrap_or(end.saturating_sub(lookback));
        let min = self.parsed("minDuration", duration)?.unwrap_or(0);
        let max = self.parsed("maxDuration", duration)?.filter(|max| *max > 0).unwrap_or(u64::MAX);
        if max < min {
            return Err(Error::bad("'maxDuration' should be greater than 'minDuration'"));
        }
        Ok(Query {
            service: Some(service.to_owned()),
            operation: self.get("operation").map(str::to_owned),
            tags: self.tags()?,
            start: start..=end,
            duration: min..=max,
            limit: self.parsed("limit", limit)?.unwrap_or(DEFAULT_LIMIT),
        })
    }

    fn tags(&self) -> Result<Vec<Tag>, Error> {
        let split = |tag: &str| {
            let malformed = || Error::bad(format!("malformed 'tag' parameter, expecting key:value, received: {tag}"));
            let (key, value) = tag.split_once(':').ok_or_else(malformed)?;
            Ok(Tag { key: key.to_owned(), value: value.to_owned() })
        };
        let mut tags = self.all("tag").map(split).collect::<Result<Vec<_>, _>>()?;
        tags.extend(self.object("tags")?);
        bounded(tags)
    }

    /// The attributes that a search by `/api/v3` is for.
    pub(super) fn attributes(&self) -> Result<Vec<Tag>, Error> {
        bounded(self.object("query.attributes")?)
    }

    /// Tags written as JSON objects in parameters of this name.
    fn object(&self, name: &str) -> Result<Vec<Tag>, Error> {
        let mut tags = Vec::new();
        for text in self.all(name).filter(|text| !text.is_empty()) {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
                .map_err(|error| Error::bad(format!("malformed '{name}' parameter, cannot read JSON: {error}")))?;
            tags.extend(object.into_iter().map(|(key, value)| Tag {
                key,
                value: value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            }));
        }
        Ok(tags)
    }

    /// When the traces began whose dependencies are asked for.
    pub(super) fn dependency_range(&self) -> Result<RangeInclusive<u64>, Error> {
        let end = self.parsed("endTs", |text| scaled(text, 1_000_000))?.unwrap_or_else(now);
        let lookback = self.parsed("lookback", |text| scaled(text, 1_000_000))?;
        Ok(end.saturating_sub(lookback.unwrap_or(nanos(DEFAULT_DEPENDENCY_LOOKBACK)))..=end)
    }
}

fn bounded(tags: Vec<Tag>) -> Result<Vec<Tag>, Error> {
    match tags.len() {
        0..=MAX_TAGS => Ok(tags),
        count => Err(Error::bad(format!("a search can have {MAX_TAGS} tags, not {count}"))),
    }
}

fn now() -> u64 {
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A number of units of `nanos` nanoseconds.
fn scaled(text: &str, nanos: u64) -> Option<u64> {
    text.parse::<u64>().ok().map(|count| count.saturating_mul(nanos))
}

/// How many traces to find; more than [`MAX_LIMIT`] is taken for that.
pub(super) fn limit(text: &str) -> Option<usize> {
    text.parse().ok().filter(|limit| *limit > 0).map(|limit: usize| limit.min(MAX_LIMIT))
}

/// A lookback of the UI: `1h`, `2d`, `1w`; or `custom`, with which it gives the start.
fn lookback(text: &str) -> Option<u64> {
    if text == "custom" {
        return Some(nanos(DEFAULT_LOOKBACK));
    }
    let days =
        |unit, days: u64| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(days * 24 * 3600 * 1_000_000_000);
    days('d', 1).or_else(|| days('w', 7)).or_else(|| duration(text))
}

/// A duration in nanoseconds as Go writes it: `1.5s`, `1h30m`, `100us`.
pub(super) fn duration(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit_end = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |i| number + i);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[number..unit_end])?;
        total += rest[..number].parse::<f64>().ok()? * unit;
        rest = &rest[unit_end..];
    }
    // Beyond 2^64 nanoseconds it is "for ever".
    (!text.is_empty()).then_some(total.round() as u64)
}

/// A point in time as RFC 3339 writes it, in nanoseconds since 1970; what was before that is 1970.
pub(super) fn time(text: &str) -> Option<u64> {
    let time: prost_types::Timestamp = text.parse().ok()?;
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.nanos).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, expected) in [
            ("0", Some(0)),
            ("15ns", Some(15)),
            ("100us", Some(100_000)),
            ("2µs", Some(2_000)),
            ("1.5s", Some(1_500_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            (".5ms", Some(500_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("5parsecs", None),
            ("1sé", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_read_in_every_zone() {
        assert_eq!(time("1970-01-01T00:00:01.5Z"), Some(1_500_000_000));
        assert_eq!(time("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(time("1960-01-01T00:00:00Z"), Some(0));
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn lookbacks_are_those_of_the_ui() {
        assert_eq!(lookback("5m"), duration("5m"));
        assert_eq!(lookback("2d"), duration("48h"));
        assert_eq!(lookback("1w"), duration("168h"));
        assert_eq!(lookback("99999999999999d"), None);
    }
}
