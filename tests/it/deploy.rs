//! The files under `deploy/` match the binary and each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::support::{
    process::{command, run_cli},
    server::ServerProcess,
};

const CHART: &str = "deploy/helm/portkey-mcp/templates/deployment.yaml";
const MANIFEST: &str = "deploy/kubernetes/deployment.yaml";

/// Returns the help texts with all options and variables.
fn help_text() -> String {
    let commands: [&[&str]; 3] = [
        &["http", "--help"],
        &["token", "new", "--help"],
        &["state-key", "new", "--help"],
    ];
    commands.map(|command| run_cli(command).1).concat()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    // Trying the Compose file puts secrets here.
    let entries = entries.filter(|path| !path.ends_with("deploy/secrets"));
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn split_words<'a>(text: &'a str, more: &'a [char]) -> impl Iterator<Item = &'a str> {
    text.split(move |c: char| !c.is_ascii_alphanumeric() && !more.contains(&c))
}

#[test]
fn every_deployment_variable_is_known_to_the_binary() {
    let help = help_text();
    let variables = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split([']', '=']).next());
    let known: BTreeSet<_> = variables.collect();
    let mut seen = 0;
    for file in files_below(Path::new("deploy"))
        .into_iter()
        .chain(["docs/deployment.md".into()])
    {
        let text = fs::read_to_string(&file).unwrap();
        let named = split_words(&text, &['_']).filter(|word| word.starts_with("PORTKEY_"));
        // Patterns in the schema of the chart continue after the underscore.
        for name in named.filter(|name| !name.ends_with('_')) {
            assert!(
                known.contains(name),
                "{name} of {} is unknown",
                file.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} found");
}

#[test]
fn every_documented_option_is_known_to_the_binary() {
    let (help, text) = (
        help_text(),
        fs::read_to_string("docs/deployment.md").unwrap(),
    );
    let known: BTreeSet<_> = split_words(&help, &['-']).collect();
    let named: BTreeSet<_> = text
        .split('`')
        .filter(|code| code.starts_with("--"))
        .map(|code| code.split(' ').next())
        .collect();
    assert!(named.len() > 8, "only {named:?} found");
    for option in named.into_iter().flatten() {
        assert!(known.contains(option), "{option} is unknown");
    }
}

#[test]
fn chart_and_manifest_restrict_the_pod_alike() {
    for file in [CHART, MANIFEST] {
        let text = fs::read_to_string(file).unwrap();
        for line in [
            "automountServiceAccountToken: false",
            "enableServiceLinks: false",
            "runAsNonRoot: true",
            "runAsUser: 65532",
            "runAsGroup: 65532",
            "type: RuntimeDefault",
            "allowPrivilegeEscalation: false",
            "readOnlyRootFilesystem: true",
            "drop: [ALL]",
        ] {
            let there = text.lines().any(|l| l.trim() == line);
            assert!(there, "{file} lacks {line}");
        }
    }
}

#[test]
fn probe_paths_are_served() {
    let served = ServerProcess::http().sandbox().start();
    let base = served.url.trim_end_matches("/mcp");
    for file in [CHART, MANIFEST] {
        let text = fs::read_to_string(file).unwrap();
        let paths: Vec<_> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("path: "))
            .collect();
        assert_eq!(paths, ["/healthz", "/readyz"], "{file}");
        for path in paths {
            let (ok, _, error) = run_cli(&["health", "--url", &format!("{base}{path}")]);
            assert!(ok, "{path}: {error}");
        }
    }
}

/// Proxies notice the shutdown within the drain delay. Calls in flight may then take the default
/// `--timeout` of 30 seconds, and some more for their responses.
#[test]
fn grace_periods_cover_in_flight_calls() {
    let number = |file: &str, before: &str| -> u32 {
        let text = fs::read_to_string(file).unwrap();
        let rest = text
            .split(before)
            .nth(1)
            .unwrap_or_else(|| panic!("{file}: {before}"));
        split_words(rest.trim_start(), &[])
            .next()
            .unwrap()
            .trim_end_matches('s')
            .parse()
            .unwrap()
    };
    let delay = number(
        "deploy/kubernetes/kustomization.yaml",
        "PORTKEY_MCP_DRAIN_DELAY=",
    );
    assert!(number(MANIFEST, "terminationGracePeriodSeconds:") >= delay + 35);
    let delay = number("deploy/compose.yaml", "PORTKEY_MCP_DRAIN_DELAY:");
    assert!(number("deploy/compose.yaml", "stop_grace_period:") >= delay + 35);
    // The checks of the proxy, two seconds apart, have failed twice by then.
    assert!(delay > 4);
    assert!(number("deploy/systemd/portkey-mcp.service", "TimeoutStopSec=") >= 35);
    assert!(number("deploy/haproxy.cfg", "timeout server") > 30);
    let chart = fs::read_to_string(CHART).unwrap();
    assert!(chart.contains("{{ add .Values.drainDelay .Values.timeout 10 }}"));
}

/// Returns the variables that a file sets, without those in comments.
fn variables(file: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(str::trim);
    let settings = lines.filter_map(|line| {
        let line = line.strip_prefix("- ").unwrap_or(line);
        let line = line.strip_prefix("Environment=").unwrap_or(line);
        let (name, value) = line.split_once(['=', ':'])?;
        let value = value.trim().trim_matches('"');
        name.starts_with("PORTKEY_")
            .then(|| (name.to_owned(), value.to_owned()))
    });
    settings.collect()
}

/// The server starts with the settings of each file, with an audit log and approvals.
#[test]
fn server_starts_with_the_settings_of_each_file() {
    struct Case {
        files: &'static [&'static str],
        has_journal: bool,
    }
    let cases = [
        Case {
            files: &["deploy/kubernetes/kustomization.yaml"],
            has_journal: false,
        },
        Case {
            files: &["deploy/compose.yaml"],
            has_journal: false,
        },
        Case {
            files: &[
                "deploy/systemd/portkey-mcp.env",
                "deploy/systemd/portkey-mcp.service",
            ],
            has_journal: true,
        },
    ];
    for Case { files, has_journal } in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let new_token = [
            "token",
            "new",
            "--name",
            "a",
            "--scope",
            "portkey:read",
            "--file",
        ];
        let (ok, _, error) = run_cli(&[&new_token[..], &[&path("tokens")]].concat());
        assert!(ok, "{error}");
        fs::write(path("keys"), run_cli(&["state-key", "new", "--id", "a"]).1).unwrap();
        let mut server = command(&["http", "--sandbox"]);
        server.env_remove("PORTKEY_MCP_NO_JOURNAL");
        let mut names = BTreeSet::new();
        for (name, value) in files.iter().flat_map(|file| variables(file)) {
            let value = match name.as_str() {
                "PORTKEY_MCP_LISTEN"
                | "PORTKEY_MCP_METRICS_LISTEN"
                | "PORTKEY_MCP_ADMIN_LISTEN" => "127.0.0.1:0".to_owned(),
                "PORTKEY_MCP_AUTH_FILE" => path("tokens"),
                "PORTKEY_MCP_STATE_KEY_FILE" => path("keys"),
                "PORTKEY_MCP_ADMIN_FILE" => path("admin.json"),
                "PORTKEY_MCP_JOURNAL" => path("journal.db"),
                "PORTKEY_MCP_AUDIT_LOG" if value != "-" => path("audit.jsonl"),
                // There is no Redis here.
                "PORTKEY_MCP_REDIS_URL_FILE" => continue,
                // Compose replaces `${NAME:-default}`.
                _ => match value.split_once(":-") {
                    Some((_, default)) => default.trim_end_matches('}').to_owned(),
                    None => value,
                },
            };
            server.env(&name, value);
            names.insert(name);
        }
        if !names.contains("PORTKEY_MCP_LISTEN") {
            // That of the image.
            server.env("PORTKEY_MCP_LISTEN", "127.0.0.1:0");
        }
        for name in [
            "AUDIT_LOG",
            "APPROVE_SENSITIVE",
            "ADMIN_LISTEN",
            "ADMIN_FILE",
        ] {
            assert!(
                names.contains(&format!("PORTKEY_MCP_{name}")),
                "{files:?}: {name}"
            );
        }
        assert_eq!(
            names.contains("PORTKEY_MCP_JOURNAL"),
            has_journal,
            "{files:?}"
        );
        let mut server = server
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = String::new();
        let mut lines = BufReader::new(server.stderr.take().unwrap());
        while !log.contains("serving MCP") {
            assert!(lines.read_line(&mut log).unwrap() > 0, "{files:?}: {log}");
        }
        assert!(!log.contains("has no effect"), "{files:?}: {log}");
        let (ok, list, error) =
            run_cli(&["approvals", "list", "--admin-file", &path("admin.json")]);
        assert!(ok, "{files:?}: {list}{error}");
        assert_eq!(Path::new(&path("journal.db")).exists(), has_journal);
        server.kill().unwrap();
        server.wait().unwrap();
    }
}
