//! The binary as a process, as users start it.

use std::process::{Command, Output, Stdio};

/// Returns the command of the binary without configuration from the environment.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portkey-mcp"));
    command.args(args);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let ours = ["PORTKEY", "ENKRYPT", "OTEL"]
            .iter()
            .any(|mark| name_text.starts_with(mark));
        if ours || name_text == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    // Tests write nothing to the home folder, and use no key of the developer's.
    command.env("PORTKEY_MCP_NO_JOURNAL", "true");
    command.env("PORTKEY_MCP_NO_LOGIN", "true");
    command
}

/// Runs the binary until it exits.
pub(crate) fn run(args: &[&str]) -> Output {
    command(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs the binary until it exits; returns its success, standard output and standard error.
pub(crate) fn run_cli(args: &[&str]) -> (bool, String, String) {
    let output = run(args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}
