//! The REST face: requests and answers pass unchanged, and through the same guard as tool calls.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use portkey_api::catalog::Catalog;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{
    approvals::{AdminFolder, serve_with_admin},
    audit::read_entries,
    policy::PolicyFile,
    process::run_cli,
    requests::client,
    server::{ServerBuilder, ServerProcess, serve_sandbox},
    upstream::{KEY, MockUpstream, ResponseAction, http_response, json_response},
};

const JSON: &str = "content-type: application/json\r\n";
const PROVIDER_KEY: &str = "sk-planted0123456789abcdef0123";

/// Returns a builder of a server whose upstream is this one.
fn serve_upstream(upstream: &MockUpstream) -> ServerBuilder<ServerProcess> {
    ServerProcess::http()
        .upstream(&upstream.base_url)
        .api_key(KEY)
        .args(&["--rest", "--retries", "0"])
}

/// Returns the address of a server, without a path.
fn address(server: &ServerProcess) -> &str {
    server.url.split('/').nth(2).unwrap()
}

fn request(server: &ServerProcess, method: Method, target: &str) -> RequestBuilder {
    client().request(method, format!("http://{}{target}", address(server)))
}

fn request_with_body(
    server: &ServerProcess,
    method: Method,
    target: &str,
    body: &str,
) -> RequestBuilder {
    request(server, method, target)
        .header("content-type", "application/json")
        .body(body.to_owned())
}

