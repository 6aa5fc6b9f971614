//! The MCP clients that have this server in their configuration.

use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};

use super::report::{Report, Status};
use crate::cli::{clients::CLIENTS, setup::describe_syntax_error};

const CHECK: &str = "clients";

/// Name by which configurations are recognised: that of the program, of its packages and of its image.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Lists the clients that name this server in their configuration.
pub(super) fn find_clients(report: &mut Report) {
    let mut found = Vec::new();
    let mut has_unread = false;
    for client in CLIENTS {
        for file in client.files() {
            if !file.is_file() {
                continue;
            }
            let name = display_path(&file);
            let text = match read_to_string(&file, MAX_CONFIG_BYTES) {
                Ok(text) => text,
                Err(error) => {
                    has_unread = true;
                    let message = format_args!("cannot read {name}: {error}");
                    report.add(CHECK, Status::Warning, message);
                    continue;
                }
            };
            if let Some(error) = describe_syntax_error(client.syntax, &text) {
                has_unread = true;
                report.advise(
                    CHECK,
                    Status::Warning,
                    format_args!("{name} is invalid: {error}"),
                    format_args!("correct it: {} cannot read it either", client.title),
                );
            } else if text.contains(PROGRAM) {
                found.push(format!("{} ({name})", client.title));
            }
        }
    }
    match found.is_empty() {
        // They may name it.
        true if has_unread => {}
        true => report.advise(
            CHECK,
            Status::Skipped,
            "no configuration of a known client names portkey-mcp",
            "`portkey-mcp setup` lists the clients of this machine, and writes an entry",
        ),
        false => report.add(CHECK, Status::Ok, found.join(", ")),
    }
}
