//! The rules of the house, where the compiler cannot see them.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

#[test]
fn every_file_says_what_lives_there() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        assert!(text.starts_with("//! "), "{} begins without a word about itself", path.display());
    }
}

/// A struct in a room is an input, or part of one; if nothing names it, its table row is missing.
#[test]
fn nothing_is_declared_and_forgotten() {
    for (path, text) in sources("src/admin") {
        let room = path.parent().unwrap();
        let code: String = sources("src/admin")
            .into_iter()
            .filter(|(other, _)| path.ends_with("shared.rs") || other.starts_with(room))
            .map(|(_, text)| text)
            .collect();
        let words: Vec<_> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let declared = text.lines().filter_map(|line| line.strip_prefix("pub struct "));
        for name in declared.filter_map(|line| line.split([' ', '<', ';']).next()) {
            let mentions = words.iter().filter(|word| **word == name).count();
            assert!(mentions > 1, "{}: `{name}` stands in no table", path.display());
        }
    }
}

/// Who may mention what. A room that needs a new word is a change of architecture: say so here.
#[test]
fn rooms_keep_to_themselves() {
    let allowed: &[(&str, &[&str])] = &[
        ("rmcp::", &["src/server", "src/hub.rs", "src/reply", "src/seal.rs", "src/transport"]),
        // Authorization servers are asked over HTTP, too; nothing of that goes to an upstream.
        (
            "reqwest::",
            &["src/portkey", "src/telemetry", "src/config.rs", "src/cli", "src/auth/oauth"],
        ),
        ("crate::auth", &["src/transport/http", "src/cli"]),
        ("crate::audit", &["src/dispatch", "src/cli"]),
        ("crate::results", &["src/dispatch", "src/server", "src/reply", "src/cli"]),
        ("redis::", &["src/store"]),
        ("cel::", &["src/policy/expression"]),
        ("serde_saphyr::", &["src/policy", "src/prompts"]),
        ("globset::", &["src/policy", "src/principal/modes.rs", "src/secrets"]),
        ("axum::", &["src/transport", "src/sandbox"]),
        ("prometheus_client::", &["src/metrics"]),
        ("opentelemetry::", &["src/metrics", "src/telemetry"]),
        ("regex::", &["src/policy", "src/secrets"]),
        ("unicode_general_category::", &["src/untrusted.rs"]),
        ("clap::", &["src/config.rs", "src/cli"]),
        ("crate::admin", &["src/cli/tools.rs"]),
        (
            "crate::portkey",
            &["src/portkey", "src/dispatch", "src/reply", "src/telemetry", "src/config.rs"],
        ),
        ("crate::sandbox", &["src/config.rs", "src/cli"]),
        // To all others a crate is a room like any, and so the rules above hold of it.
        (
            "use portkey_mcp_",
            &["src/lib.rs", "src/admin", "src/catalog", "src/policy", "src/sandbox", "src/watch"],
        ),
        ("gateway_patch", &["src/gateway_patch", "src/lib.rs", "src/admin", "src/sandbox"]),
    ];
    for (path, text) in sources("src") {
        for (word, rooms) in allowed {
            let at_home = rooms.iter().any(|room| path.starts_with(room));
            assert!(at_home || !text.contains(word), "{} mentions {word}", path.display());
        }
    }
}

/// Rooms that are crates know what their manifests name, and nothing else of the house.
#[test]
fn secluded_rooms_stay_secluded() {
    let known: &[(&str, &[&str])] = &[
        ("operation", &[]),
        ("gateway_patch", &[]),
        ("admin", &["gateway-patch", "operation"]),
        ("catalog", &["admin", "operation"]),
        ("store", &[]),
        ("files", &[]),
        ("watch", &["files"]),
        ("policy", &["catalog", "files", "operation", "store", "watch"]),
        // A judge of the client, and not its mirror. How a patch merges is a fact about an API.
        ("sandbox", &["gateway-patch"]),
    ];
    for (room, known) in known {
        let manifest = fs::read_to_string(format!("src/{room}/Cargo.toml")).unwrap();
        let (_, needs) = manifest.split_once("[dependencies]").unwrap();
        let rooms: Vec<_> = needs
            .lines()
            .filter_map(|line| line.strip_prefix("portkey-mcp-")?.split('.').next())
            .collect();
        assert_eq!(rooms, *known, "src/{room}/Cargo.toml");
    }
}

/// A terminal acts on what is written to it, and file names have line breaks in them.
#[test]
fn one_way_leads_to_the_terminal() {
    let allowed: &[(&str, &[&str])] = &[
        ("io::stdout", &["src/cli/terminal.rs", "src/transport/stdio.rs"]),
        // The log and the audit log on standard error are lines that escape what is in them.
        ("io::stderr", &["src/cli/terminal.rs", "src/cli/log.rs", "src/audit/sink.rs"]),
        (".display()", &[]),
        // Neither do files hold whoever opens them, nor memory without bound.
        ("read_to_string(", &["src/metrics/process.rs", "src/secrets/references.rs"]),
        ("fs::read(", &[]),
        // Of a folder, and of the log by a function of that name.
        ("File::open(", &["src/audit/file.rs", "src/audit/sink.rs"]),
    ];
    for (path, text) in sources("src") {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code = code.split("#[cfg(all(test, unix))]").next().unwrap_or_default();
        for (word, files) in allowed {
            let is_allowed = files.iter().any(|file| path.ends_with(file));
            assert!(is_allowed || !code.contains(word), "{} mentions {word}", path.display());
        }
    }
}

#[test]
fn nothing_is_printed_behind_the_protocols_back() {
    for (path, text) in sources("src") {
        for word in ["println!", "print!(", "dbg!("] {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
    }
}
