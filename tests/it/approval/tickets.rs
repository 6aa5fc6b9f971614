//! Tickets: the command that decides them, their page and the approval server.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    approvals::{
        AdminFolder, SLUG, TOOL, form_token, serve_with_admin, strs, ticket_id, ticket_page_url,
    },
    form_client::{FormClient, TRANSPORTS_AND_GENERATIONS, connect},
    mcp_client::McpClient,
    process::{command, run_cli},
    programs::is_missing,
    redis::RedisServer,
    requests::client,
    server::{ServerBuilder, ServerProcess},
};
use portkey_mcp::{
    pipeline::approval::{Ticket, TicketState},
    security::signed_state::Keyring,
};

/// Servers share tickets during a rolling update, so the stored form is fixed.
#[test]
fn stored_ticket_is_read_with_each_state() {
    for (state, expected) in [
        (json!("pending"), TicketState::Pending),
        (
            json!({ "approved": "Dana" }),
            TicketState::Approved("Dana".to_owned()),
        ),
        (
            json!({ "denied": "Dana" }),
            TicketState::Denied("Dana".to_owned()),
        ),
    ] {
        let stored = json!({
            "id": "0123456789abcdef0123456789abcdef", "tool": TOOL, "principal": "alice",
            "text": "Approve this call?", "confirm": null, "asked": 1_796_000_000,
            "expires": 1_796_000_300, "state": state, "binding": "ab", "stamp": "cd",
            "serial": "ef", "key": "01",
        });
        let ticket: Ticket = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(ticket.state, expected);
        assert_eq!(serde_json::to_value(&ticket).unwrap(), stored);
        assert_eq!(ticket.to_public_json()["state"], state);
    }
}

/// Decides calls of a client without form support, in both generations over both transports.
#[tokio::test]
async fn call_waits_for_a_decision_by_command() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let admin = AdminFolder::new();
        let human = FormClient::new(false);
        let session = connect(way, &human, &strs(&admin.options())).await;
        let args = json!({ "slug": SLUG });
        let (done, text) = session.call_text(TOOL, args.clone()).await;
        let id = ticket_id(&text);
        assert!(
            !done && session.has_integration(SLUG).await,
            "{way:?}: {text}"
        );
        assert!(
            !text.contains(&admin.url()) && !text.contains("/decide/"),
            "{way:?}: {text}"
        );
        // A repeated call waits on the same ticket. Naming the ticket is no approval.
        let (_, again) = session.call_text(TOOL, args.clone()).await;
        let named = json!({ "slug": SLUG, "approval_ticket": id });
        let (_, with_ticket) = session.call_text(TOOL, named.clone()).await;
        assert_eq!(
            (ticket_id(&again), ticket_id(&with_ticket)),
            (id.clone(), id.clone())
        );

        let (good, list, _) = admin.run_approvals(&["list"]);
        assert!(
            good && list.contains(&id) && list.contains("pending"),
            "{list}"
        );
        let (good, shown, _) = admin.run_approvals(&["show", &id[..6]]);
        assert!(
            good && shown.contains("Target: DELETE") && shown.contains(SLUG),
            "{shown}"
        );
        let digest = shown.split("Digest: ").nth(1).unwrap().trim();
        let decision = ["approve", &id, "--by", "Dana", "--digest", digest];
        let (good, decided, _) = admin.run_approvals(&decision);
        assert!(good && decided.contains("approved by Dana"), "{decided}");
        let (good, _, twice) = admin.run_approvals(&["deny", &id]);
        assert!(!good && twice.contains("decided already"), "{twice}");

        // The ticket does not permit another call, and it permits the approved call once.
        let other = json!({ "slug": "anthropic", "approval_ticket": id });
        assert!(
            session
                .call_text(TOOL, other)
                .await
                .1
                .contains("not for this call"),
            "{way:?}"
        );
        let (done, text) = session.call_text(TOOL, named).await;
        assert!(
            done && !session.has_integration(SLUG).await,
            "{way:?}: {text}"
        );
        let (done, text) = session.call_text(TOOL, args).await;
        assert!(!done && ticket_id(&text) != id, "{way:?}: {text}");
        session.client.cancel().await.unwrap();
    }
}

