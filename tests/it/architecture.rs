//! Architecture rules that the compiler does not enforce.

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
fn every_file_starts_with_a_module_comment() {
    for (path, text) in [sources("src"), sources("crates"), sources("tests")].concat() {
        assert!(
            text.starts_with("//! "),
            "{} begins without a word about itself",
            path.display()
        );
    }
}

/// A struct of a domain is an input or a part of one. If nothing names it, its declaration is
/// missing.
#[test]
fn every_operation_struct_is_used() {
    for (path, text) in sources("crates/portkey-api/src/domains") {
        let room = path.parent().unwrap();
        let code: String = sources("crates/portkey-api/src/domains")
            .into_iter()
            .filter(|(other, _)| path.ends_with("shared.rs") || other.starts_with(room))
            .map(|(_, text)| text)
            .collect();
        let words: Vec<_> = code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        let declared = text
            .lines()
            .filter_map(|line| line.strip_prefix("pub struct "));
        for name in declared.filter_map(|line| line.split([' ', '<', ';']).next()) {
            let mentions = words.iter().filter(|word| **word == name).count();
            assert!(
                mentions > 1,
                "{}: `{name}` stands in no table",
                path.display()
            );
        }
    }
}

/// The folders and files that may use a dependency. A new entry changes the architecture.
#[test]
fn dependencies_are_used_only_in_their_layers() {
    let allowed: &[(&str, &[&str])] = &[
        (
            "rmcp::",
            &["src/mcp", "src/security/signed_state.rs", "src/transport"],
        ),
        // Authorization servers respond over HTTP as well. None of that goes to an upstream.
        (
            "reqwest::",
            &[
                "src/app",
                "src/auth/oauth",
                "src/cli",
                "src/http_client",
                "src/observability/traces",
                "src/upstream",
            ],
        ),
        ("redis::", &["crates/store"]),
        ("rusqlite::", &["crates/journal"]),
        ("sqlx::", &["crates/journal/src/postgres"]),
        ("cel::", &["crates/policy/src/expression"]),
        (
            "serde_saphyr::",
            &[
                "crates/policy",
                "src/changes/plan",
                "src/cli/snapshots",
                "src/mcp/prompts",
                "src/workflows/snapshot",
            ],
        ),
        (
            "globset::",
            &[
                "crates/policy",
                "src/auth/principal/tool_filter.rs",
                "src/security/secrets",
            ],
        ),
        ("askama::", &["src/transport/admin"]),
        ("axum::", &["crates/sandbox", "src/transport"]),
        ("prometheus_client::", &["src/observability/metrics"]),
        ("opentelemetry::", &["src/observability"]),
        ("regex::", &["crates/policy", "src/security/secrets"]),
        ("unicode_general_category::", &["src/security/sanitize.rs"]),
        ("clap::", &["src/cli"]),
        ("keyring::", &["src/cli/login"]),
        ("jsonc_parser::", &["src/cli/setup"]),
        ("toml_edit::", &["src/cli/setup"]),
        ("portkey_sandbox::", &["src/app", "src/cli"]),
    ];
    for (path, text) in [sources("src"), sources("crates")].concat() {
        for (word, places) in allowed {
            let is_allowed = places.iter().any(|place| path.starts_with(place));
            assert!(
                is_allowed || !text.contains(word),
                "{} uses {word}",
                path.display()
            );
        }
    }
}

/// The modules of the application from top to bottom. Each uses only the modules after it.
const LAYERS: &[&str] = &[
    "cli",
    "app",
    "transport",
    "mcp",
    "workflows",
    "changes",
    "pipeline",
    "upstream",
    "observability",
    "auth",
    "security",
    "http_client",
];

#[test]
fn layers_depend_in_one_direction() {
    for (place, layer) in LAYERS.iter().enumerate() {
        let folder = format!("src/{layer}");
        for (path, text) in sources(&folder) {
            for above in &LAYERS[..place] {
                for used in crate_paths(&text) {
                    assert_ne!(used, *above, "{} uses the layer above it", path.display());
                }
            }
        }
    }
}

