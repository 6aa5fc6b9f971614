//! Callers that send their own Portkey key.

use super::*;
use crate::support::upstream::json_response;

#[tokio::test]
async fn key_is_used_only_for_its_own_request() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = ServerProcess::http()
        .auth("key")
        .upstream(&upstream.base_url)
        .start();
    let list = || call_request(&server, "list-all-integrations", json!({}));
    for key in ["pk-a", "pk-b", "pk-a"] {
        let (status, body) = send_request(list().header("x-portkey-api-key", key)).await;
        assert_eq!(
            (status, &body["result"]["isError"]),
            (StatusCode::OK, &json!(false)),
            "{body}"
        );
    }
    let (status, headers, text) = rejection(list()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        headers[header::WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .contains("x-portkey-api-key")
    );
    assert!(text.contains("send your Portkey API key"), "{text}");
    assert_eq!(upstream_keys(&upstream), ["pk-a", "pk-b", "pk-a"]);
}

/// A session stores the capabilities of the client and no key.
#[tokio::test]
async fn each_request_of_a_session_needs_its_key() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = ServerProcess::http()
        .auth("key")
        .upstream(&upstream.base_url)
        .start();
    let opened = initialize_request(&server)
        .header("x-portkey-api-key", "pk-a")
        .send()
        .await
        .unwrap();
    let session = opened.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let params = json!({ "name": "list-all-integrations", "arguments": {} });
    let body = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
    let again = || post_request(&server, &body.to_string()).header("mcp-session-id", &session);
    let with = again()
        .header("x-portkey-api-key", "pk-a")
        .send()
        .await
        .unwrap();
    assert!(with.text().await.unwrap().contains("\"isError\":false"));
    let (status, _, _) = rejection(again()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(upstream_keys(&upstream), ["pk-a"]);
}

#[tokio::test]
async fn invalid_key_header_is_rejected() {
    struct Case {
        what: &'static str,
        request: RequestBuilder,
        expected: StatusCode,
    }

    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = ServerProcess::http()
        .auth("key")
        .upstream(&upstream.base_url)
        .start();
    let list = || call_request(&server, "list-all-integrations", json!({}));
    let key = "x-portkey-api-key";
    let cases = [
        Case {
            what: "an empty one",
            request: list().header(key, " "),
            expected: StatusCode::UNAUTHORIZED,
        },
        Case {
            what: "no text",
            request: list().header(key, &b"pk-\xff"[..]),
            expected: StatusCode::UNAUTHORIZED,
        },
        Case {
            what: "two",
            request: list().header(key, "pk-a").header(key, "pk-b"),
            expected: StatusCode::BAD_REQUEST,
        },
        Case {
            what: "a token beside it",
            request: list()
                .header(key, "pk-a")
                .header("authorization", "Bearer t"),
            expected: StatusCode::BAD_REQUEST,
        },
    ];
    for Case {
        what,
        request,
        expected,
    } in cases
    {
        let (status, _, text) = rejection(request).await;
        assert_eq!(status, expected, "{what}: {text}");
    }
    assert_eq!(upstream.count(), 0);
}

/// The tools for Enkrypt AI are offered to callers with a key for it.
#[tokio::test]
async fn enkrypt_tools_need_their_own_key() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let root = upstream.base_url.trim_end_matches("/v1").to_owned();
    let server = ServerProcess::http()
        .auth("key")
        .args(&["--enkrypt-base-url", &root])
        .start();
    let listed = async |request: RequestBuilder| {
        let (_, body) = send_request(request.header("x-portkey-api-key", "pk-a")).await;
        let tools = body["result"]["tools"].as_array().unwrap().clone();
        tools.iter().any(|tool| tool["name"] == "get-mcp-gateway")
    };
    let list = || stateless_request(&server, "tools/list", json!({}));
    assert!(!listed(list()).await);
    assert!(listed(list().header("x-enkrypt-api-key", "ek-a")).await);
    let get = || {
        call_request(&server, "get-mcp-gateway", json!({ "gateway": "g" }))
            .header("x-portkey-api-key", "pk-a")
    };
    let (_, body) = send_request(get()).await;
    let text = body["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("switched off") && text.contains("`x-enkrypt-api-key`"),
        "{text}"
    );
    assert_eq!(upstream.count(), 0);
    send_request(get().header("x-enkrypt-api-key", "ek-a")).await;
    let seen = upstream.requests().pop().unwrap().head;
    assert!(
        seen.contains("apikey: ek-a") && !seen.contains("pk-a"),
        "{seen}"
    );
}

