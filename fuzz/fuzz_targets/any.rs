//! The target that MALL_FUZZ_TARGET names; `make fuzz` runs each in turn.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("MALL_FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| panic!("MALL_FUZZ_TARGET names none of {:?}", fuzz::TARGETS.map(|(name, _)| name)))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
