//! The MCP clients that have this server in their configuration.

use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};

use super::report::{Report, Status};
use crate::cli::clients::CLIENTS;

const CHECK: &str = "clients";

/// Name by which configurations are recognised: that of the program, of its packages and of its image.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Lists the clients that name this server in their configuration.
pub(super) fn find_clients(report: &mut Report) {
    let mut found = Vec::new();
    for client in CLIENTS {
        for file in client.files() {
            if !file.is_file() {
                continue;
            }
            match read_to_string(&file, MAX_CONFIG_BYTES) {
                Ok(text) if text.contains(PROGRAM) => {
                    found.push(format!("{} ({})", client.title, display_path(&file)));
                }
                Ok(_) => {}
                Err(error) => report.add(
                    CHECK,
                    Status::Warning,
                    format_args!("cannot read {}: {error}", display_path(&file)),
                ),
            }
        }
    }
    match found.is_empty() {
        true => report.advise(
            CHECK,
            Status::Skipped,
            "no configuration of a known client names portkey-mcp",
            "`portkey-mcp setup` lists the clients of this machine, and writes an entry",
        ),
        false => report.add(CHECK, Status::Ok, found.join(", ")),
    }
}
