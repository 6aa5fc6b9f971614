//! The completions and man pages that packages ship.

use std::{collections::BTreeSet, fs};

use clap::Command;

use crate::support::process::run_cli;

/// Adds the name of each visible command and of those below it, such as `portkey-mcp-policy-check`.
fn push_names(names: &mut BTreeSet<String>, parent: &str, command: &Command) {
    for subcommand in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("{parent}-{}", subcommand.get_name());
        push_names(names, &name, subcommand);
        names.insert(name);
    }
}

#[test]
fn completions_of_each_shell_know_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (ok, script, error) = run_cli(&["completions", shell]);
        assert!(ok, "{shell}: {error}");
        for word in ["approvals", "explain", "sandbox-faults"] {
            assert!(script.contains(word), "{shell}: lacks {word}");
        }
        assert!(
            !script.contains("\\u00"),
            "{shell}: has an escaped character"
        );
    }
}

#[test]
fn unknown_shell_is_rejected() {
    let (ok, _, error) = run_cli(&["completions", "tcsh"]);
    assert!(!ok && error.contains("bash"), "{error}");
}

#[test]
fn man_pages_cover_each_visible_command() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, _, error) = run_cli(&["man", folder.path().to_str().unwrap()]);
    assert!(ok, "{error}");
    let mut names = BTreeSet::from(["portkey-mcp".to_owned()]);
    push_names(&mut names, "portkey-mcp", &portkey_mcp::cli::command());
    let written: BTreeSet<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<_> = names.iter().map(|name| format!("{name}.1")).collect();
    // clap adds a `help` command to each command with others below it. That of the program is its own.
    let written: BTreeSet<_> = written
        .into_iter()
        .filter(|name| !name.contains("-help") || name == "portkey-mcp-help.1")
        .collect();
    assert_eq!(written, expected);
    let page = fs::read_to_string(folder.path().join("portkey-mcp-http.1")).unwrap();
    assert!(page.contains("PORTKEY_MCP_LISTEN"));
}

#[test]
fn man_pages_of_a_missing_folder_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let (ok, _, error) = run_cli(&["man", missing.to_str().unwrap()]);
    assert!(!ok && error.contains("cannot write man pages"), "{error}");
}