/// Services and containers have no such variable: the account is named then.
#[tokio::test]
async fn decision_without_a_name_is_that_of_the_user() {
    let admin = AdminFolder::new();
    let human = FormClient::new(false);
    let account = Command::new("id").arg("-un").output().unwrap();
    let account = String::from_utf8(account.stdout).unwrap();
    for (user, expected) in [("ann", "ann"), ("", account.trim())] {
        let session = connect((false, true), &human, &strs(&admin.options())).await;
        let id = ticket_id(&session.call_text(TOOL, json!({ "slug": SLUG })).await.1);
        let decided = command(&["approvals", "approve", &id])
            .args(["--admin-file", &admin.file_path()])
            .env_remove("LOGNAME")
            .env_remove("USERNAME")
            .env("USER", user)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&decided.stdout);
        let expected = format!("approved by {expected}\n");
        assert!(text.ends_with(&expected), "{user}: {decided:?}");
        session.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn denied_call_stays_denied() {
    let admin = AdminFolder::new();
    let human = FormClient::new(false);
    let session = connect((false, true), &human, &strs(&admin.options())).await;
    let id = ticket_id(&session.call_text(TOOL, json!({ "slug": SLUG })).await.1);
    assert!(admin.run_approvals(&["deny", &id]).1.contains("denied by"));
    for _ in 0..2 {
        let (done, text) = session.call_text(TOOL, json!({ "slug": SLUG })).await;
        assert!(!done && text.contains("declined"), "{text}");
    }
    let cases = [
        (vec!["show", "zz"], "is not a ticket"),
        (vec!["approve", ""], "is not a ticket"),
        (vec!["approve", "../../decide"], "is not a ticket"),
        (vec!["approve", &id[..5]], "at least 6 digits"),
        (vec!["show", "000000"], "there is no such ticket"),
        (
            vec!["approve", &id[..6], "--digest", "0"],
            "look at the ticket again",
        ),
        (vec!["approve", &id[..6]], "decided already"),
    ];
    for (args, expected) in cases {
        let (good, _, log) = admin.run_approvals(&args);
        assert!(!good && log.contains(expected), "{args:?}: {log}");
    }
    session.client.cancel().await.unwrap();
    let (good, _, log) = admin.run_approvals(&["list"]);
    assert!(
        !good && log.contains("does the server run"),
        "the file went with the server: {log}"
    );
}

#[tokio::test]
async fn approve_command_requires_the_target_name() {
    let admin = AdminFolder::new();
    let human = FormClient::new(false);
    let options = [admin.options(), vec!["--approve-by-name".to_owned()]].concat();
    let session = connect((false, false), &human, &strs(&options)).await;
    let id = ticket_id(&session.call_text(TOOL, json!({ "slug": SLUG })).await.1);
    let shown = admin.run_approvals(&["show", &id]).1;
    let name = shown
        .split("type: `")
        .nth(1)
        .unwrap()
        .split('`')
        .next()
        .unwrap();
    for wrong in [
        &["approve", &id][..],
        &["approve", &id, "--name", "another"],
    ] {
        let (good, _, log) = admin.run_approvals(wrong);
        let way_on = format!("to approve it, repeat the command with --name {name}");
        assert!(!good && log.contains(&way_on), "{log}");
    }
    let (_, listed, _) = admin.run_approvals(&["list", "--tool", &TOOL.replace('-', "_")]);
    assert!(listed.contains(&id), "{listed}");
    assert!(admin.run_approvals(&["approve", &id, "--name", name]).0);
    assert!(session.call_text(TOOL, json!({ "slug": SLUG })).await.0);
    session.client.cancel().await.unwrap();
}

/// The server checks host, origin, key and token.
#[tokio::test]
async fn approval_server_rejects_unauthorized_requests() {
    struct Case {
        what: &'static str,
        request: reqwest::RequestBuilder,
        expected: StatusCode,
    }

    let admin = AdminFolder::new();
    let mut server = serve_with_admin(&admin, &[]);
    let alice = McpClient::new(&server.url, "pk-alice");
    let http = client();
    let at = ticket_page_url(&mut server, &alice, SLUG).await;
    let url = admin.url();
    let token = admin.read_field("token");
    let list = format!("{url}/approvals");
    let get = |address: &str| http.get(address).bearer_auth(&token);
    let (without_key, _) = at.rsplit_once('/').unwrap();
    let id = without_key.rsplit_once('/').unwrap().1;
    let own = url.trim_start_matches("http://");
    let post = |body: Value| {
        let request = http.post(format!("{list}/{id}")).bearer_auth(&token);
        request
            .header("content-type", "application/json")
            .body(body.to_string())
    };
    let cases = [
        Case {
            what: "as it should be",
            request: get(&list),
            expected: StatusCode::OK,
        },
        Case {
            what: "no token",
            request: http.get(&list),
            expected: StatusCode::UNAUTHORIZED,
        },
        Case {
            what: "another token",
            request: http.get(&list).bearer_auth("x"),
            expected: StatusCode::UNAUTHORIZED,
        },
        Case {
            what: "a foreign host",
            request: get(&list).header("host", "evil.example"),
            expected: StatusCode::FORBIDDEN,
        },
        Case {
            what: "a foreign port",
            request: get(&list).header("host", "127.0.0.1:1"),
            expected: StatusCode::FORBIDDEN,
        },
        Case {
            what: "a foreign origin",
            request: get(&at).header("origin", "http://evil.example"),
            expected: StatusCode::FORBIDDEN,
        },
        Case {
            what: "no origin to speak of",
            request: get(&at).header("origin", "null"),
            expected: StatusCode::FORBIDDEN,
        },
        Case {
            what: "its own origin",
            request: get(&at).header("origin", &url),
            expected: StatusCode::OK,
        },
        Case {
            what: "two hosts",
            request: get(&list)
                .header("host", "evil.example")
                .header("host", own),
            expected: StatusCode::BAD_REQUEST,
        },
        Case {
            what: "no digest",
            request: post(json!({ "approve": true })),
            expected: StatusCode::UNPROCESSABLE_ENTITY,
        },
        Case {
            what: "another digest",
            request: post(json!({ "approve": true, "digest": "0" })),
            expected: StatusCode::CONFLICT,
        },
        Case {
            what: "too large a body",
            request: post(json!({ "by": "x".repeat(20_000) })),
            expected: StatusCode::PAYLOAD_TOO_LARGE,
        },
        Case {
            what: "another key",
            request: get(&format!("{without_key}/00")),
            expected: StatusCode::NOT_FOUND,
        },
        Case {
            what: "no such ticket",
            request: get(&format!("{url}/approvals/000000")),
            expected: StatusCode::NOT_FOUND,
        },
        Case {
            what: "too little of a name",
            request: get(&format!("{url}/approvals/00")),
            expected: StatusCode::UNPROCESSABLE_ENTITY,
        },
        Case {
            what: "elsewhere",
            request: get(&format!("{url}/elsewhere")),
            expected: StatusCode::NOT_FOUND,
        },
    ];
    for Case {
        what,
        request,
        expected,
    } in cases
    {
        assert_eq!(request.send().await.unwrap().status(), expected, "{what}");
    }
    // The API response contains nothing that opens the page.
    let shown = get(&list).send().await.unwrap().text().await.unwrap();
    let key = at.rsplit('/').next().unwrap();
    let form = http.get(&at).send().await.unwrap().text().await.unwrap();
    assert!(
        !shown.contains(key) && !shown.contains(&form_token(&form)),
        "{shown}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(admin.file_path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (good, _, log) = run_cli(&["stdio", "--approve-deletes", "--admin-listen", "0.0.0.0:0"]);
    assert!(!good && log.contains("loopback"), "{log}");
}

/// Reads a response to its end.
fn read_to_end(mut connection: TcpStream) -> String {
    let mut text = String::new();
    // Unread parts of a request reset the connection behind the response.
    _ = connection.read_to_string(&mut text);
    text
}

/// Idle connections and unauthorized requests do not keep others out.
#[tokio::test]
async fn unfinished_requests_do_not_block_the_approval_listener() {
    let admin = AdminFolder::new();
    let mut server = serve_with_admin(&admin, &[]);
    let alice = McpClient::new(&server.url, "pk-alice");
    let at = ticket_page_url(&mut server, &alice, SLUG).await;
    let host = admin.url().trim_start_matches("http://").to_owned();
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nhost: {host}\r\n");
    let body = "content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let heads = [
        String::new(),
        post("/approvals/00"),
        post("/approvals/00") + body,
        post("/approvals/00") + "authorization: Bearer another\r\n" + body,
        post("/decide/00/00") + body,
    ];
    for head in &heads {
        let open: Vec<_> = (0..100)
            .map(|_| {
                let mut connection = TcpStream::connect(&host).unwrap();
                // The server may have closed it already in favour of another connection.
                _ = connection.write_all(head.as_bytes());
                connection
            })
            .collect();
        let (good, list, log) = admin.run_approvals(&["list"]);
        assert!(good && list.contains(TOOL), "{head:?}: {list}{log}");
        assert_eq!(
            client().get(&at).send().await.unwrap().status(),
            StatusCode::OK,
            "{head:?}"
        );
        drop(open);
    }
    // An unauthorized request is rejected before its body has arrived.
    for (head, status) in heads.iter().skip(2).zip(["401", "401", "404"]) {
        let mut connection = TcpStream::connect(&host).unwrap();
        connection.write_all(head.as_bytes()).unwrap();
        let response = read_to_end(connection);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head:?}: {response:?}"
        );
    }
}