#[tokio::test]
async fn key_is_in_no_log_and_no_response() {
    let upstream = MockUpstream::start(|_| json_response("{")).await;
    let server = ServerProcess::http()
        .auth("key")
        .args(&["--log-level", "trace"])
        .upstream(&upstream.base_url)
        .start();
    let request = || client().get(&server.url);
    let secret = "pk-planted-secret";
    for tool in ["list-all-integrations", "no-such-tool"] {
        let call = call_request(&server, tool, json!({ "page_size": "x" }))
            .header("x-portkey-api-key", secret);
        let text = call.send().await.unwrap().text().await.unwrap();
        assert!(!text.contains("planted"), "{text}");
    }
    request()
        .header("x-portkey-api-key", secret)
        .send()
        .await
        .unwrap();
    let (_, log) = server.terminate();
    assert!(log.contains("key-") && !log.contains("planted"), "{log}");
}

/// Keys of the operator are checked before the server starts, wherever they are configured.
#[test]
fn malformed_key_stops_the_start_and_names_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let marked = write("marked", "\u{feff}pk-planted\n");
    let two = write("two", "pk-planted\npk-planted-2\n");
    let token = |key: &str| {
        let sha256 = "0".repeat(64);
        format!(
            "[[token]]\nname = \"one\"\nsha256 = \"{sha256}\"\nscopes = [\"portkey:read\"]\n{key}\n"
        )
    };
    let of_file = write(
        "tokens.toml",
        &token(&format!("portkey_key = \"file:{two}\"")),
    );
    let of_variable = write(
        "tokens2.toml",
        &token("enkrypt_key = \"env:TEST_ENKRYPT_KEY\""),
    );
    let oauth = format!(
        "resource = \"https://a.example/mcp\"\nissuer = \"https://b.example\"\n[[tenant]]\nvalue = \"v\"\n\
         portkey_key = \"file:{marked}\"\n"
    );
    let oauth = write("oauth.toml", &oauth);
    struct Case<'a> {
        args: &'a [&'a str],
        variable: (&'a str, &'a str),
        places: &'a [&'a str],
        shape: &'a str,
    }
    let none = ("TEST_NONE", "");
    let http = ["http", "--listen", "127.0.0.1:0", "--auth"];
    let by_file = [&http[..], &["token", "--auth-file", &of_file]].concat();
    let by_variable = [&http[..], &["token", "--auth-file", &of_variable]].concat();
    let by_oauth = [&http[..], &["oauth", "--auth-file", &oauth]].concat();
    for Case {
        args,
        variable,
        places,
        shape,
    } in [
        Case {
            args: &["stdio"],
            variable: ("PORTKEY_API_KEY", "${PORTKEY_API_KEY}"),
            places: &["PORTKEY_API_KEY", "--api-key"],
            shape: "is a placeholder",
        },
        Case {
            args: &["http", "--listen", "127.0.0.1:0"],
            variable: ("PORTKEY_API_KEY", "\"pk-planted\""),
            places: &["PORTKEY_API_KEY"],
            shape: "is in quotes",
        },
        Case {
            args: &["call", "list-labels"],
            variable: ("ENKRYPT_API_KEY", "Bearer planted"),
            places: &["ENKRYPT_API_KEY", "--enkrypt-api-key"],
            shape: "begins with `Bearer`",
        },
        Case {
            args: &["stdio", "--api-key-file", &marked],
            variable: none,
            places: &["PORTKEY_API_KEY_FILE", "--api-key-file", &marked],
            shape: "byte order mark",
        },
        Case {
            args: &["stdio", "--enkrypt-api-key-file", &two],
            variable: none,
            places: &["ENKRYPT_API_KEY_FILE", &two],
            shape: "blanks or line breaks",
        },
        Case {
            args: &by_file,
            variable: none,
            places: &["token `one`", "`portkey_key`", &two],
            shape: "line breaks",
        },
        Case {
            args: &by_variable,
            variable: ("TEST_ENKRYPT_KEY", "ENKRYPT_API_KEY=planted"),
            places: &["token `one`", "`enkrypt_key`", "env:TEST_ENKRYPT_KEY"],
            shape: "begins with a name",
        },
        Case {
            args: &by_oauth,
            variable: none,
            places: &["line 5", &marked],
            shape: "byte order mark",
        },
    ] {
        let mut command = crate::support::process::command(args);
        let output = command
            .env(variable.0, variable.1)
            .stdin(std::process::Stdio::null())
            .output();
        let output = output.unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{args:?}: {log}"
        );
        for part in places.iter().chain([&shape]) {
            assert!(log.contains(part), "{args:?}: {part} is not in {log}");
        }
        assert!(!log.contains("planted"), "{log}");
    }
}
