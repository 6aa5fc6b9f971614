//! The console: signing in, the inbox, decisions on the page of a call, and the audit log.

use std::fs;

use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    approvals::{AdminFolder, SLUG, TOOL, serve_with_admin, ticket_id},
    audit::read_entries,
    console::Browser,
    mcp_client::McpClient,
    requests::{call_request, send_request},
    server::ServerProcess,
};

/// Makes a call that waits, and returns the id of its ticket.
async fn wait_for_approval(server: &ServerProcess, tool: &str, args: &Value) -> String {
    let caller = McpClient::new(&server.url, "pk-alice");
    let answer = caller.modern(tool, args).await.unwrap();
    ticket_id(
        answer.message["result"]["content"][0]["text"]
            .as_str()
            .unwrap(),
    )
}

async fn wait_for_deletion(server: &ServerProcess, slug: &str) -> String {
    wait_for_approval(server, TOOL, &json!({ "slug": slug })).await
}

#[tokio::test]
async fn token_is_exchanged_for_a_cookie() {
    let admin = AdminFolder::new();
    let _server = serve_with_admin(&admin, &[]);
    let token = admin.read_field("token");
    let mut browser = Browser::new(&admin);
    for path in ["/", "/calls/00", "/audit"] {
        let page = browser.get(path).await;
        let location = page.location.unwrap();
        assert!(
            page.status == StatusCode::SEE_OTHER && location.starts_with("/sign-in"),
            "{path}"
        );
    }
    assert_eq!(
        browser.get("/events").await.status,
        StatusCode::UNAUTHORIZED
    );
    let denied = browser.post("/deny", &[("decision", "deny")]).await;
    assert_eq!(denied.status, StatusCode::UNAUTHORIZED);
    for (given, name, expected) in [
        ("another", "Dana", StatusCode::FORBIDDEN),
        ("", "Dana", StatusCode::FORBIDDEN),
        (token.as_str(), " ", StatusCode::UNPROCESSABLE_ENTITY),
        (
            token.as_str(),
            &"x".repeat(101),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let page = browser.sign_in(given, name).await;
        assert_eq!(
            (page.status, browser.cookie.is_none()),
            (expected, true),
            "{name}"
        );
        assert!(!page.html.contains(&token), "{}", page.html);
    }
    assert_eq!(
        browser.sign_in(&token, "Dana D.").await.location.as_deref(),
        Some("/")
    );
    let cookie = browser.cookie.clone().unwrap();
    assert!(
        cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains(&token),
        "{cookie}"
    );
    let inbox = browser.get("/").await;
    assert!(
        inbox.status == StatusCode::OK && inbox.html.contains("Dana D."),
        "{inbox:?}"
    );
    assert!(!inbox.html.contains(&token), "{}", inbox.html);
    let form = inbox.field("/sign-out", "token");
    let out = browser.post("/sign-out", &[("token", &form)]).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn page_in_the_log_signs_in_without_a_file() {
    let mut command = ServerProcess::http()
        .sandbox()
        .args(&["--approve-deletes", "--admin-listen", "127.0.0.1:0"])
        .command();
    command.stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(log).map(Result::unwrap);
    let line = lines.find(|line| line.contains("/waiting/")).unwrap();
    let value = |field: &str| {
        let rest = line.split(field).nth(1).unwrap().trim_start_matches('"');
        rest.split(['"', ' ']).next().unwrap().to_owned()
    };
    let admin = AdminFolder::new();
    let url = format!("http://{}", value("address="));
    fs::write(
        admin.file_path(),
        json!({ "url": url, "token": "" }).to_string(),
    )
    .unwrap();
    let mut browser = Browser::new(&admin);
    let page = browser.get(&value("page=")).await;
    let key = page.field("/sign-in", "token");
    let signed_in = browser.sign_in(&key, "Dana").await;
    assert_eq!(signed_in.location.as_deref(), Some("/"), "{signed_in:?}");
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    assert_eq!(
        browser.get("/waiting/00").await.status,
        StatusCode::NOT_FOUND
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn inbox_lists_the_newest_call_first_and_counts() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &[]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    let empty = browser.get("/").await;
    assert!(
        empty.html.contains("Nothing waits") && !empty.title().starts_with('('),
        "{empty:?}"
    );
    let older = wait_for_deletion(&server, SLUG).await;
    let newer = wait_for_deletion(&server, "anthropic").await;
    let inbox = browser.get("/").await;
    let place = |id: &str| inbox.html.find(&format!("/calls/{id}")).unwrap();
    assert!(place(&newer) < place(&older), "{}", inbox.html);
    assert!(inbox.title().starts_with("(2) "), "{}", inbox.title());
    for text in [TOOL, "OpenAI Production", "asked by", "delete", "left"] {
        assert!(inbox.html.contains(text), "{text}: {}", inbox.html);
    }
    for (query, count) in [
        ("?tool=delete-integration", 2),
        ("?tool=delete-label", 0),
        ("?caller=nobody", 0),
        ("?caller=%22%3E%3Cb%3E", 0),
    ] {
        let page = browser.get(&format!("/{query}")).await;
        assert_eq!(page.values("call").len(), count, "{query}");
        assert!(!page.html.contains("\"><b>"), "{query}: {}", page.html);
    }
}

/// The inbox and the list of the shell name the target of a call with many entries.
#[tokio::test]
async fn call_of_many_entries_names_its_target_and_counts_them() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &["--approve-writes"]);
    let args = json!({ "slug": "openai-production", "workspaces": [
        { "id": "ws-research", "enabled": true }, { "id": "ws-support-bot", "enabled": false }] });
    wait_for_approval(&server, "bulk-update-integration-workspaces", &args).await;
    let args = json!({ "prompt_id": "pp-refund-reply", "version": 1 });
    wait_for_approval(&server, "set-default-prompt-version", &args).await;
    let browser = Browser::signed_in(&admin, "Dana").await;
    let inbox = browser.get("/").await;
    let (_, listed, _) = admin.run_approvals(&["list"]);
    for subject in [
        "openai-production, 2 workspaces: ws-research, ws-support-bot",
        "Refund Reply",
    ] {
        assert!(inbox.html.contains(subject), "{subject}: {}", inbox.html);
        assert!(listed.contains(subject), "{subject}: {listed}");
    }
}

#[tokio::test]
async fn decision_leads_back_to_the_inbox_and_says_what_was_decided() {
    let admin = AdminFolder::new();
    let mut server = serve_with_admin(&admin, &[]);
    let browser = Browser::signed_in(&admin, "Dana D.").await;
    let id = wait_for_deletion(&server, SLUG).await;
    let decided = browser.decide(&id, "approve", &[]).await;
    let place = (decided.status, decided.location.as_deref());
    assert_eq!(place, (StatusCode::SEE_OTHER, Some("/")), "{decided:?}");
    let line = server.read_until("a human decided");
    assert!(line.contains("by=\"Dana D.\""), "{line}");
    let inbox = browser.get("/").await;
    assert!(
        inbox.html.contains("Approved. The call is carried out"),
        "{}",
        inbox.html
    );
    assert!(inbox.html.contains("approved by Dana D."), "{}", inbox.html);
    let again = browser.get("/").await;
    assert!(
        !again.html.contains("Approved. The call"),
        "told once: {}",
        again.html
    );
    let page = browser.get(&format!("/calls/{id}")).await;
    assert!(
        page.html.contains("nothing left to decide"),
        "{}",
        page.html
    );
    assert!(!page.html.contains("value=\"approve\""), "{}", page.html);
    let caller = McpClient::new(&server.url, "pk-alice");
    let done = caller.modern(TOOL, &json!({ "slug": SLUG })).await.unwrap();
    assert_eq!(done.message["result"]["isError"], false, "{done:?}");
    let gone = browser.get(&format!("/calls/{id}")).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert!(
        gone.html.contains("carried out, or has expired"),
        "{}",
        gone.html
    );
}

#[tokio::test]
async fn only_a_form_of_this_session_decides_and_once() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &[]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    let other = Browser::signed_in(&admin, "Eve").await;
    let id = wait_for_deletion(&server, SLUG).await;
    let path = format!("/calls/{id}");
    let page = browser.get(&path).await;
    let digest = page.field("data-decide", "digest");
    let token = page.field("data-decide", "token");
    // No address decides.
    for query in [
        "?decision=approve",
        &format!("?decision=approve&token={token}&digest={digest}"),
    ] {
        assert_eq!(
            browser.get(&format!("{path}{query}")).await.status,
            StatusCode::OK
        );
    }
    let foreign = other.get(&path).await.field("data-decide", "token");
    for (token, digest, expected) in [
        ("", &*digest, StatusCode::FORBIDDEN),
        (&*foreign, &*digest, StatusCode::FORBIDDEN),
        (&*token, "0", StatusCode::CONFLICT),
        // Used by the attempt before.
        (&*token, &*digest, StatusCode::FORBIDDEN),
    ] {
        let fields = [
            ("token", token),
            ("digest", digest),
            ("decision", "approve"),
        ];
        let page = browser.post(&path, &fields).await;
        assert_eq!(page.status, expected, "{token} {digest}: {}", page.html);
    }
    // Other sites and other names of the host.
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("host", "evil.example"),
    ] {
        let token = browser.get(&path).await.field("data-decide", "token");
        let fields = [
            ("token", &*token),
            ("digest", &digest),
            ("decision", "approve"),
        ];
        let request = browser.form_request(&path, &fields).header(name, value);
        let status = request.send().await.unwrap().status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let (_, list, _) = admin.run_approvals(&["list"]);
    assert!(
        list.contains("pending") && !list.contains("approved"),
        "{list}"
    );
}

