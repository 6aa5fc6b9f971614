//! The `portkey-mcp` binary.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Allocator. mimalloc needs a quarter less processor time per call than the system's, for half a
/// megabyte; see `benchmarks/`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    portkey_mcp::cli::main()
}