/// Returns the top-level modules that a file names after `crate::`.
fn crate_paths(text: &str) -> Vec<&str> {
    let is_name = |c: char| !(c.is_alphanumeric() || c == '_');
    let mut found = Vec::new();
    for (at, start) in text.match_indices("crate::") {
        let rest = &text[at + start.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.extend(rest.split(is_name).next());
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, c) in list.char_indices() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if c.is_alphabetic() && begins => {
                    found.extend(list[at..].split(is_name).next());
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// Each crate uses only the workspace crates in this list.
#[test]
fn crates_depend_in_one_direction() {
    let allowed: &[(&str, &[&str])] = &[
        ("bounded-file", &[]),
        ("concurrency", &[]),
        ("file-watch", &["bounded-file"]),
        ("journal", &["bounded-file"]),
        ("merge-patch", &[]),
        ("operation", &["merge-patch"]),
        (
            "policy",
            &["api", "bounded-file", "file-watch", "operation", "store"],
        ),
        ("portkey-api", &["merge-patch", "operation"]),
        ("readiness", &["file-watch"]),
        // The sandbox tests the client, so the two share no code. A merge rule is a fact about an
        // API.
        ("sandbox", &["merge-patch"]),
        ("store", &[]),
    ];
    let mut crates: Vec<_> = fs::read_dir("crates")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    crates.sort();
    assert_eq!(
        crates,
        allowed.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    for (name, allowed) in allowed {
        let manifest = fs::read_to_string(format!("crates/{name}/Cargo.toml")).unwrap();
        let dependencies = manifest
            .split_once("[dependencies]")
            .map_or("", |(_, rest)| rest);
        let used: Vec<_> = dependencies
            .lines()
            .filter_map(|line| line.strip_prefix("portkey-")?.split('.').next())
            .collect();
        assert_eq!(used, *allowed, "crates/{name}/Cargo.toml");
    }
}

/// The image builds the dependencies in a layer of their own, which needs every manifest.
#[test]
fn dockerfile_copies_the_manifest_of_each_crate() {
    let dockerfile = fs::read_to_string("Dockerfile").unwrap();
    for entry in fs::read_dir("crates").unwrap() {
        let path = entry.unwrap().path().display().to_string();
        let line = format!("COPY {path}/Cargo.toml {path}/\n");
        assert!(dockerfile.contains(&line), "Dockerfile: add {line}");
    }
}

/// A terminal interprets control characters in its output, and file names can contain line breaks.
/// Reads of files go through bounded readers.
#[test]
fn terminal_and_file_access_stays_in_its_modules() {
    let allowed: &[(&str, &[&str])] = &[
        (
            "io::stdout",
            &["src/cli/terminal.rs", "src/transport/stdio.rs"],
        ),
        // Lines of the log and of the audit log escape their content.
        (
            "io::stderr",
            &[
                "src/cli/terminal.rs",
                "src/observability/logging.rs",
                "src/observability/audit/sink.rs",
            ],
        ),
        (".display()", &[]),
        // A bounded reader cannot block on a pipe and uses bounded memory.
        (
            "fs::read_to_string(",
            &["src/observability/metrics/process.rs"],
        ),
        (".read_to_string(", &["src/security/secrets/references.rs"]),
        ("fs::read(", &[]),
        // Opens folders, and the log through a function of the same name.
        (
            "File::open(",
            &[
                "src/cli/setup/write.rs",
                "src/observability/audit/file.rs",
                "src/observability/audit/sink.rs",
            ],
        ),
    ];
    for (path, text) in [sources("src"), sources("crates")].concat() {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code = code
            .split("#[cfg(all(test, unix))]")
            .next()
            .unwrap_or_default();
        for (word, files) in allowed {
            let is_allowed = files.iter().any(|file| path.ends_with(file));
            assert!(
                is_allowed || !code.contains(word),
                "{} mentions {word}",
                path.display()
            );
        }
    }
}

#[test]
fn print_macros_are_not_used() {
    for (path, text) in [sources("src"), sources("crates")].concat() {
        for word in ["println!", "print!(", "dbg!("] {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
    }
}

/// Tests wait for what happens, which a slow machine delays and a fast one does not.
#[test]
fn sleeps_are_not_used_in_tests() {
    for (path, text) in sources("tests") {
        for word in [concat!("sleep", "("), concat!("sleep", "_until(")] {
            assert!(!text.contains(word), "{} sleeps", path.display());
        }
    }
}

/// A field is required only where the API refuses a call without it. The evidence is in the source, as a
/// paragraph of its rustdoc that is not published.
#[test]
fn required_fields_state_their_evidence() {
    let mut faults = Vec::new();
    for (path, text) in sources("crates/portkey-api/src/domains") {
        let mut is_input = false;
        let mut derives_schema = false;
        let mut input = "";
        // Everything above a field.
        let mut notes = String::new();
        for line in text.lines() {
            match line.split(['(', ' ']).next() {
                Some("#[derive") => derives_schema = line.contains("JsonSchema"),
                Some("}") => is_input = false,
                _ if line.starts_with("pub struct ") => {
                    is_input = derives_schema;
                    input = line.split(' ').nth(2).unwrap_or_default();
                    notes.clear();
                }
                _ => {}
            }
            let field = line
                .strip_prefix("    pub ")
                .and_then(|line| line.strip_suffix(',')?.split_once(": "));
            let Some((name, kind)) = field.filter(|_| is_input) else {
                notes.push_str(line);
                continue;
            };
            let is_optional = (kind.starts_with("Option<") || kind.starts_with("Nullable<"))
                && !notes.contains("schemars(required)");
            // The path of a run is in another file, and `kind` is `type` there.
            let is_of_path =
                text.contains(&format!("{{{name}}}")) || ["kind", "prompt_id"].contains(&name);
            let is_group = notes.contains("serde(flatten)");
            if !(is_optional || is_of_path || is_group || notes.contains("Required:")) {
                faults.push(format!("{}: `{name}` of `{input}`", path.display()));
            }
            notes.clear();
        }
    }
    assert!(
        faults.is_empty(),
        "required, and nothing says why:\n{}\nAdd a second paragraph to the rustdoc of the field, with the source: \
         `Required: OpenAPI.` Without a source write `Option<T>`.",
        faults.join("\n")
    );
}