#[tokio::test]
async fn idle_connections_do_not_block_the_metrics_listener() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let _server = ServerProcess::http()
        .sandbox()
        .args(&["--metrics-listen", &address])
        .start();
    for head in ["", "GET /metrics HTTP/1.1\r\nhost: localhost\r\n"] {
        let open: Vec<_> = (0..200)
            .map(|_| {
                let mut connection = TcpStream::connect(&address).unwrap();
                _ = connection.write_all(head.as_bytes());
                connection
            })
            .collect();
        let metrics = client()
            .get(format!("http://{address}/metrics"))
            .send()
            .await
            .unwrap();
        assert_eq!(metrics.status(), StatusCode::OK, "{head:?}");
        drop(open);
    }
}

/// The call is made at one replica, approved at another and repeated at a third.
#[tokio::test]
async fn replicas_share_tickets() {
    if is_missing("redis-server") {
        return;
    }
    let redis = RedisServer::start();
    let sandbox = ServerProcess::sandbox_api().start();
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, Keyring::generate_line("k1").unwrap()).unwrap();
    let (admins, url) = (
        [AdminFolder::new(), AdminFolder::new(), AdminFolder::new()],
        redis.url(),
    );
    let replica = |admin: &AdminFolder| {
        let options = admin.options();
        let shared = [
            "--state-key-file",
            keys.to_str().unwrap(),
            "--redis-url",
            &url,
        ];
        ServerProcess::http()
            .auth("key")
            .upstream(&sandbox.url)
            .args(&shared)
            .args(&strs(&options))
            .start()
    };
    let servers = admins.each_ref().map(replica);
    let caller = |i: usize| McpClient::new(&servers[i].url, "pk-alice");
    let call = async |i: usize| {
        let answer = caller(i)
            .modern(TOOL, &json!({ "slug": SLUG }))
            .await
            .unwrap();
        answer.message["result"].clone()
    };
    let asked = call(0).await;
    let id = ticket_id(asked["content"][0]["text"].as_str().unwrap());
    // The data in Redis reveals nothing about the call.
    let dump = redis.dump();
    let dump = String::from_utf8_lossy(&dump);
    assert!(
        dump.contains("portkey-mcp:queued:approval:") && !dump.contains(SLUG),
        "{dump}"
    );
    assert!(!dump.contains("DELETE") && !dump.contains(TOOL), "{dump}");
    let (good, _, log) = admins[1].run_approvals(&["approve", &id]);
    assert!(good, "{log}");
    let both = tokio::join!(call(2), call(1));
    let done = [&both.0, &both.1]
        .iter()
        .filter(|result| result["isError"] == false)
        .count();
    assert_eq!(done, 1, "{both:?}");
}