#[tokio::test]
async fn enter_key_in_the_console_decides_nothing() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &["--approve-by-name"]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    let id = wait_for_deletion(&server, SLUG).await;
    let page = browser.get(&format!("/calls/{id}")).await;
    for (html, form) in [
        (&page.html, "data-decide"),
        (&browser.get("/").await.html, "/deny"),
    ] {
        let form = html.split(form).nth(1).unwrap();
        let first = form
            .split("<button ")
            .nth(1)
            .unwrap()
            .split('>')
            .next()
            .unwrap();
        assert!(
            first.contains("value=\"none\"") && !first.contains("disabled"),
            "{first}"
        );
    }
    let name = [("name", "OpenAI Production")];
    for decision in ["none", ""] {
        let page = browser.decide(&id, decision, &name).await;
        assert_eq!(
            page.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{}",
            page.html
        );
        assert!(page.html.contains("press Approve or Deny"), "{}", page.html);
        assert!(
            page.html.contains("value=\"OpenAI Production\""),
            "{}",
            page.html
        );
    }
    let wrong = browser.decide(&id, "approve", &[("name", "Other")]).await;
    assert_eq!(
        wrong.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{}",
        wrong.html
    );
    let right = browser.decide(&id, "approve", &name).await;
    assert_eq!(right.status, StatusCode::SEE_OTHER, "{}", right.html);
}

