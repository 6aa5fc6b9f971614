//! The settings that enable the tools for Enkrypt AI, and the error while they are disabled.

use portkey_api::catalog::Catalog;
use portkey_operation::Upstream;

use super::TOOLS;
use crate::support::{
    process::{command, run_cli},
    server::ServerProcess,
};

#[test]
fn enkrypt_tools_are_disabled_without_a_key() {
    let (full, off) = (
        Catalog::full(),
        Catalog::full().without_upstream(Upstream::Enkrypt),
    );
    let left_out: Vec<_> = (full.iter().map(|entry| entry.operation.name()))
        .filter(|name| !off.iter().any(|entry| entry.operation.name() == *name))
        .collect();
    assert_eq!(left_out, TOOLS);
    for name in TOOLS
        .into_iter()
        .chain(["get_mcp_gateway", "modify-gateway", "get_gateway"])
    {
        assert!(full.find(name).is_ok());
        let text = off.find(name).unwrap_err().to_string();
        for part in [
            "switched off",
            "ENKRYPT_API_KEY",
            "--enkrypt-api-key-file",
            "--sandbox",
        ] {
            assert!(text.contains(part), "{name}: {text}");
        }
    }
    let text = off.find("get-mcp-gatewa").unwrap_err().to_string();
    assert!(!text.contains("`get-mcp-gateway`"), "{text}");
}

#[test]
fn key_or_sandbox_enables_the_enkrypt_tools() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let empty = folder.path().join("empty");
    std::fs::write(&file, "ek-from-file\n").unwrap();
    std::fs::write(&empty, "\n").unwrap();
    let file = file.to_str().unwrap();
    let empty = empty.to_str().unwrap();
    let listed = |variables: &[(&str, &str)], more: &[&str]| {
        let mut args = vec!["tools"];
        args.extend(more);
        let output = command(&args)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let table = String::from_utf8(output.stdout).unwrap();
        TOOLS
            .iter()
            .filter(|tool| table.lines().any(|l| l.starts_with(&format!("{tool} "))))
            .count()
    };
    assert_eq!(listed(&[], &[]), 0);
    assert_eq!(
        listed(&[("ENKRYPT_API_KEY", ""), ("PORTKEY_API_KEY", "pk")], &[]),
        0
    );
    assert_eq!(listed(&[("ENKRYPT_API_KEY", "ek")], &[]), 4);
    assert_eq!(listed(&[("ENKRYPT_API_KEY_FILE", file)], &[]), 4);
    assert_eq!(listed(&[], &["--enkrypt-api-key-file", file]), 4);
    assert_eq!(listed(&[], &["--sandbox"]), 4);

    let get = ["call", "get-mcp-gateway", "gateway=support-tools"];
    let with = |more: &[&str]| run_cli(&[&get, more].concat());
    let (ok, _, log) = with(&[]);
    assert!(!ok && log.contains("switched off"), "{log}");
    let (ok, out, log) = with(&["--sandbox"]);
    assert!(
        ok && out.contains("\"gateway_saved_name\": \"support-tools\""),
        "{log}"
    );
    for (args, expected) in [
        (["--enkrypt-api-key", "a\nb"].as_slice(), "ENKRYPT_API_KEY"),
        (&["--enkrypt-api-key-file", empty], "the API key is empty"),
        (
            &["--enkrypt-api-key", "a", "--enkrypt-api-key-file", file],
            "ENKRYPT_API_KEY_FILE",
        ),
        (
            &[
                "--enkrypt-api-key",
                "a",
                "--enkrypt-base-url",
                "https://u:pw@x",
            ],
            "credentials",
        ),
    ] {
        let (ok, out, log) = with(args);
        assert!(
            !ok && out.is_empty() && log.contains(expected),
            "{args:?}: {log}"
        );
        assert!(!log.contains("pw@"), "{log}");
    }

    // The standalone sandbox also emulates Enkrypt AI. Portkey's key is not needed for it.
    let sandbox = ServerProcess::sandbox_api().start();
    let address = sandbox.url.trim_end_matches("/v1");
    let (ok, out, log) = with(&[
        "--enkrypt-api-key-file",
        file,
        "--enkrypt-base-url",
        address,
    ]);
    assert!(ok && out.contains("support-tools"), "{log}");
}