/// A response that was read as a whole.
struct RestResponse {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl RestResponse {
    async fn read(response: Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts that this is an error of the server, in Portkey's shape. Returns its message.
    fn assert_error(&self, status: u16, code: &str) -> String {
        let body = self.json();
        let data = &body["data"];
        assert_eq!(
            (self.status.as_u16(), data["errorCode"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(
            (&body["success"], &data["code"]),
            (&json!(false), &data["errorCode"])
        );
        assert_eq!(self.header("content-type"), Some("application/json"));
        data["message"].as_str().unwrap().to_owned()
    }
}

async fn send(request: RequestBuilder) -> RestResponse {
    RestResponse::read(request.send().await.unwrap()).await
}

async fn get(server: &ServerProcess, target: &str) -> RestResponse {
    send(request(server, Method::GET, target)).await
}

/// Sends a request with this first line, which no client has normalised.
fn send_raw(server: &ServerProcess, line: &str) -> String {
    let mut stream = TcpStream::connect(address(server)).unwrap();
    write!(
        stream,
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    _ = stream.read_to_string(&mut text);
    text
}

#[tokio::test]
async fn reads_are_those_of_the_api_byte_for_byte() {
    let api = ServerProcess::sandbox_api().start();
    let server = ServerProcess::http()
        .upstream(&api.url)
        .auth("key")
        .args(&["--rest"])
        .start();
    for target in [
        "/v1/integrations",
        "/v1/integrations/openai-production",
        "/v1/integrations?page_size=1&current_page=1",
        "/v1/admin/workspaces",
        "/v1/collections?workspace_id=ws-shared",
        "/v1/labels",
        "/v1/configs/no-such-config",
        "/v2/scim/groups",
    ] {
        let direct = request(&api, Method::GET, target).header("x-portkey-api-key", "pk-any-key-1");
        let direct = send(direct).await;
        let bearer = request(&server, Method::GET, target).bearer_auth("pk-any-key-1");
        let header =
            request(&server, Method::GET, target).header("x-portkey-api-key", "pk-any-key-1");
        for through in [bearer, header] {
            let through = send(through).await;
            assert_eq!(
                (through.status, &through.text),
                (direct.status, &direct.text),
                "{target}"
            );
            assert_eq!(
                through.header("content-type"),
                direct.header("content-type")
            );
            assert!(through.header("x-portkey-request-id").is_some());
            assert!(through.header("x-request-id").is_some());
            assert_eq!(through.header("x-portkey-mcp-warning"), None, "{target}");
        }
    }
}

#[tokio::test]
async fn writes_take_effect_in_the_sandbox() {
    let server = serve_sandbox(&["--rest"]);
    let body = r#"{"name":"Mine","slug":"mine","ai_provider_id":"openai","key":"sk-1"}"#;
    let created = send(request_with_body(
        &server,
        Method::POST,
        "/v1/integrations",
        body,
    ))
    .await;
    assert_eq!(created.status, StatusCode::OK, "{}", created.text);
    let renamed = r#"{"name":"Ours"}"#;
    let renamed = request_with_body(&server, Method::PUT, "/v1/integrations/mine", renamed);
    assert_eq!(send(renamed).await.status, StatusCode::OK);
    assert_eq!(
        get(&server, "/v1/integrations/mine").await.json()["name"],
        "Ours"
    );
    let deleted = send(request(&server, Method::DELETE, "/v1/integrations/mine")).await;
    assert_eq!(
        (deleted.status, deleted.text.as_str()),
        (StatusCode::OK, "{}")
    );
    let gone = get(&server, "/v1/integrations/mine").await;
    assert_eq!(
        (gone.status, &gone.json()["data"]["errorCode"]),
        (StatusCode::NOT_FOUND, &json!("AB08"))
    );
}

#[tokio::test]
async fn query_and_body_travel_unchanged() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = serve_upstream(&upstream).start();
    let body = "{ \"zeta\": null,\n\"name\" : \"a\\u0062\", \"rate\":1.0, \"big\":1e2, \"list\": [ ] ,\
                \"expires_at\": null, \"usage_limits\":{\"credit_limit\":\"5\"} }";
    let target = "/v1/api-keys/0a4c?b=%7e&a=1&&empty=&plus=x+y&list[]=1&flag";
    let sent = send(request_with_body(&server, Method::PUT, target, body)).await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
    let [received] = &upstream.requests()[..] else {
        panic!("one request")
    };
    assert_eq!(received.method, "PUT");
    assert_eq!(received.target, target);
    assert_eq!(String::from_utf8_lossy(&received.body), body);
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("x-portkey-api-key"), Some(KEY));
    let warning = sent.header("x-portkey-mcp-warning").unwrap();
    for name in ["`zeta`", "`rate`", "`list[]`", "not known"] {
        assert!(warning.contains(name), "{warning}");
    }
    for name in ["usage_limits", "expires_at", "`name`"] {
        assert!(!warning.contains(name), "{warning}");
    }

    // A body where none is declared, a list as a body, and a path segment that needs encoding.
    for (method, target, body) in [
        (Method::DELETE, "/v1/configs/pc-a", "{\"force\":true}"),
        (
            Method::POST,
            "/v1/logs",
            "[{\"request\":{},\"response\":{}}]",
        ),
        (Method::GET, "/v1/prompts/a%20b", ""),
    ] {
        let before = upstream.count();
        send(request_with_body(&server, method.clone(), target, body)).await;
        let [received] = &upstream.requests_after(before)[..] else {
            panic!("{method} {target}")
        };
        assert_eq!(
            (received.method.as_str(), received.target.as_str()),
            (method.as_str(), target)
        );
        assert_eq!(String::from_utf8_lossy(&received.body), body);
    }
}

#[tokio::test]
async fn answers_come_back_unchanged() {
    struct Case {
        status: &'static str,
        headers: &'static str,
        body: &'static str,
    }

    const CASES: [Case; 7] = [
        Case {
            status: "200 OK",
            headers: "content-type: application/json; charset=utf-8\r\n",
            body: "{ \"data\" : [ 1.0, 1e2, null ],\n \"b\":\"\\u0041\", \"a\":\"\u{200b}\" }\n",
        },
        Case {
            status: "201 Created",
            headers: JSON,
            body: "{}",
        },
        Case {
            status: "204 No Content",
            headers: "",
            body: "",
        },
        Case {
            status: "404 Not Found",
            headers: JSON,
            body: "{\"success\":false, \"data\":{\"message\":\"gone\",\"errorCode\":\"AB08\"}}",
        },
        Case {
            status: "429 Too Many Requests",
            headers: "content-type: application/json\r\nretry-after: 7\r\n",
            body: "{\"success\":false}",
        },
        Case {
            status: "503 Service Unavailable",
            headers: "content-type: text/html\r\n",
            body: "<h1>away</h1>",
        },
        Case {
            status: "418 I'm a teapot",
            headers: JSON,
            body: "null",
        },
    ];
    let upstream = MockUpstream::start(|before| {
        let case = &CASES[before];
        http_response(case.status, case.headers, case.body)
    })
    .await;
    let server = serve_upstream(&upstream).start();
    for case in &CASES {
        let answer = get(&server, "/v1/labels").await;
        assert_eq!(answer.text, case.body, "{}", case.status);
        assert!(
            case.status.starts_with(answer.status.as_str()),
            "{}",
            case.status
        );
        let content_type = case
            .headers
            .lines()
            .next()
            .and_then(|line| line.split_once(": "));
        assert_eq!(
            answer.header("content-type"),
            content_type.map(|(_, value)| value)
        );
        let retry_after = case.headers.contains("retry-after").then_some("7");
        assert_eq!(answer.header("retry-after"), retry_after);
    }
}

#[tokio::test]
async fn unreadable_json_is_withheld() {
    let upstream = MockUpstream::start(|_| json_response("{\"key\":\"secret-1\", 1e999")).await;
    let server = serve_upstream(&upstream).start();
    let answer = get(&server, "/v1/virtual-keys/a").await;
    answer.assert_error(502, "upstream_unavailable");
    assert!(!answer.text.contains("secret-1"), "{}", answer.text);
}

#[tokio::test]
async fn secrets_in_answers_are_masked() {
    let body = format!("{{\"slug\":\"a\", \"key\":\"{PROVIDER_KEY}\", \"note\":\"{KEY}\"}}");
    let twice = "{\"slug\":\"a\",\"key\":\"plain-secret-1\",\"key\":\"\"}";
    let text = format!("<p>{PROVIDER_KEY}</p>");
    let error = format!("{{\"success\":false,\"data\":{{\"message\":\"bad {KEY}\"}}}}");
    let upstream = MockUpstream::start(move |before| match before {
        0 => json_response(&body),
        1 => json_response(twice),
        2 => http_response("502 Bad Gateway", "content-type: text/html\r\n", &text),
        _ => http_response("400 Bad Request", JSON, &error),
    })
    .await;
    let server = serve_upstream(&upstream).start();
    for status in [200, 200, 502, 400] {
        let answer = get(&server, "/v1/virtual-keys/a").await;
        assert_eq!(answer.status.as_u16(), status);
        for secret in [PROVIDER_KEY, KEY, "plain-secret-1"] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn masked_values_are_not_written_back() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = serve_upstream(&upstream).start();
    for (target, body) in [
        ("/v1/integrations/a", r#"{"key":"[masked by portkey-mcp]"}"#),
        (
            "/v1/integrations/a",
            r#"{"note":"[masked by portkey-mcp]"}"#,
        ),
        ("/v1/virtual-keys/a", r#"{"key":"ab*****xyz"}"#),
    ] {
        let rejected = send(request_with_body(&server, Method::PUT, target, body)).await;
        let message = rejected.assert_error(400, "invalid_arguments");
        assert!(message.contains("masked value"), "{message}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn references_to_secrets_are_resolved_in_the_body() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = serve_upstream(&upstream)
        .args(&["--secret-env", "TEST_KEY"])
        .variables(&[("TEST_KEY", PROVIDER_KEY)])
        .start();
    let body =
        r#"{"zeta":null,"key":"$env:TEST_KEY","name":"a","ai_provider_id":"openai","n":"5"}"#;
    let sent = send(request_with_body(
        &server,
        Method::POST,
        "/v1/integrations",
        body,
    ))
    .await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
    let received = String::from_utf8(upstream.requests()[0].body.clone()).unwrap();
    assert_eq!(received, body.replace("$env:TEST_KEY", PROVIDER_KEY));
}

#[tokio::test]
async fn policy_stops_a_deletion_and_the_audit_log_records_it() {
    let upstream = MockUpstream::start(|_| json_response("{\"total\":1}")).await;
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - name: no deletions\n    action: deny\n    match: { effects: [delete] }\n    \
         on_deny: Ask the platform team\n",
    );
    let log = policy.beside("audit.jsonl");
    let server = serve_upstream(&upstream)
        .args(&["--policy", policy.path(), "--audit-log", &log])
        .start();
    let deletion = request(&server, Method::DELETE, "/v1/configs/pc-a?force=%20x")
        .header("user-agent", "terraform/1");
    let message = send(deletion).await.assert_error(403, "policy_denied");
    assert!(message.contains("Ask the platform team"), "{message}");
    assert_eq!(upstream.count(), 0);
    assert_eq!(get(&server, "/v1/labels").await.status, StatusCode::OK);
    get(&server, "/v1/prompts/..").await;
    assert!(server.terminate().0.success());
    let entries = read_entries(&log);
    let expected = [
        json!({
            "tool": "delete-config", "effect": "delete", "outcome": "forbidden", "decision": "deny",
            "rule": "no deletions", "client": "terraform/1", "unknown_fields": ["force"],
        }),
        json!({ "tool": "list-labels", "outcome": "answered", "status": 200, "target": "GET /labels" }),
    ];
    for (entry, expected) in entries.iter().zip(&expected) {
        assert_eq!(
            (entry["transport"].as_str(), entry["principal"].as_str()),
            (Some("rest"), Some("local"))
        );
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&entry[name], value, "{name} of {entry}");
        }
    }
    assert!(run_cli(&["audit", "verify", &log]).0);
}

/// Policies see the values that the upstream will see, in whatever form they travel.
#[tokio::test]
async fn policies_read_arguments_in_every_form() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let policy = PolicyFile::with(
        r#"
version: "1"
rules:
  - { name: small keys, match: { tools: [update-api-key] }, cap: { usage_limits.credit_limit: 100 } }
  - name: one workspace
    match: { tools: [list-collections] }
    conditions: [{ path: args.workspace_id, op: eq, value: ws-a }]
  - { name: face, action: deny, match: { tools: [list-labels] }, when: 'transport == "rest"' }
"#,
    );
    let server = serve_upstream(&upstream)
        .args(&["--policy", policy.path()])
        .start();
    for (body, passes) in [
        (r#"{"usage_limits":{"credit_limit":100}}"#, true),
        (r#"{"usage_limits":{"credit_limit":"100"}}"#, true),
        (r#"{"usage_limits":{"credit_limit":101}}"#, false),
        (r#"{"usage_limits":{"credit_limit":"101"}}"#, false),
        (r#"{"usage_limits":"{\"credit_limit\":101}"}"#, false),
        (r#"{"usageLimits":{"credit_limit":1}}"#, false),
        (r#"{"usage_limits":{"creditLimit":101}}"#, false),
    ] {
        let sent = send(request_with_body(
            &server,
            Method::PUT,
            "/v1/api-keys/a",
            body,
        ))
        .await;
        match passes {
            true => assert_eq!(sent.status, StatusCode::OK, "{body}: {}", sent.text),
            false => _ = sent.assert_error(403, "policy_denied"),
        }
    }
    assert_eq!(
        get(&server, "/v1/collections?workspace_id=ws-a")
            .await
            .status,
        StatusCode::OK
    );
    for target in [
        "/v1/collections?workspace_id=ws-b",
        "/v1/collections",
        "/v1/collections?workspace_id=ws-a&workspace_id[]=ws-b",
        "/v1/labels",
    ] {
        get(&server, target)
            .await
            .assert_error(403, "policy_denied");
    }
}

#[tokio::test]
async fn policy_redacts_answers() {
    let upstream = MockUpstream::start(|_| {
        json_response("{ \"data\": [ {\"email\":\"a@b.c\",\"id\":1.0} ] }")
    })
    .await;
    let policy = PolicyFile::with(
        "version: \"1\"\ntools:\n  list-users: { rules: [{ name: emails, redact: [\"data[].email\"] }] }\n",
    );
    let server = serve_upstream(&upstream)
        .args(&["--policy", policy.path()])
        .start();
    let answer = get(&server, "/v1/admin/users").await;
    assert_eq!(answer.json()["data"][0]["email"], "[redacted by policy]");
}

/// Starts an upstream that answers each request with the next of these bodies, and a server that
/// redacts the answers to prompt completions.
async fn serve_completions(
    answers: &'static [(&'static str, &'static str)],
    policy: Option<&PolicyFile>,
) -> (MockUpstream, ServerProcess) {
    let upstream = MockUpstream::start(|before| {
        let (content_type, body) = answers[before];
        http_response("200 OK", &format!("content-type: {content_type}\r\n"), body)
    })
    .await;
    let server = serve_upstream(&upstream);
    let server = match policy {
        Some(policy) => server.args(&["--policy", policy.path()]).start(),
        None => server.start(),
    };
    (upstream, server)
}

async fn complete(server: &ServerProcess) -> RestResponse {
    let body = r#"{"variables":{},"stream":true}"#;
    let target = "/v1/prompts/p/completions";
    send(request_with_body(server, Method::POST, target, body)).await
}

fn completion_redactions() -> PolicyFile {
    PolicyFile::with(
        "version: \"1\"\ntools:\n  create-prompt-completion:\n    rules:\n      - name: contents\n        redact: \
         [\"choices[].message.content\", \"choices[].delta.content\"]\n",
    )
}

const EVENTS: &str = "text/event-stream";
const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"SECRET TEXT\",\"api_key\":\"planted\"}}]}\n\n";

#[tokio::test]
async fn documents_in_streams_are_masked_and_redacted() {
    const ANSWERS: [(&str, &str); 5] = [
        (EVENTS, EVENT),
        (
            "application/x-ndjson",
            "{\"choices\":[{\"message\":{\"content\":\"SECRET TEXT\"}}],\"api_key\":\"planted\"}\n{ \"id\" : 1 }\n",
        ),
        (
            "application/octet-stream",
            "{\"id\":1}\n{\"choices\":{\"delta\":{\"content\":\"SECRET TEXT\",\"api_key\":\"planted\"}}}",
        ),
        (
            "text/plain",
            "\u{feff}{\"choices\":[{\"delta\":{\"content\":\"SECRET TEXT\",\"api_key\":\"planted\"}}]}",
        ),
        (
            EVENTS,
            "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"SECRET TEXT\",\"api_key\":\"planted\"}\ndata: }]}\n\n",
        ),
    ];
    let policy = completion_redactions();
    let (_upstream, server) = serve_completions(&ANSWERS, Some(&policy)).await;
    for (content_type, body) in ANSWERS {
        let answer = complete(&server).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.text);
        assert_eq!(answer.header("content-type"), Some(content_type));
        for secret in ["SECRET TEXT", "planted"] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
        assert!(answer.text.contains("[redacted by policy]"), "{body}");
    }
    // Without a policy, secrets are masked all the same.
    let (_upstream, server) = serve_completions(&ANSWERS, None).await;
    for (_, body) in ANSWERS {
        let answer = complete(&server).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.text);
        assert!(!answer.text.contains("planted"), "{}", answer.text);
        assert!(answer.text.contains("SECRET TEXT"), "{}", answer.text);
    }
}

#[tokio::test]
async fn clean_lines_of_streams_come_back_unchanged() {
    const CLEAN: &str =
        ": keep\r\nevent: chunk\r\ndata:  { \"id\":1.0, \"n\":1e2 }\r\n\r\ndata: [DONE]\r\n\r\n";
    const ANSWERS: [(&str, &str); 2] = [
        (EVENTS, CLEAN),
        ("application/x-ndjson", "{ \"id\":1.0 }\n\n[ 1e2 ]"),
    ];
    let policy = completion_redactions();
    let log = policy.beside("audit.jsonl");
    let (upstream, server) = serve_completions(&ANSWERS, Some(&policy)).await;
    for (_, body) in ANSWERS {
        assert_eq!(complete(&server).await.text, body);
    }
    drop((upstream, server));
    let upstream = MockUpstream::start(|_| {
        http_response("200 OK", "content-type: text/event-stream\r\n", CLEAN)
    })
    .await;
    let server = serve_upstream(&upstream)
        .args(&["--audit-log", &log])
        .start();
    assert_eq!(complete(&server).await.text, CLEAN);
    assert!(server.terminate().0.success());
    let entries = read_entries(&log);
    assert_eq!(
        entries.last().unwrap()["outcome"],
        "answered",
        "{entries:?}"
    );
}

#[tokio::test]
async fn answer_that_cannot_be_redacted_is_withheld() {
    const ANSWERS: [(&str, &str); 6] = [
        ("text/plain", "SECRET TEXT"),
        (EVENTS, "data: SECRET TEXT\n\n"),
        ("text/plain", "{\"choices\":[{\"content\":\"SECRET TEXT\""),
        ("application/octet-stream", "{\"id\":1}\nSECRET TEXT\n"),
        (EVENTS, "data: {\"content\":\n\ndata: \"SECRET TEXT\"}\n\n"),
        ("application/json", EVENT),
    ];
    let policy = completion_redactions();
    let (_upstream, server) = serve_completions(&ANSWERS, Some(&policy)).await;
    for (at, (_, body)) in ANSWERS.into_iter().enumerate() {
        let answer = complete(&server).await;
        let message = answer.assert_error(502, "upstream_unavailable");
        assert!(!answer.text.contains("SECRET"), "{body}: {}", answer.text);
        if at < 2 {
            assert!(message.contains("without `stream`"), "{message}");
        }
    }
}

#[tokio::test]
async fn broken_json_is_withheld_whatever_its_type_is() {
    const ANSWERS: [(&str, &str); 4] = [
        ("text/plain", "{\"api_key\":\"planted\""),
        ("text/plain", "ok {\"api_key\":\"planted\"}"),
        (EVENTS, "data: {\"api_key\":\"planted\"\n\n"),
        ("text/plain", "ordinary text"),
    ];
    let (_upstream, server) = serve_completions(&ANSWERS, None).await;
    for (_, body) in ANSWERS {
        let answer = complete(&server).await;
        if body == "ordinary text" {
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (StatusCode::OK, body)
            );
        } else {
            answer.assert_error(502, "upstream_unavailable");
            assert!(!answer.text.contains("planted"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn write_with_a_broken_answer_may_have_taken_effect() {
    let upstream = MockUpstream::start_by(|_, _| json_response(r#"{"id":"#)).await;
    let server = serve_upstream(&upstream).start();
    let body = json!({ "name": "n" }).to_string();
    for (method, is_in_doubt) in [(Method::POST, true), (Method::GET, false)] {
        let answer = match method {
            Method::GET => get(&server, "/v1/labels").await,
            _ => send(request_with_body(&server, method, "/v1/labels", &body)).await,
        };
        let message = answer.assert_error(502, "upstream_unavailable");
        let says_doubt = message.contains("It may have taken effect all the same");
        assert_eq!(says_doubt, is_in_doubt, "{message}");
        let says_refused = message.contains("was refused with 200");
        assert_eq!(says_refused, !is_in_doubt, "{message}");
    }
}

#[tokio::test]
async fn id_that_is_part_of_another_address_is_rejected() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = serve_upstream(&upstream).start();
    for (method, target) in [
        (Method::DELETE, "/v1/admin/users/invites"),
        (Method::GET, "/v1/admin/users/Invites"),
        (Method::PUT, "/v1/prompts/partials"),
        (Method::GET, "/v1/analytics/groups/Users"),
    ] {
        let rejected = send(request(&server, method, target)).await;
        let message = rejected.assert_error(400, "invalid_arguments");
        assert!(message.contains("is not an id"), "{target}: {message}");
    }
    assert_eq!(upstream.count(), 0);
    for target in [
        "/v1/admin/users/invites",
        "/v1/analytics/groups/provider",
        "/v1/prompts/invites",
    ] {
        assert_eq!(get(&server, target).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn request_that_was_not_sent_has_no_warning() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: no deletions, action: deny, match: { effects: [delete] } }\n",
    );
    let server = serve_upstream(&upstream)
        .args(&["--policy", policy.path()])
        .start();
    let denied = send(request(&server, Method::DELETE, "/v1/configs/a?zeta=1")).await;
    denied.assert_error(403, "policy_denied");
    assert_eq!(denied.header("x-portkey-mcp-warning"), None);
    let update = || request_with_body(&server, Method::PUT, "/v1/configs/a", r#"{"zeta":1}"#);
    let described = send(update().header("X-Portkey-MCP-Dry-Run", "true")).await;
    assert_eq!(described.json()["code"], "dry_run");
    assert_eq!(described.header("x-portkey-mcp-warning"), None);
    let sent = send(update()).await;
    assert!(sent.header("x-portkey-mcp-warning").is_some());
}

#[tokio::test]
async fn ambiguous_requests_are_rejected() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = serve_upstream(&upstream).start();
    for (target, body) in [
        ("/v1/configs/a?name=b&name=c", "{}"),
        ("/v1/configs/a?n%61me=b&name=c", "{}"),
        ("/v1/configs/a", r#"{"name":"b","n\u0061me":"c"}"#),
        ("/v1/configs/a", r#"{"config":{"retry":1,"retry":2}}"#),
        ("/v1/configs/a?name=b", r#"{"name":"c"}"#),
        ("/v1/configs/a?name=%ff", "{}"),
        ("/v1/configs/a", "{"),
        ("/v1/configs/a", "[]"),
        ("/v1/configs/a", r#"{"n":1e999}"#),
    ] {
        let rejected = send(request_with_body(&server, Method::PUT, target, body)).await;
        rejected.assert_error(400, "invalid_arguments");
    }
    let form = request(&server, Method::PUT, "/v1/configs/a")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("name=b");
    send(form).await.assert_error(415, "unsupported_media_type");
    assert_eq!(upstream.count(), 0);
    // A field of the body that has the name of a path segment is an unknown field.
    let shadowed = request_with_body(&server, Method::PUT, "/v1/configs/a", r#"{"slug":"b"}"#);
    let sent = send(shadowed).await;
    assert!(
        sent.header("x-portkey-mcp-warning")
            .unwrap()
            .contains("`slug`")
    );
    assert_eq!(upstream.requests()[0].body, br#"{"slug":"b"}"#);
}

#[tokio::test]
async fn unknown_fields_are_denied_or_allowed_as_the_option_says() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let body = r#"{"name":"a","usage_limits":{"new_field":1}}"#;
    for (mode, status) in [("deny", StatusCode::BAD_REQUEST), ("allow", StatusCode::OK)] {
        let server = serve_upstream(&upstream)
            .args(&["--rest-unknown", mode])
            .start();
        let sent = send(request_with_body(
            &server,
            Method::PUT,
            "/v1/api-keys/a",
            body,
        ))
        .await;
        assert_eq!(sent.status, status, "{}", sent.text);
        assert_eq!(sent.header("x-portkey-mcp-warning"), None);
        if mode == "deny" {
            let message = sent.assert_error(400, "invalid_arguments");
            assert!(message.contains("usage_limits.new_field"), "{message}");
        }
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn dry_run_sends_nothing() {
    let upstream =
        MockUpstream::start(|_| json_response("{\"slug\":\"a\",\"name\":\"Old\"}")).await;
    let server = serve_upstream(&upstream).start();
    let body = r#"{"name":"New","key":"sk-planted-key"}"#;
    let update = || request_with_body(&server, Method::PUT, "/v1/integrations/a", body);
    let report = send(update().header("X-Portkey-MCP-Dry-Run", "true")).await;
    assert_eq!(report.status, StatusCode::OK);
    let report = report.json();
    assert_eq!(
        (&report["dry_run"], &report["code"]),
        (&json!(true), &json!("dry_run"))
    );
    assert_eq!(report["request"]["method"], "PUT");
    assert_eq!(report["request"]["body"]["key"], "***");
    let name = json!({ "path": "name", "from": "Old", "to": "New" });
    assert!(
        report["changes"].as_array().unwrap().contains(&name),
        "{report}"
    );
    // A value that is neither true nor false might mean either.
    let unclear = send(update().header("X-Portkey-MCP-Dry-Run", "yes")).await;
    unclear.assert_error(400, "invalid_request");
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| request.method == "GET")
    );
    let server = serve_upstream(&upstream).args(&["--dry-run"]).start();
    let update = request_with_body(&server, Method::PUT, "/v1/integrations/a", body);
    assert_eq!(send(update).await.json()["code"], "dry_run");
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| request.method == "GET")
    );
}

#[tokio::test]
async fn approved_ticket_lets_the_same_request_pass_once() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &["--rest"]);
    let delete = |slug: &str, ticket: Option<&str>| {
        let request = request(&server, Method::DELETE, &format!("/v1/integrations/{slug}"))
            .bearer_auth("pk-first-caller");
        match ticket {
            Some(ticket) => request.header("X-Portkey-MCP-Approval-Ticket", ticket),
            None => request,
        }
    };
    let asked = send(delete("openai-production", None)).await;
    let message = asked.assert_error(428, "approval_required");
    let ticket = asked.json()["data"]["ticket"].as_str().unwrap().to_owned();
    assert!(message.contains(&ticket), "{message}");
    assert_eq!(
        asked.header("x-portkey-mcp-approval-ticket"),
        Some(ticket.as_str())
    );
    // Nobody has decided: the same ticket again.
    let waiting = send(delete("openai-production", Some(&ticket))).await;
    waiting.assert_error(428, "approval_required");
    assert_eq!(waiting.json()["data"]["ticket"], ticket.as_str());
    let (approved, _, log) = admin.run_approvals(&["approve", &ticket]);
    assert!(approved, "{log}");
    // Not for another request, nor for another query.
    for other in ["anthropic-research", "openai-production?force=true"] {
        let other = send(delete(other, Some(&ticket))).await;
        other.assert_error(403, "approval_denied");
    }
    let done = send(delete("openai-production", Some(&ticket))).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let again = send(delete("openai-production", Some(&ticket))).await;
    again.assert_error(403, "approval_denied");
}

#[tokio::test]
async fn approval_without_an_approver_is_refused() {
    let server = serve_sandbox(&["--rest", "--approve-deletes"]);
    let refused = send(request(
        &server,
        Method::DELETE,
        "/v1/integrations/openai-production",
    ))
    .await;
    refused.assert_error(403, "approval_required");
}

#[tokio::test]
async fn unknown_paths_name_the_nearest_operations() {
    let server = serve_sandbox(&["--rest"]);
    for (target, nearest) in [
        (
            "/v1/integratons",
            "GET /v1/integrations (list-all-integrations)",
        ),
        (
            "/v1/workspaces",
            "GET /v1/admin/workspaces (list-all-workspaces)",
        ),
        ("/v1/scim/groups", "GET /v2/scim/groups (list-scim-groups)"),
    ] {
        let message = get(&server, target)
            .await
            .assert_error(404, "no_such_operation");
        assert!(message.contains(nearest), "{message}");
    }
    for target in [
        "/v1",
        "/v1/",
        "/v2/a/b/c",
        "/v1/servers",
        "/v1/model-configs/pricing/a/b",
    ] {
        get(&server, target)
            .await
            .assert_error(404, "no_such_operation");
    }
    let wrong = send(request(&server, Method::PATCH, "/v1/integrations/a")).await;
    wrong.assert_error(405, "method_not_allowed");
    assert_eq!(
        wrong.header("allow"),
        Some("DELETE, GET, HEAD, OPTIONS, PUT")
    );
    let options = send(request(&server, Method::OPTIONS, "/v1/integrations")).await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
    // Not those of a user whose id is `invites`.
    let options = send(request(&server, Method::OPTIONS, "/v1/admin/users/invites")).await;
    assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
    let options = send(request(&server, Method::OPTIONS, "/openapi.json")).await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"));
    let head = send(request(&server, Method::HEAD, "/v1/integrations")).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn no_path_leads_elsewhere() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let server = serve_upstream(&upstream).start();
    for path in [
        "/v1/configs/..",
        "/v1/configs/%2e%2e",
        "/v1/configs/%252e%252e",
        "/v1/configs/..%2fadmin%2fusers",
        "/v1/configs/a%2fb",
        "/v1/configs/a%5cb",
        "/v1/configs/%2e",
        "/v1/configs/",
        "/v1/configs/%00",
        "/v1/configs/../admin/users",
        "/v1/../v1/configs",
        "/v1//configs",
        "/v1/./configs",
        "/v1/configs%2fa",
        "/v1/configs/%ff",
        "/v1/configs;a",
        "//v1/configs",
        "/mcp/../v1/configs",
    ] {
        let text = send_raw(&server, &format!("DELETE {path}"));
        let status = text.split(' ').nth(1).unwrap();
        assert!(matches!(status, "400" | "404" | "405"), "{path}: {text}");
    }
    assert_eq!(upstream.count(), 0, "{:?}", upstream.requests());
}

#[tokio::test]
async fn tool_filters_and_limits_apply() {
    let server = serve_sandbox(&["--rest", "--read-only"]);
    let deletion = send(request(&server, Method::DELETE, "/v1/integrations/a")).await;
    deletion.assert_error(403, "not_permitted");
    let hidden = send(request(&server, Method::OPTIONS, "/v1/integrations")).await;
    assert_eq!(hidden.header("allow"), Some("GET, HEAD, OPTIONS"));
    let filtered = request(&server, Method::GET, "/v1/integrations")
        .header("X-Portkey-MCP-Toolsets", "labels");
    send(filtered).await.assert_error(403, "not_permitted");

    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: few, limits: [{ max: 1, window: hour }] }\n",
    );
    let server = serve_sandbox(&["--rest", "--policy", policy.path(), "--rate-limit", "3/h"]);
    assert_eq!(get(&server, "/v1/labels").await.status, StatusCode::OK);
    // The limit of the policy, and then that of the server.
    for _ in 0..3 {
        let refused = get(&server, "/v1/labels").await;
        refused.assert_error(429, "limit_reached");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3_600).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_in_both_directions() {
    let upstream = MockUpstream::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
        ResponseAction::Flood(head.into(), 12)
    })
    .await;
    let server = serve_upstream(&upstream).start();
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(10 << 20));
    let too_large = send(request_with_body(
        &server,
        Method::PUT,
        "/v1/configs/a",
        &large,
    ))
    .await;
    too_large.assert_error(413, "request_too_large");
    let many = format!("{{\"config\":[{}0]}}", "0,".repeat(50_000));
    let too_many = send(request_with_body(
        &server,
        Method::PUT,
        "/v1/configs/a",
        &many,
    ))
    .await;
    too_many.assert_error(400, "invalid_arguments");
    let deep = format!("{{\"config\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let too_deep = send(request_with_body(
        &server,
        Method::PUT,
        "/v1/configs/a",
        &deep,
    ))
    .await;
    too_deep.assert_error(400, "invalid_arguments");
    assert_eq!(upstream.count(), 0);
    let flood = get(&server, "/v1/labels").await;
    flood.assert_error(502, "upstream_unavailable");
}

#[tokio::test]
async fn large_bodies_pass_within_the_bounds() {
    let answer: &'static str =
        format!("{{\"data\": [ {}0 ]}}", "\"some text\", ".repeat(300_000)).leak();
    let upstream = MockUpstream::start(|_| json_response(answer)).await;
    let server = serve_upstream(&upstream)
        .args(&["--max-request-bytes", "16777216"])
        .start();
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(10 << 20));
    let sent = send(request_with_body(
        &server,
        Method::PUT,
        "/v1/configs/a",
        &large,
    ))
    .await;
    assert_eq!(sent.status, StatusCode::OK);
    assert!(sent.text == answer);
    assert!(upstream.requests()[0].body == large.as_bytes());
}

#[tokio::test]
async fn every_authentication_takes_the_key_of_an_sdk() {
    let key = |server: &ServerProcess, key: &'static str| {
        request(server, Method::GET, "/v1/labels").header("x-portkey-api-key", key)
    };
    // Without authentication, a key would not be used.
    let server = serve_sandbox(&["--rest"]);
    assert_eq!(send(key(&server, "none")).await.status, StatusCode::OK);
    send(key(&server, "pk-mine"))
        .await
        .assert_error(400, "invalid_request");
    let bearer = request(&server, Method::GET, "/v1/labels").bearer_auth("pk-mine");
    assert_eq!(send(bearer).await.status, StatusCode::OK);

    let server = ServerProcess::http()
        .sandbox()
        .auth("key")
        .args(&["--rest"])
        .start();
    let missing = get(&server, "/v1/labels").await;
    missing.assert_error(401, "unauthenticated");
    assert!(missing.header("www-authenticate").is_some());
    assert_eq!(send(key(&server, "pk-mine")).await.status, StatusCode::OK);
    let both = key(&server, "pk-mine").bearer_auth("of-a-provider");
    assert_eq!(send(both).await.status, StatusCode::OK);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let file = file.to_str().unwrap();
    let (ok, token, log) = run_cli(&[
        "token",
        "new",
        "--name",
        "ci",
        "--scope",
        "portkey:read",
        "--file",
        file,
    ]);
    assert!(ok, "{log}");
    let token = token
        .split_whitespace()
        .max_by_key(|word| word.len())
        .unwrap()
        .to_owned();
    assert!(fs::exists(file).unwrap());
    let server = ServerProcess::http()
        .sandbox()
        .auth("token")
        .args(&["--auth-file", file, "--rest"])
        .start();
    let by_key = request(&server, Method::GET, "/v1/labels").header("x-portkey-api-key", &token);
    assert_eq!(send(by_key).await.status, StatusCode::OK);
    let write = request(&server, Method::DELETE, "/v1/labels/a").bearer_auth(&token);
    send(write).await.assert_error(403, "not_permitted");
    let wrong = send(key(&server, "pk-mine")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{}", wrong.text);
}

#[tokio::test]
async fn openapi_document_describes_every_route() {
    let server = serve_sandbox(&["--rest"]);
    let document = get(&server, "/openapi.json").await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    for marker in [
        "x-clearable",
        "x-secret",
        "x-or-list",
        "x-publish",
        "x-widest",
    ] {
        assert!(
            !document.text.contains(&format!("\"{marker}\"")),
            "{marker}"
        );
    }
    let document = document.json();
    assert_eq!(document["openapi"], "3.1.0");
    let tags: Vec<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .collect();
    let is_served = |operation: &&portkey_operation::Operation| {
        use portkey_operation::ApiBase;
        matches!(
            operation.base(),
            ApiBase::ControlPlane | ApiBase::ControlPlaneV2 | ApiBase::Gateway
        )
    };
    let paths = document["paths"].as_object().unwrap();
    let items = paths.iter().flat_map(|(path, methods)| {
        methods
            .as_object()
            .unwrap()
            .iter()
            .map(move |item| (path, item))
    });
    let mut patterns = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, (method, item)) in items {
        let id = item["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id}");
        let operation = Catalog::operations()
            .find(|operation| operation.name() == id)
            .unwrap();
        assert_eq!(operation.method().as_str().to_ascii_lowercase(), *method);
        assert!(!item["summary"].as_str().unwrap().is_empty(), "{id}");
        assert!(tags.contains(&&item["tags"][0]), "{id}");
        assert_eq!(
            item["responses"]["default"]["$ref"],
            "#/components/responses/Error"
        );
        let none = Vec::new();
        let parameters = item["parameters"].as_array().unwrap_or(&none);
        let in_path: Vec<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| {
                assert_eq!(parameter["required"], true, "{id}");
                parameter["name"].as_str().unwrap()
            })
            .collect();
        let mut expected: Vec<_> = operation.placeholders().collect();
        let mut declared = in_path.clone();
        expected.sort_unstable();
        declared.sort_unstable();
        assert_eq!(declared, expected, "{id}");
        assert_eq!(
            item.get("requestBody").is_some(),
            operation.takes_body(),
            "{id}"
        );
        // Two templates of one path would be ambiguous.
        let pattern = in_path.iter().fold(path.clone(), |path, name| {
            path.replace(&format!("{{{name}}}"), "{}")
        });
        assert!(patterns.insert(format!("{method} {pattern}")), "{pattern}");
    }
    let mut expected = Catalog::operations().filter(is_served);
    assert!(expected.all(|operation| ids.contains(operation.name()) == operation.is_stable()));

    let server = serve_sandbox(&[
        "--rest",
        "--toolsets",
        "labels",
        "--path-prefix",
        "/portkey",
    ]);
    let document = get(&server, "/portkey/openapi.json").await.json();
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/v1/labels", "/v1/labels/{label_id}"]);
    assert_eq!(document["servers"][0]["url"], "/portkey");
}

#[tokio::test]
async fn openapi_document_asks_for_the_credential_that_is_taken() {
    let document = get(&serve_sandbox(&["--rest"]), "/openapi.json").await;
    let document = document.json();
    assert_eq!(document["security"], json!([]));
    assert_eq!(document["components"]["securitySchemes"], json!({}));

    let server = ServerProcess::http()
        .sandbox()
        .auth("key")
        .args(&["--rest"])
        .start();
    let document = request(&server, Method::GET, "/openapi.json").bearer_auth("pk-mine");
    let document = send(document).await.json();
    assert_eq!(
        document["security"],
        json!([{ "portkeyKey": [] }, { "bearer": [] }])
    );
    let schemes = document["components"]["securitySchemes"].as_object();
    assert_eq!(schemes.unwrap().len(), 2);
}

/// Requests have no session, so all requests of a caller share one taint.
#[tokio::test]
async fn untrusted_content_taints_the_caller() {
    let upstream = MockUpstream::start(|_| json_response("{\"total\":1}")).await;
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - name: wary\n    action: deny\n    match: { effects: [create] }\n    \
         when: tainted\n",
    );
    let server = serve_upstream(&upstream)
        .args(&["--policy", policy.path()])
        .start();
    let create = async || {
        send(request_with_body(
            &server,
            Method::POST,
            "/v1/labels",
            r#"{"name":"a"}"#,
        ))
        .await
    };
    assert_eq!(create().await.status, StatusCode::OK);
    assert_eq!(get(&server, "/v1/labels").await.status, StatusCode::OK);
    assert_eq!(create().await.status, StatusCode::OK);
    assert_eq!(get(&server, "/v1/prompts/p").await.status, StatusCode::OK);
    let message = create().await.assert_error(403, "policy_denied");
    assert!(message.contains("wary"), "{message}");
    assert_eq!(upstream.count(), 4);
}

#[tokio::test]
async fn own_listener_serves_the_api_alone() {
    let mut server = serve_sandbox(&["--rest-listen", "127.0.0.1:0"]);
    let line = server.read_until("serving the API");
    let rest = line[line.find("http://").unwrap()..]
        .trim()
        .trim_end_matches("/v1")
        .to_owned();
    let status = |url: String| async move { client().get(url).send().await.unwrap().status() };
    assert_eq!(status(format!("{rest}/v1/labels")).await, StatusCode::OK);
    assert_eq!(status(format!("{rest}/healthz")).await, StatusCode::OK);
    assert_eq!(status(format!("{rest}/mcp")).await, StatusCode::NOT_FOUND);
    let main = format!("http://{}", address(&server));
    assert_eq!(
        status(format!("{main}/v1/labels")).await,
        StatusCode::NOT_FOUND
    );
    assert!(server.terminate().0.success());
}

#[tokio::test]
async fn path_prefix_precedes_the_paths_of_the_api() {
    let server = serve_sandbox(&["--rest", "--path-prefix", "/portkey"]);
    assert_eq!(
        get(&server, "/portkey/v1/labels").await.status,
        StatusCode::OK
    );
    assert_eq!(
        get(&server, "/v1/labels").await.status,
        StatusCode::NOT_FOUND
    );
    get(&server, "/portkey/v1/label")
        .await
        .assert_error(404, "no_such_operation");
}

#[tokio::test]
async fn face_is_off_by_default() {
    let server = serve_sandbox(&[]);
    let answer = get(&server, "/v1/labels").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text.contains("MCP is served at"), "{}", answer.text);
}