#[tokio::test]
async fn selected_calls_are_denied_together() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &[]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    let kept = wait_for_deletion(&server, "bedrock-eu").await;
    let first = wait_for_deletion(&server, SLUG).await;
    let second = wait_for_deletion(&server, "anthropic").await;
    let inbox = browser.get("/").await;
    let token = inbox.field("/deny", "token");
    let calls = inbox.values("call");
    let selected: Vec<_> = calls
        .iter()
        .filter(|call| !call.starts_with(&kept))
        .collect();
    let mut fields = vec![("token", &*token), ("decision", "deny")];
    fields.extend(selected.iter().map(|call| ("call", call.as_str())));
    let stale = format!("{kept}.0");
    fields.push(("call", &stale));
    assert_eq!(
        browser.post("/deny", &fields).await.status,
        StatusCode::SEE_OTHER
    );
    let after = browser.get("/").await;
    assert!(after.html.contains("2 calls were denied"), "{}", after.html);
    assert!(
        after.html.contains("1 had been decided elsewhere"),
        "{}",
        after.html
    );
    let (_, list, _) = admin.run_approvals(&["list"]);
    for (id, state) in [
        (&first, "denied by Dana"),
        (&second, "denied by Dana"),
        (&kept, "pending"),
    ] {
        let line = list
            .lines()
            .find(|line| line.starts_with(id.as_str()))
            .unwrap();
        assert!(line.contains(state), "{list}");
    }
    let replayed = browser.post("/deny", &fields).await;
    assert_eq!(replayed.status, StatusCode::FORBIDDEN);
    let token = after.field("/deny", "token");
    for fields in [
        &[("token", &*token), ("decision", "none"), ("call", &*kept)][..],
        &[
            ("token", &*browser.get("/").await.field("/deny", "token")),
            ("decision", "deny"),
        ],
    ] {
        browser.post("/deny", fields).await;
        let page = browser.get("/").await;
        assert!(
            page.html.contains("Nothing was decided: select"),
            "{}",
            page.html
        );
    }
}

