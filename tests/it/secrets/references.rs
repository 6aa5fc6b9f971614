//! References: arguments that name the source of a secret, which the server resolves.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};

use crate::support::{
    official_client::connect_everywhere,
    requests::{call_request, send_request},
    server::ServerProcess,
    upstream::{MockUpstream, json_response},
};

const SECRET: &str = "a-secret-of-the-operator";

fn create_args(key: Value) -> Value {
    json!({ "name": "n", "ai_provider_id": "openai", "key": key })
}

/// Creates a folder of secrets, and another folder beside it; returns both.
fn secret_folders() -> (tempfile::TempDir, String) {
    let parent = tempfile::tempdir().unwrap();
    let open = parent.path().join("open");
    let closed = parent.path().join("closed");
    fs::create_dir_all(open.join("deeper")).unwrap();
    fs::create_dir(&closed).unwrap();
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    write(&open.join("key"), &format!("{SECRET}\n"));
    write(&open.join("deeper/key"), SECRET);
    write(
        &open.join("account.json"),
        r#"{"private_key": "a-private-key-of-the-operator"}"#,
    );
    write(&open.join("empty"), "\n");
    write(&open.join("large"), &"x".repeat(70_000));
    write(&closed.join("key"), "out-of-bounds");
    symlink(open.join("deeper/key"), open.join("link")).unwrap();
    symlink(closed.join("key"), open.join("way-out")).unwrap();
    symlink(&closed, open.join("folder-out")).unwrap();
    let path = open.to_str().unwrap().to_owned();
    (parent, path)
}