/// Without a terminal the call waits, and its page is in the log.
#[test]
fn shell_call_waits_for_a_decision() {
    for (decision, done) in [("approve", true), ("deny", false)] {
        let admin = AdminFolder::new();
        let call = ServerBuilder::<ServerProcess>::new(&["call", TOOL, "slug=openai-production"]);
        let waiting = call.sandbox().args(&strs(&admin.options())).start();
        assert!(waiting.url.contains("/decide/"), "{}", waiting.url);
        let id = waiting.url.rsplit('/').nth(1).unwrap();
        let (good, _, log) = admin.run_approvals(&[decision, id]);
        assert!(good, "{log}");
        let (status, log) = waiting.end();
        assert_eq!(status.success(), done, "{log}");
        assert_eq!(log.contains("declined"), !done, "{log}");
    }
}

/// At a terminal the call asks there. `script` provides the terminal.
#[test]
fn shell_call_prompts_at_its_terminal() {
    if is_missing("script") {
        return;
    }
    for (said, done) in [("yes", true), ("no", false), ("", false)] {
        let binary = env!("CARGO_BIN_EXE_portkey-mcp");
        let call = format!("{binary} call {TOOL} slug={SLUG} --sandbox --approve-deletes");
        let mut terminal = Command::new("script");
        terminal
            .args(["-qec", &call, "/dev/null"])
            .env_remove("RUST_LOG");
        let mut child = terminal
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{said}").unwrap();
        let output = child.wait_with_output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(
            shown.contains("yes or no") && shown.contains("Target: DELETE"),
            "{shown}"
        );
        assert_eq!(output.status.success(), done, "{said}: {shown}");
    }
}
