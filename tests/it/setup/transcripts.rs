//! The transcripts of `setup` and `doctor` in the documents are what the commands print on a terminal.

use std::{env::consts, fs::File, path::Path, process::Command};

use super::{Home, portable};
use crate::{
    readme::replace_block,
    support::{generated::check_generated_file, programs::is_missing},
};

/// Configuration of a client before the transcript.
const BEFORE: &str = r#"{
  "mcpServers": {
    "other": { "url": "https://mcp.example.com/mcp?token=planted-7f3d9a" }
  }
}
"#;

/// Runs a command on a terminal of `script`, and returns it with what it shows. `answer` is typed.
fn transcript(home: &Home, args: &[&str], answer: &str) -> String {
    let binary = env!("CARGO_BIN_EXE_portkey-mcp");
    let typed = args.join(" ");
    let mut script = Command::new("script");
    // What is typed would be echoed at once, and not where it is asked for.
    let command = format!("{binary} {typed}");
    script.args(["-E", "never", "-qec", &command, "/dev/null"]);
    for (name, value) in home.command(&[]).get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    // What tests and this machine set is no part of a transcript.
    for variable in [
        "PORTKEY_MCP_NO_JOURNAL",
        "PORTKEY_MCP_NO_LOGIN",
        "XDG_STATE_HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "ALL_PROXY",
        "https_proxy",
        "http_proxy",
        "all_proxy",
    ] {
        script.env_remove(variable);
    }
    let input = home.write(".input", &format!("{answer}\n"));
    let output = script
        .current_dir(home.0.path())
        .stdin(File::open(input).unwrap())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let folder = home.0.path().canonicalize().unwrap();
    let shown = shown
        .replace('\r', "")
        .replace(folder.to_str().unwrap(), "~")
        .replace(home.0.path().to_str().unwrap(), "~")
        .replace(&format!("{} {}", consts::OS, consts::ARCH), "linux x86_64")
        // The terminal shows what is typed.
        .replace("[y/N] ", &format!("[y/N] {answer}\n"));
    format!("$ portkey-mcp {typed}\n{}", portable(&shown))
}

fn check(document: &str, name: &str, transcript: &str) {
    let block = format!("```console\n{transcript}```\n");
    let fresh = replace_block(document, name, &block);
    check_generated_file(Path::new(document), &fresh);
}

#[test]
fn transcripts_of_setup_and_doctor_are_up_to_date() {
    if is_missing("script") {
        return;
    }
    let home = Home::new();
    home.write(".cursor/mcp.json", BEFORE);
    let found = transcript(&home, &["setup", "--sandbox"], "");
    let written = transcript(&home, &["setup", "cursor", "--sandbox"], "y");
    check(
        "docs/clients/README.md",
        "setup",
        &format!("{found}\n{written}"),
    );

    let checked = transcript(&home, &["doctor", "--sandbox"], "");
    check("docs/install.md", "doctor", &checked);
    let failed = transcript(
        &home,
        &[
            "doctor",
            "--base-url",
            "http://127.0.0.1:1/v1",
            "--api-key",
            "pk-1",
        ],
        "",
    );
    check("docs/troubleshooting.md", "doctor", &failed);
}
