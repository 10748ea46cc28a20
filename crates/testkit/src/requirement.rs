//! Real parts that a test may do without: skipped with a word on stderr, unless the part is required.

use std::fmt::Display;
use std::io::Write as _;

/// Says that `part` (`postgres`, `jaeger`, `zipkin`, `chromium`, ..) is missing and why; the caller then skips its test.
///
/// # Panics
///
/// Panics if the environment variable `MALL_TEST_REQUIRE`, a comma-separated list, contains `part`.
pub fn missing(part: &str, why: impl Display) {
    let required = std::env::var("MALL_TEST_REQUIRE").unwrap_or_default();
    assert!(!is_required(&required, part), "{part} is required by MALL_TEST_REQUIRE but missing: {why}");
    // Past the test harness, which swallows what a passing test prints; a closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "skipped, {part} is missing: {why}");
}

fn is_required(list: &str, part: &str) -> bool {
    list.split(',').any(|required| required.trim() == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_requires_its_parts() {
        assert!(is_required("postgres", "postgres"));
        assert!(is_required("jaeger, postgres", "postgres"));
        assert!(!is_required("", "postgres"));
        assert!(!is_required("postgresql", "postgres"));
    }
}
