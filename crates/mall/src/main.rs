//! The one binary of mall.

fn main() {}
