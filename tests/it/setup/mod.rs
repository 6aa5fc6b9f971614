//! `portkey-mcp setup`: changes of the configuration files of clients.

mod choices;
mod files;
mod kept;
mod project;
mod transcripts;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::support::process::command;

/// A text in the fixtures that stands for secrets of the user.
const PLANTED: &str = "planted-7f3d9a";

/// A home folder.
struct Home(TempDir);

/// What a run printed.
struct Run {
    is_success: bool,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut setup = command(args);
        setup.env("HOME", self.0.path()).current_dir(self.0.path());
        for variable in [
            "XDG_CONFIG_HOME",
            "CLAUDE_CONFIG_DIR",
            "CODEX_HOME",
            "GEMINI_CLI_HOME",
        ] {
            setup.env_remove(variable);
        }
        setup
    }

    fn run_with(&self, args: &[&str], input: &str) -> Run {
        let input_file = self.write(".input", input);
        let mut setup = self.command(args);
        setup.stdin(Stdio::from(fs::File::open(input_file).unwrap()));
        let output = setup.output().unwrap();
        let text = |bytes| portable(&String::from_utf8(bytes).unwrap());
        Run {
            is_success: output.status.success(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "")
    }

    /// Runs `setup`, which has to succeed.
    #[track_caller]
    fn setup(&self, args: &[&str]) -> Run {
        let run = self.run(&[&["setup"], args].concat());
        assert!(run.is_success, "{args:?}: {}{}", run.out, run.err);
        run
    }

    /// Runs `setup`, which has to fail, and returns the error.
    #[track_caller]
    fn fail(&self, args: &[&str]) -> String {
        let run = self.run(&[&["setup"], args].concat());
        assert!(!run.is_success, "{args:?}: {}", run.out);
        run.err
    }

    /// Returns the names of the files in a folder.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Writes the name of the program in place of its path on this machine.
fn portable(text: &str) -> String {
    text.replace(env!("CARGO_BIN_EXE_portkey-mcp"), "portkey-mcp")
}

struct Case {
    client: &'static str,
    /// File of the client below the home folder.
    file: &'static str,
    fixture: &'static str,
    args: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        client: "claude-desktop",
        file: ".config/Claude/claude_desktop_config.json",
        fixture: "claude-desktop.json",
        args: &["--sandbox"],
    },
    Case {
        client: "claude-code",
        file: ".claude.json",
        fixture: "claude-code.json",
        args: &[],
    },
    Case {
        client: "cursor",
        file: ".cursor/mcp.json",
        fixture: "cursor.json",
        args: &["--read-only", "--toolsets", "prompts,configs"],
    },
    Case {
        client: "vscode",
        file: ".config/Code/User/mcp.json",
        fixture: "vscode.json",
        args: &[],
    },
    Case {
        client: "codex",
        file: ".codex/config.toml",
        fixture: "codex.toml",
        args: &[],
    },
    Case {
        client: "gemini",
        file: ".gemini/settings.json",
        fixture: "gemini.json",
        args: &["--variable", "MY_PORTKEY_KEY"],
    },
    Case {
        client: "windsurf",
        file: ".codeium/windsurf/mcp_config.json",
        fixture: "windsurf.json",
        args: &[
            "--url",
            "https://mcp.example.com/mcp",
            "--token",
            "reference",
        ],
    },
    Case {
        client: "zed",
        file: ".config/zed/settings.json",
        fixture: "zed.json",
        args: &[],
    },
    Case {
        client: "cline",
        file: ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        fixture: "cline.json",
        args: &["--url", "http://127.0.0.1:8787/mcp"],
    },
    Case {
        client: "jetbrains",
        file: ".junie/mcp/mcp.json",
        fixture: "jetbrains.json",
        args: &["--surface", "operations"],
    },
];

fn fixture(name: &str) -> String {
    fs::read_to_string(Path::new("tests/data/setup").join(name)).unwrap()
}