#[tokio::test]
async fn references_are_resolved_and_never_shown() {
    // The upstream repeats the request, in a result and in an error.
    let upstream =
        MockUpstream::start(|_| json_response(&format!(r#"{{"name":"got {SECRET}"}}"#))).await;
    let (_kept, open) = secret_folders();
    let args = [
        "--base-url",
        &upstream.base_url,
        "--secret-env",
        "TEST_*,OTHER",
        "--secret-dir",
        &open,
    ];
    let variables = [("PORTKEY_API_KEY", "any-key"), ("TEST_KEY", SECRET)];
    let inside = format!("{open}/key");
    for connected in connect_everywhere(&args, &variables).await {
        let instructions = connected.instructions();
        assert!(
            instructions.contains("$env:NAME")
                && instructions.contains("TEST_*")
                && instructions.contains(&open),
            "{instructions}"
        );
        let references = [
            json!({ "$env": "TEST_KEY" }),
            json!("$env:TEST_KEY"),
            json!({ "$file": "key" }),
            json!("$file:deeper/key"),
            json!({ "$file": "link" }),
            json!({ "$file": inside }),
        ];
        for reference in references {
            let before = upstream.count();
            let got = connected
                .call("create-integration", create_args(reference.clone()))
                .await
                .unwrap();
            assert_eq!(got["name"], "got [masked by portkey-mcp]", "{reference}");
            let sent: Value =
                serde_json::from_slice(&upstream.requests_after(before)[0].body).unwrap();
            assert_eq!(sent, create_args(json!(SECRET)), "{reference}");
        }
        // Below a secret field, and in place of an object.
        for reference in [
            json!({ "$file": "account.json" }),
            json!("$file:account.json"),
        ] {
            let args = json!({
                "name": "n", "ai_provider_id": "vertex-ai",
                "configurations": {
                    "vertex_auth_type": "serviceAccount", "vertex_region": "r",
                    "vertex_service_account_json": reference,
                    "custom_headers": { "x-a": "$env:TEST_KEY", "x-b": { "$env": "TEST_KEY" }, "x-c": "$5: plain" },
                },
            });
            let before = upstream.count();
            connected.call("create-integration", args).await.unwrap();
            let sent: Value =
                serde_json::from_slice(&upstream.requests_after(before)[0].body).unwrap();
            let settings = &sent["configurations"];
            assert_eq!(
                settings["vertex_service_account_json"]["private_key"],
                "a-private-key-of-the-operator"
            );
            assert_eq!(
                settings["custom_headers"],
                json!({ "x-a": SECRET, "x-b": SECRET, "x-c": "$5: plain" })
            );
        }
        // Elsewhere a reference is ordinary text.
        let before = upstream.count();
        let named = json!({ "name": "$env:TEST_KEY", "ai_provider_id": "openai" });
        connected
            .call("create-integration", named.clone())
            .await
            .unwrap();
        let sent: Value = serde_json::from_slice(&upstream.requests_after(before)[0].body).unwrap();
        assert_eq!(sent, named);
    }
}

#[tokio::test]
async fn reference_outside_the_allowed_sources_is_rejected() {
    struct Case<'a> {
        options: &'a [&'a str],
        reference: Value,
        message: &'static str,
    }

    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let (_kept, open) = secret_folders();
    let outside = format!("{open}/../closed/key");
    let base = ["--base-url", upstream.base_url.as_str()];
    let variables = [
        ("PORTKEY_API_KEY", "the-servers-own-key"),
        ("TEST_KEY", SECRET),
        ("ALSO_OWN", "the-servers-own-key"),
        ("EMPTY", ""),
    ];
    let some = ["--secret-env", "TEST_KEY", "--secret-dir", &open];
    let all = ["--secret-env", "*"];
    let not_you = "not opened to you";
    let cases: &[Case<'_>] = &[
        Case {
            options: &[],
            reference: json!("$env:TEST_KEY"),
            message: not_you,
        },
        Case {
            options: &[],
            reference: json!({ "$env": "TEST_KEY" }),
            message: not_you,
        },
        Case {
            options: &[],
            reference: json!({ "$file": "key" }),
            message: not_you,
        },
        Case {
            options: &some,
            reference: json!("$env:HOME"),
            message: "`HOME` is not one",
        },
        Case {
            options: &some,
            reference: json!("$env:TEST_KEY_2"),
            message: "is not one",
        },
        Case {
            options: &all,
            reference: json!("$env:PORTKEY_API_KEY"),
            message: "is not one",
        },
        Case {
            options: &all,
            reference: json!("$env:ALSO_OWN"),
            message: "a key of this server itself",
        },
        Case {
            options: &all,
            reference: json!("$env:EMPTY"),
            message: "not set",
        },
        Case {
            options: &all,
            reference: json!("$env:NO_SUCH_VARIABLE"),
            message: "not set",
        },
        Case {
            options: &all,
            reference: json!("$file:key"),
            message: "no file",
        },
        Case {
            options: &some,
            reference: json!("$file:no-such"),
            message: "no file",
        },
        Case {
            options: &some,
            reference: json!("$file:way-out"),
            message: "no file",
        },
        Case {
            options: &some,
            reference: json!("$file:folder-out/key"),
            message: "no file",
        },
        Case {
            options: &some,
            reference: json!("$file:../closed/key"),
            message: "no file",
        },
        Case {
            options: &some,
            reference: json!({ "$file": outside }),
            message: "no file",
        },
        Case {
            options: &some,
            reference: json!("$file:/etc/hostname"),
            message: "no file",
        },
        Case {
            options: &some,
            reference: json!("$file:deeper"),
            message: "no file",
        },
        Case {
            options: &some,
            reference: json!("$file:empty"),
            message: "holds no secret",
        },
        Case {
            options: &some,
            reference: json!("$file:large"),
            message: "holds no secret",
        },
        Case {
            options: &some,
            reference: json!({ "$env": "TEST_KEY", "more": 1 }),
            message: "takes text",
        },
        Case {
            options: &some,
            reference: json!({ "$env": "TEST KEY" }),
            message: "takes text",
        },
    ];
    for options in [&[][..], &some, &all] {
        for connected in connect_everywhere(&[&base[..], options].concat(), &variables).await {
            let of_options = cases.iter().filter(|case| case.options == options);
            for Case {
                reference, message, ..
            } in of_options
            {
                let got = connected
                    .call("create-integration", create_args(reference.clone()))
                    .await;
                let error = got.unwrap_err();
                assert!(
                    error.contains(message),
                    "{}, {reference}: {error}",
                    connected.way
                );
                assert!(
                    !error.contains(SECRET) && !error.contains("servers-own"),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(upstream.count(), 0);
}

/// A reference is resolved only where a read masks the value.
#[tokio::test]
async fn resolved_reference_cannot_be_read_back() {
    let args = ["--sandbox", "--secret-env", "TEST_KEY"];
    for connected in connect_everywhere(&args, &[("TEST_KEY", SECRET)]).await {
        let config =
            |config: Value| json!({ "name": "n", "workspace_id": "ws-shared", "config": config });
        let open = config(json!({ "provider": "openai", "note": ["$env:TEST_KEY"] }));
        let error = connected.call("create-config", open).await.unwrap_err();
        assert!(
            error.contains("`config.note[0]`") && error.contains("none is kept"),
            "{error}"
        );
        let good = config(json!({ "provider": "openai", "api_key": { "$env": "TEST_KEY" } }));
        let made = connected.call("create-config", good).await.unwrap();
        let slug = made["data"]["slug"]
            .as_str()
            .or(made["slug"].as_str())
            .unwrap()
            .to_owned();
        let read = connected
            .call("get-config", json!({ "slug": slug }))
            .await
            .unwrap();
        assert!(
            read.to_string().contains("[masked by portkey-mcp]"),
            "{read}"
        );
        assert!(!read.to_string().contains(SECRET), "{read}");
    }
}

/// References belong to the operator; other callers may use them only by name.
#[tokio::test]
async fn references_are_allowed_only_to_named_callers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let file = file.to_str().unwrap();
    let mut tokens = Vec::new();
    for name in ["deploy-bot", "support"] {
        let scopes = ["--scope", "portkey:read,portkey:write"];
        let args = [
            &["token", "new", "--name", name, "--file", file][..],
            &scopes,
        ]
        .concat();
        let (ok, token, log) = crate::support::process::run_cli(&args);
        assert!(ok, "{log}");
        tokens.push(token.trim().to_owned());
    }
    let server = ServerProcess::http()
        .sandbox()
        .auth("token")
        .args(&["--auth-file", file])
        .args(&["--secret-env", "TEST_KEY", "--secret-caller", "deploy-*"])
        .variables(&[("TEST_KEY", SECRET)])
        .start();
    for (token, may) in tokens.iter().zip([true, false]) {
        let request = call_request(
            &server,
            "create-integration",
            create_args(json!("$env:TEST_KEY")),
        );
        let (_, message) = send_request(request.bearer_auth(token)).await;
        let refused = message["result"]["isError"] == true;
        assert_eq!(refused, !may, "{message}");
        assert_eq!(
            refused,
            message.to_string().contains("not opened to you"),
            "{message}"
        );
    }
}
