//! MCP clients of this user that have this server in their configuration.

use std::path::PathBuf;

use etcetera::BaseStrategy;
use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};

use super::report::{Report, Status};

const CHECK: &str = "clients";

/// Name by which configurations are recognised: that of the program, of its packages and of its image.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Folder below which the file of a client lies.
#[derive(Clone, Copy)]
enum Base {
    Home,
    /// `~/.config`, `~/Library/Application Support` or `%APPDATA%`.
    Config,
    /// Folder in which the program was started.
    Current,
}

/// Files of clients. The sources are the documents of each client; docs/clients names them.
const FILES: &[(&str, Base, &str)] = &[
    (
        "Claude Desktop",
        Base::Config,
        "Claude/claude_desktop_config.json",
    ),
    ("Claude Code", Base::Home, ".claude.json"),
    ("Claude Code", Base::Current, ".mcp.json"),
    ("Cursor", Base::Home, ".cursor/mcp.json"),
    ("Cursor", Base::Current, ".cursor/mcp.json"),
    ("VS Code", Base::Config, "Code/User/mcp.json"),
    ("VS Code", Base::Current, ".vscode/mcp.json"),
    ("Codex", Base::Home, ".codex/config.toml"),
    ("Gemini CLI", Base::Home, ".gemini/settings.json"),
    ("Gemini CLI", Base::Current, ".gemini/settings.json"),
    ("Windsurf", Base::Home, ".codeium/windsurf/mcp_config.json"),
    ("Zed", Base::Home, ".config/zed/settings.json"),
];

/// Lists the clients that name this server in their configuration.
pub(super) fn find_clients(report: &mut Report) {
    let mut found = Vec::new();
    for (client, base, path) in FILES {
        let Some(file) = folder(*base).map(|folder| folder.join(path)) else {
            continue;
        };
        if !file.is_file() {
            continue;
        }
        match read_to_string(&file, MAX_CONFIG_BYTES) {
            Ok(text) if text.contains(PROGRAM) => {
                found.push(format!("{client} ({})", display_path(&file)));
            }
            Ok(_) => {}
            Err(error) => report.add(
                CHECK,
                Status::Warning,
                format_args!("cannot read {}: {error}", display_path(&file)),
            ),
        }
    }
    match found.is_empty() {
        true => report.add(
            CHECK,
            Status::Skipped,
            "no configuration of a known client names portkey-mcp",
        ),
        false => report.add(CHECK, Status::Ok, found.join(", ")),
    }
}

fn folder(base: Base) -> Option<PathBuf> {
    match base {
        Base::Home => etcetera::home_dir().ok(),
        Base::Current => std::env::current_dir().ok(),
        Base::Config if cfg!(target_os = "macos") => Some(
            etcetera::home_dir()
                .ok()?
                .join("Library/Application Support"),
        ),
        Base::Config => Some(etcetera::choose_base_strategy().ok()?.config_dir()),
    }
}
