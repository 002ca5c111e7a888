//! The `portreeve` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    portreeve::cli::main()
}
