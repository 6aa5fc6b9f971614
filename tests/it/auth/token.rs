//! Callers with a token from the operator's token file.

use std::{fs, path::PathBuf};

use reqwest::Response;

use super::*;
use crate::support::{process::command, upstream::json_response};

/// A folder with a token file that the command `token new` writes.
struct TokenFolder {
    folder: tempfile::TempDir,
}

impl TokenFolder {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    fn create_token(&self, name: &str, more: &[&str]) -> String {
        let path = self.path();
        let mut args = vec![
            "token",
            "new",
            "--name",
            name,
            "--file",
            path.to_str().unwrap(),
        ];
        args.extend(more);
        let (ok, token, log) = run_cli(&args);
        assert!(ok, "{log}");
        token.trim().to_owned()
    }

    fn serve(&self, more: &[&str], variables: &[(&str, &str)]) -> ServerProcess {
        let path = self.path();
        ServerProcess::http()
            .auth("token")
            .args(&["--auth-file", path.to_str().unwrap()])
            .args(more)
            .variables(variables)
            .start()
    }
}

#[tokio::test]
async fn each_token_uses_its_own_key() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let tokens = TokenFolder::new();
    let file = tokens.folder.path().join("key");
    fs::write(&file, "pk-from-file\n").unwrap();
    let reference = format!("file:{}", file.display());
    let all = ["--scope", "portkey:read,portkey:write,portkey:delete"];
    let one = tokens.create_token(
        "one",
        &[&all[..], &["--portkey-key", "env:TEST_KEY_ONE"]].concat(),
    );
    let two = tokens.create_token("two", &[&all[..], &["--portkey-key", &reference]].concat());
    let keyless = tokens.create_token("keyless", &all);
    let server = tokens.serve(
        &["--base-url", &upstream.base_url],
        &[("TEST_KEY_ONE", "pk-from-env")],
    );
    let list =
        |token: &str| call_request(&server, "list-all-integrations", json!({})).bearer_auth(token);
    for token in [&one, &two, &one] {
        let (status, body) = send_request(list(token)).await;
        assert_eq!(
            (status, &body["result"]["isError"]),
            (StatusCode::OK, &json!(false)),
            "{body}"
        );
    }
    let (_, body) = send_request(list(&keyless)).await;
    let text = body["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("this caller has no Portkey API key"),
        "{text}"
    );
    assert_eq!(
        upstream_keys(&upstream),
        ["pk-from-env", "pk-from-file", "pk-from-env"]
    );
    assert!(
        !upstream
            .requests()
            .iter()
            .any(|seen| seen.head.contains("pmcp_"))
    );
}