#[tokio::test]
async fn call_that_was_decided_elsewhere_is_told() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &[]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    let id = wait_for_deletion(&server, SLUG).await;
    let path = format!("/calls/{id}");
    let page = browser.get(&path).await;
    assert!(admin.run_approvals(&["deny", &id, "--by", "Bob"]).0);
    let token = page.field("data-decide", "token");
    let digest = page.field("data-decide", "digest");
    let fields = [
        ("token", &*token),
        ("digest", &digest),
        ("decision", "approve"),
    ];
    let late = browser.post(&path, &fields).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(
        late.html.contains("it was denied by Bob meanwhile"),
        "{}",
        late.html
    );
}

#[tokio::test]
async fn change_of_a_config_is_shown_by_field_and_only_secrets_are_masked() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &["--approve-writes"]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    let secret = "sk-planted-0123456789abcdef";
    let args = json!({
        "slug": "pc-support-fallback",
        "config": {
            "strategy": { "mode": "loadbalance" },
            "targets": [
                { "provider": "@openai-production", "weight": 0.25 },
                { "provider": "@anthropic", "weight": 0.75, "api_key": secret },
            ],
            "retry": { "attempts": 4 },
        },
    });
    let id = wait_for_approval(&server, "update-config", &args).await;
    let page = browser.get(&format!("/calls/{id}")).await;
    for text in [
        "Support Fallback",
        "config.strategy.mode",
        "fallback",
        "loadbalance",
        "config.targets[provider=@openai-production].weight",
        "0.25",
        "0.75",
        "config.retry.attempts",
        "secret, set",
        "--approve-deletes",
        "pc-support-fallback",
    ] {
        assert!(page.html.contains(text), "{text}: {}", page.html);
    }
    assert!(!page.html.contains(secret), "{}", page.html);
    let inbox = browser.get("/").await;
    assert!(
        inbox
            .html
            .contains("config.strategy.mode fallback → loadbalance"),
        "{}",
        inbox.html
    );
}

#[tokio::test]
async fn long_text_is_shown_by_its_lines() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &["--approve-writes"]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    let caller = McpClient::new(&server.url, "pk-alice");
    let lines = |middle: &str| format!("You are helpful.\n{middle}\nAnswer in <one> sentence.\n");
    let create = json!({ "name": "Lines", "string": lines("Be brief.") });
    let id = wait_for_approval(&server, "create-prompt-partial", &create).await;
    assert!(admin.run_approvals(&["approve", &id]).0);
    let made = caller
        .modern("create-prompt-partial", &create)
        .await
        .unwrap();
    let slug = made.message["result"]["structuredContent"]["slug"].clone();
    let args = json!({ "prompt_partial_id": slug, "string": lines("Be thorough.") });
    let id = wait_for_approval(&server, "update-prompt-partial", &args).await;
    let page = browser.get(&format!("/calls/{id}")).await;
    for text in [
        "class=\"del\">-Be brief.",
        "class=\"add\">+Be thorough.",
        "class=\"same\"> Answer in &#60;one&#62; sentence.",
    ] {
        assert!(page.html.contains(text), "{text}: {}", page.html);
    }
}

