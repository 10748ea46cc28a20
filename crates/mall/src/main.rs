//! The one binary of mall.

use std::process::ExitCode;

fn main() -> ExitCode {
    mall::main()
}