#[tokio::test]
async fn request_without_a_valid_token_is_rejected() {
    struct Case {
        what: &'static str,
        request: RequestBuilder,
        expected: u16,
    }

    let tokens = TokenFolder::new();
    let good = tokens.create_token("one", &["--scope", "portkey:read"]);
    let old = tokens.create_token(
        "old",
        &[
            "--scope",
            "portkey:read",
            "--expires",
            "2020-01-01T00:00:00Z",
        ],
    );
    let server = tokens.serve(&["--sandbox"], &[]);
    let list = || stateless_request(&server, "tools/list", json!({}));
    let (status, _) = send_request(list().bearer_auth(&good)).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = send_request(list().header("authorization", format!("bearer {good}"))).await;
    assert_eq!(status, StatusCode::OK, "a scheme is not case-sensitive");
    let mut nearly = good.clone();
    let last = if nearly.pop() == Some('A') { 'B' } else { 'A' };
    nearly.push(last);
    let (_, missing, _) = rejection(list()).await;
    assert_eq!(
        missing[header::WWW_AUTHENTICATE],
        "Bearer realm=\"portkey-mcp\""
    );
    for Case {
        what,
        request,
        expected,
    } in [
        Case {
            what: "none",
            request: list(),
            expected: 401,
        },
        Case {
            what: "another",
            request: list().bearer_auth(nearly),
            expected: 401,
        },
        Case {
            what: "one that has ended",
            request: list().bearer_auth(old),
            expected: 401,
        },
        Case {
            what: "an empty one",
            request: list().header("authorization", "Bearer "),
            expected: 400,
        },
        Case {
            what: "another scheme",
            request: list().basic_auth("one", Some(&good)),
            expected: 400,
        },
        Case {
            what: "two",
            request: list()
                .bearer_auth(&good)
                .header("authorization", "Bearer x"),
            expected: 400,
        },
        Case {
            what: "a key beside it",
            request: list().bearer_auth(&good).header("x-portkey-api-key", "pk"),
            expected: 400,
        },
    ] {
        let (status, headers, text) = rejection(request).await;
        assert_eq!(status.as_u16(), expected, "{what}: {text}");
        assert_eq!(
            headers.contains_key(header::WWW_AUTHENTICATE),
            expected == 401,
            "{what}"
        );
        assert!(!text.contains(&good), "{text}");
    }
    // The probes need no token.
    for path in ["/healthz", "/readyz"] {
        let url = server.url.replace("/mcp", path);
        assert_eq!(
            client().get(url).send().await.unwrap().status(),
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn token_is_limited_to_its_scopes_and_toolsets() {
    let tokens = TokenFolder::new();
    let token = tokens.create_token(
        "narrow",
        &[
            "--scope",
            "portkey:read,portkey:prompts:write",
            "--toolset",
            "integrations,prompts",
        ],
    );
    let server = tokens.serve(&["--sandbox"], &[]);
    let (_, body) =
        send_request(stateless_request(&server, "tools/list", json!({})).bearer_auth(&token)).await;
    let names: Vec<_> = body["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    // A tool that lacks a scope is listed, so the client can request the scope.
    assert!(
        names.contains(&"create-integration") && names.contains(&"list-prompts"),
        "{names:?}"
    );
    assert!(
        !names.contains(&"list-configs") && !names.contains(&"get-mcp-gateway"),
        "{names:?}"
    );
    let said = async |tool: &str, arguments: Value| {
        let (_, body) =
            send_request(call_request(&server, tool, arguments).bearer_auth(&token)).await;
        body["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{body}"))
            .to_owned()
    };
    let text = said("list-all-integrations", json!({ "page_size": 1 })).await;
    assert!(text.starts_with("{\""), "{text}");
    let new = json!({ "name": "n", "ai_provider_id": "openai", "key": "sk-1" });
    let text = said("create-integration", new).await;
    for part in [
        "`portkey:write`",
        "`portkey:integrations:write`",
        "`narrow`",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let text = said("delete-integration", json!({ "slug": "openai-production" })).await;
    assert!(text.contains("`portkey:delete`"), "{text}");
    let text = said("list-configs", json!({})).await;
    assert!(
        text.contains("toolset `configs`") && text.contains("not open"),
        "{text}"
    );
    let text = said("get-integration", json!({ "slug": "openai-production" })).await;
    assert!(text.contains("openai-production"), "still there: {text}");
}

/// An added token is accepted, a removed one is rejected, and an invalid file changes nothing.
#[tokio::test]
async fn changed_token_file_is_reloaded() {
    let tokens = TokenFolder::new();
    let first = tokens.create_token("first", &["--scope", "portkey:read"]);
    let mut server = tokens.serve(&["--sandbox"], &[]);
    let status = async |url: &str, token: &str| {
        let request = client()
            .get(url)
            .header("accept", "text/event-stream")
            .bearer_auth(token);
        request.send().await.unwrap().status()
    };
    let url = server.url.clone();
    assert_ne!(status(&url, &first).await, StatusCode::UNAUTHORIZED);

    let second = tokens.create_token("second", &["--scope", "portkey:read"]);
    server.read_until("reloaded the changed file");
    for token in [&first, &second] {
        assert_ne!(status(&url, token).await, StatusCode::UNAUTHORIZED);
    }

    fs::write(tokens.path(), "[[token]]\nname = \"broken\"\n").unwrap();
    let line = server.read_until("the change is invalid");
    assert!(
        line.contains("tokens.toml") && line.contains("sha256"),
        "{line}"
    );
    assert_ne!(status(&url, &second).await, StatusCode::UNAUTHORIZED);

    // A new file replaces the old one, as editors and orchestrators do it.
    let next = TokenFolder::new();
    let token = "third";
    let third = next.create_token(token, &["--scope", "portkey:read"]);
    let beside = tokens.folder.path().join("new");
    fs::copy(next.path(), &beside).unwrap();
    fs::rename(beside, tokens.path()).unwrap();
    server.read_until("reloaded the changed file");
    assert_ne!(status(&url, &third).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&url, &first).await, StatusCode::UNAUTHORIZED);
}

/// The file determines the visible tools, so every list may have changed.
#[tokio::test]
async fn token_file_change_notifies_subscribers() {
    let tokens = TokenFolder::new();
    let token = tokens.create_token("first", &["--scope", "portkey:read"]);
    let server = tokens.serve(&["--sandbox"], &[]);
    let lists = ["tools", "prompts", "resources"];
    let wanted: Value = lists
        .map(|list| (format!("{list}ListChanged"), json!(true)))
        .into_iter()
        .collect();
    let listen = stateless_request(
        &server,
        "subscriptions/listen",
        json!({ "notifications": wanted }),
    );
    let mut stream = listen.bearer_auth(&token).send().await.unwrap();
    let mut heard = String::new();
    let mut until = async |part: &str| {
        while !heard.contains(part) {
            let chunk = stream
                .chunk()
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("no {part}: {heard}"));
            heard.push_str(&String::from_utf8_lossy(&chunk));
        }
        heard.clone()
    };
    let acknowledged = until("acknowledged").await;
    for list in lists {
        assert!(
            acknowledged.contains(&format!("\"{list}ListChanged\":true")),
            "{acknowledged}"
        );
    }
    tokens.create_token("second", &["--scope", "portkey:read"]);
    for list in lists {
        until(&format!("notifications/{list}/list_changed")).await;
    }
}

/// Opens a subscription stream and the stream of a session. Also returns the session id.
async fn open_streams(server: &ServerProcess, token: &str) -> ([Response; 2], String) {
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    let listen = stateless_request(server, "subscriptions/listen", filter).bearer_auth(token);
    let listening = listen.send().await.unwrap();
    assert_eq!(listening.status(), StatusCode::OK);
    let begun = initialize_request(server)
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    let session = begun.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let get = client()
        .get(&server.url)
        .header("accept", "text/event-stream");
    let of_session = get
        .header("mcp-session-id", &session)
        .bearer_auth(token)
        .send()
        .await;
    let of_session = of_session.unwrap();
    assert_eq!(of_session.status(), StatusCode::OK);
    ([listening, of_session], session)
}

/// Reads a stream to its end, or until its text contains `part`.
async fn read_until(stream: &mut Response, part: Option<&str>) -> String {
    let mut text = String::new();
    while part.is_none_or(|part| !text.contains(part))
        && let Some(chunk) = stream.chunk().await.unwrap()
    {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text
}

#[tokio::test]
async fn streams_and_sessions_end_when_their_token_is_removed() {
    let tokens = TokenFolder::new();
    let stays = tokens.create_token("stays", &["--scope", "portkey:read"]);
    let remaining = fs::read_to_string(tokens.path()).unwrap();
    let goes = tokens.create_token("goes", &["--scope", "portkey:read"]);
    let mut server = tokens.serve(&["--sandbox"], &[]);
    let (mut ending, session) = open_streams(&server, &goes).await;
    let (mut lasting, other) = open_streams(&server, &stays).await;
    fs::write(tokens.path(), remaining).unwrap();
    for stream in &mut ending {
        read_until(stream, None).await;
    }
    let line = server.read_until("a session ended");
    assert!(line.contains("caller=\"goes\""), "{line}");
    let list = |session: &str, token: &str| {
        let body = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/list" }).to_string();
        post_request(&server, &body)
            .header("mcp-session-id", session)
            .bearer_auth(token)
    };
    assert_eq!(
        rejection(list(&session, &goes)).await.0,
        StatusCode::UNAUTHORIZED
    );
    // A caller whose token remains is notified of the change and continues.
    let heard = read_until(&mut lasting[0], Some("notifications/tools/list_changed")).await;
    assert!(
        heard.contains("notifications/tools/list_changed"),
        "{heard}"
    );
    assert_eq!(
        list(&other, &stays).send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn streams_and_sessions_end_when_their_token_expires() {
    let tokens = TokenFolder::new();
    let expires = (chrono::Utc::now() + chrono::Duration::seconds(3)).to_rfc3339();
    let token = tokens.create_token("one", &["--scope", "portkey:read", "--expires", &expires]);
    let mut server = tokens.serve(&["--sandbox"], &[]);
    let (mut ending, _) = open_streams(&server, &token).await;
    for stream in &mut ending {
        read_until(stream, None).await;
    }
    let line = server.read_until("a session ended");
    assert!(line.contains("caller=\"one\""), "{line}");
}

#[test]
fn invalid_token_entry_is_rejected() {
    let tokens = TokenFolder::new();
    tokens.create_token("taken", &["--scope", "portkey:read"]);
    let path = tokens.path();
    let before = fs::read_to_string(&path).unwrap();
    for (args, expected) in [
        (
            &["--name", "taken", "--scope", "portkey:read"] as &[&str],
            "the same name",
        ),
        (
            &["--name", "a b", "--scope", "portkey:read"],
            "1 to 64 letters",
        ),
        (&["--name", "x", "--scope", "read"], "portkey:read"),
        (
            &["--name", "x", "--scope", "portkey:prompt:read"],
            "did you mean",
        ),
        (
            &[
                "--name",
                "x",
                "--scope",
                "portkey:read",
                "--toolset",
                "prompt",
            ],
            "did you mean",
        ),
        (
            &[
                "--name",
                "x",
                "--scope",
                "portkey:read",
                "--expires",
                "soon",
            ],
            "2027-01-31",
        ),
        (&["--name", "x"], "--scope"),
    ] {
        let file = ["--file", path.to_str().unwrap()];
        let (ok, out, log) = run_cli(&[&["token", "new"], args, &file].concat());
        assert!(
            !ok && out.is_empty() && log.contains(expected),
            "{args:?}: {log}"
        );
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), before);

    let hash = "0".repeat(64);
    let entry = |more: &str| format!("[[token]]\nname = \"x\"\nsha256 = \"{hash}\"\n{more}\n");
    for (text, expected) in [
        ("[[token]]\nnom = 1".to_owned(), "line 2"),
        (entry("scopes = []"), "could do nothing"),
        (
            entry("scopes = [\"portkey:read\"]\nportkey_key = \"pk-written-out\""),
            "env:VARIABLE",
        ),
        (
            entry("scopes = [\"portkey:read\"]\nportkey_key = \"env:TEST_UNSET\""),
            "TEST_UNSET",
        ),
        (
            entry("scopes = [\"portkey:read\"]\nportkey_key = \"file:/nonexistent/k\""),
            "/nonexistent",
        ),
        (
            entry("scopes = [\"portkey:read\"]").replace('0', "g"),
            "64 hexadecimal",
        ),
        (entry("scopes = [\"portkey:read\"]").repeat(2), "the same"),
    ] {
        fs::write(&path, &text).unwrap();
        let args = [
            "http",
            "--auth",
            "token",
            "--auth-file",
            path.to_str().unwrap(),
        ];
        let (ok, _, log) = run_cli(&args);
        assert!(
            !ok && log.contains(expected) && log.contains("tokens.toml"),
            "{text}: {log}"
        );
        assert!(!log.contains("pk-written-out"), "{log}");
    }
}

/// Without a file, the entry goes to standard output and the token does not.
#[test]
fn token_goes_to_standard_error_and_its_entry_to_standard_output() {
    let made = command(&["token", "new", "--name", "ci", "--scope", "portkey:read"]);
    let output = { made }.output().unwrap();
    let (entry, log) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(
        entry.starts_with("[[token]]\nname = \"ci\"\n") && !entry.contains("pmcp_"),
        "{entry}"
    );
    let token = &log[log.find("pmcp_").unwrap()..];
    assert_eq!(token.trim().len(), "pmcp_".len() + 43, "256 bits: {token}");
}