#[tokio::test]
async fn audit_page_shows_decisions_and_verifies_the_chain() {
    let admin = AdminFolder::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let server = serve_with_admin(&admin, &["--audit-log", log.to_str().unwrap()]);
    let browser = Browser::signed_in(&admin, "Dana D.").await;
    let id = wait_for_deletion(&server, SLUG).await;
    browser.decide(&id, "approve", &[]).await;
    let caller = McpClient::new(&server.url, "pk-alice");
    caller.modern(TOOL, &json!({ "slug": SLUG })).await.unwrap();
    while !read_entries(&log)
        .iter()
        .any(|entry| entry["approved_by"] == "Dana D.")
    {
        tokio::task::yield_now().await;
    }
    let page = browser.get("/audit").await;
    for text in [
        TOOL,
        "--approve-deletes",
        "approved by <b>Dana D.</b>",
        "Not verified",
    ] {
        assert!(page.html.contains(text), "{text}: {}", page.html);
    }
    let none = browser.get("/audit?tool=delete-label").await;
    assert!(none.html.contains("that matches"), "{}", none.html);
    let token = page.field("/audit/verify", "token");
    let started = browser.post("/audit/verify", &[("token", &token)]).await;
    assert_eq!(started.location.as_deref(), Some("/audit"));
    let verified = loop {
        let page = browser.get("/audit").await;
        if !page.html.contains("The verification runs") {
            break page;
        }
    };
    assert!(verified.html.contains("are intact"), "{}", verified.html);
    let replayed = browser.post("/audit/verify", &[("token", &token)]).await;
    assert_eq!(replayed.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn damaged_audit_log_is_reported() {
    let admin = AdminFolder::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let server = serve_with_admin(&admin, &["--audit-log", log.to_str().unwrap()]);
    wait_for_deletion(&server, SLUG).await;
    while !read_entries(&log).iter().any(|entry| entry["tool"] == TOOL) {
        tokio::task::yield_now().await;
    }
    let text = fs::read_to_string(&log).unwrap();
    fs::write(
        &log,
        text.replacen("local", "other", 1)
            .replacen(TOOL, "another-tool", 1),
    )
    .unwrap();
    let browser = Browser::signed_in(&admin, "Dana").await;
    let token = browser.get("/audit").await.field("/audit/verify", "token");
    browser.post("/audit/verify", &[("token", &token)]).await;
    let verified = loop {
        let page = browser.get("/audit").await;
        if !page.html.contains("The verification runs") {
            break page;
        }
    };
    assert!(
        verified.html.contains("this line was changed"),
        "{}",
        verified.html
    );
}

#[tokio::test]
async fn name_of_a_trusted_proxy_is_recorded() {
    for (proxies, is_trusted) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let admin = AdminFolder::new();
        let options = [
            "--admin-name-header",
            "x-forwarded-user",
            "--admin-trusted-proxies",
            proxies,
        ];
        let server = serve_with_admin(&admin, &options);
        let mut browser = Browser::new(&admin).with_header("x-forwarded-user", "Ann Proxy");
        browser.sign_in(&admin.read_field("token"), "Dana").await;
        let id = wait_for_deletion(&server, SLUG).await;
        if !is_trusted {
            // The name that was typed would stand for somebody whom the proxy does not know.
            assert_eq!(browser.get("/").await.status, StatusCode::FORBIDDEN);
            continue;
        }
        browser.decide(&id, "deny", &[]).await;
        let (_, list, _) = admin.run_approvals(&["list"]);
        assert!(list.contains("denied by Ann Proxy"), "{list}");
        let twice = browser.with_header("x-forwarded-user", "Somebody Else");
        assert_eq!(twice.get("/").await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn console_behind_a_proxy_accepts_its_host_and_restricts_the_cookie() {
    let admin = AdminFolder::new();
    let site = "https://approvals.example.com";
    let _server = serve_with_admin(&admin, &["--admin-url", site]);
    let mut browser = Browser::new(&admin)
        .with_header("host", "approvals.example.com")
        .with_header("origin", site);
    let page = browser.sign_in(&admin.read_field("token"), "Dana").await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let cookie = browser.cookie.clone().unwrap();
    assert!(
        cookie.starts_with("__Host-") && cookie.contains("; Secure"),
        "{cookie}"
    );
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let foreign = Browser::new(&admin).with_header("host", "approvals.example.com");
    let foreign = foreign.with_header("origin", "http://approvals.example.com");
    assert_eq!(foreign.get("/sign-in").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn new_call_is_announced_to_open_pages_and_streams_are_bounded() {
    let admin = AdminFolder::new();
    let server = serve_with_admin(&admin, &[]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    let answer = browser.events_request().send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut events = answer.bytes_stream();
    let first = events.next().await.unwrap().unwrap();
    assert!(
        String::from_utf8_lossy(&first).contains("\"waiting\":0"),
        "{first:?}"
    );
    wait_for_deletion(&server, SLUG).await;
    loop {
        let event = events.next().await.unwrap().unwrap();
        if String::from_utf8_lossy(&event).contains("\"waiting\":1") {
            break;
        }
    }
    let mut open = vec![];
    let full = loop {
        let answer = browser.events_request().send().await.unwrap();
        match answer.status() {
            StatusCode::OK => open.push(answer),
            status => break status,
        }
    };
    assert_eq!((full, open.len()), (StatusCode::SERVICE_UNAVAILABLE, 15));
    // Pages are served beside all streams.
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn pages_run_no_inline_script_and_cannot_be_framed() {
    let admin = AdminFolder::new();
    let _server = serve_with_admin(&admin, &[]);
    let browser = Browser::signed_in(&admin, "Dana").await;
    for path in ["/", "/sign-in", "/console.css", "/console.js", "/elsewhere"] {
        let request = crate::support::requests::client().get(format!("{}{path}", admin.url()));
        let answer = browser.with_session(request).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
        let text = answer.text().await.unwrap();
        assert!(
            !text.contains("<script>") && !text.contains("style=\""),
            "{path}: {text}"
        );
    }
}

#[tokio::test]
async fn change_is_undone_from_the_history() {
    let admin = AdminFolder::new();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let options = admin.options();
    let server = ServerProcess::http()
        .sandbox()
        .args(&crate::support::approvals::strs(&options))
        .variables(&[("PORTKEY_MCP_NO_JOURNAL", "false")])
        .args(&["--journal", journal.to_str().unwrap()])
        .start();
    let update = json!({ "slug": SLUG, "description": "Changed" });
    let (_, done) = send_request(call_request(&server, "update-integration", update)).await;
    assert_eq!(done["result"]["isError"], false, "{done}");
    let browser = Browser::signed_in(&admin, "Dana").await;
    let list = browser.get("/changes").await;
    assert!(
        list.html.contains(SLUG) && list.html.contains("update"),
        "{}",
        list.html
    );
    let none = browser.get("/changes?tool=delete-label").await;
    assert!(none.html.contains("No change matches"), "{}", none.html);
    let path = list.html.split("href=\"/changes/").nth(1).unwrap();
    let path = format!("/changes/{}", path.split('"').next().unwrap());
    let page = browser.get(&path).await;
    assert!(page.html.contains("Changed"), "{}", page.html);
    let token = page.field("class=\"bar\"", "token");
    // No address undoes.
    browser.get(&format!("{path}?token={token}")).await;
    let undone = browser.post(&path, &[("token", &token)]).await;
    assert_eq!(undone.location.as_deref(), Some(&*path), "{}", undone.html);
    let page = browser.get(&path).await;
    assert!(page.html.contains("The change was undone"), "{}", page.html);
    assert!(page.html.contains("Undone by"), "{}", page.html);
    let replayed = browser.post(&path, &[("token", &token)]).await;
    assert_eq!(replayed.status, StatusCode::FORBIDDEN);
}
