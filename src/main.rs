//! The `portkey-mcp` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    portkey_mcp::cli::main()
}
