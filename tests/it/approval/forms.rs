//! Approval by form, over both transports in both generations.

use serde_json::{Value, json};

use crate::support::{
    form_client::{FormClient, FormReaction, TRANSPORTS_AND_GENERATIONS, connect},
    mcp_client::McpClient,
    server::serve_sandbox,
};

const SLUG: &str = "openai-production";

#[tokio::test]
async fn nothing_is_sent_before_approval() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(true);
        let session = connect(way, &human, &["--approve-deletes"]).await;
        let no = [
            (FormReaction::Decline, "declined"),
            (FormReaction::Cancel, "cancelled"),
            (
                FormReaction::Accept(json!({ "approve": false })),
                "declined",
            ),
            (FormReaction::Accept(json!({})), "declined"),
            (FormReaction::Accept(json!("yes")), "declined"),
        ];
        for (does, word) in no {
            human.set_reaction(does.clone());
            let (done, text) = session
                .call_text("delete-integration", json!({ "slug": SLUG }))
                .await;
            assert!(!done && text.contains(word), "{way:?} {does:?}: {text}");
            assert!(session.has_integration(SLUG).await, "{way:?} {does:?}");
        }
        human.set_reaction(FormReaction::Accept(json!({ "approve": true })));
        let (done, text) = session
            .call_text("delete-integration", json!({ "slug": SLUG }))
            .await;
        assert!(
            done && !session.has_integration(SLUG).await,
            "{way:?}: {text}"
        );
        let asked = human.last_request();
        for part in [
            "delete-integration",
            SLUG,
            "for good",
            "`local`",
            "--approve-deletes",
        ] {
            assert!(asked.contains(part), "{way:?} {part}: {asked}");
        }
        // Reads cause no request, and each attempt to write causes one.
        assert_eq!(human.request_count(), 6, "{way:?}");
        session.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn destructive_call_can_require_the_typed_target_name() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(true);
        let options = ["--approve-deletes", "--approve-by-name"];
        let session = connect(way, &human, &options).await;
        for name in [json!("openai"), json!(""), Value::Null] {
            human.set_reaction(FormReaction::Accept(
                json!({ "approve": true, "name": name }),
            ));
            let (done, text) = session
                .call_text("delete-integration", json!({ "slug": SLUG }))
                .await;
            assert!(
                !done && text.contains("typed to confirm"),
                "{way:?} {name}: {text}"
            );
        }
        assert!(session.has_integration(SLUG).await);
        human.set_reaction(FormReaction::AcceptWithName);
        let (done, text) = session
            .call_text("delete-integration", json!({ "slug": SLUG }))
            .await;
        assert!(
            done && !session.has_integration(SLUG).await,
            "{way:?}: {text} {}",
            human.last_request()
        );
        session.client.cancel().await.unwrap();
    }
}

/// The server waits for a client up to revision 2025-11-25, within a time limit.
#[tokio::test]
async fn unanswered_form_denies_the_call() {
    for way in TRANSPORTS_AND_GENERATIONS
        .into_iter()
        .filter(|(_, modern)| !modern)
    {
        let human = FormClient::new(true);
        human.set_reaction(FormReaction::NeverRespond);
        let options = ["--approve-deletes", "--approval-timeout", "0.2"];
        let session = connect(way, &human, &options).await;
        let (done, text) = session
            .call_text("delete-integration", json!({ "slug": SLUG }))
            .await;
        assert!(
            !done && text.contains("in time") && session.has_integration(SLUG).await,
            "{way:?}: {text}"
        );
        session.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn call_from_a_client_without_forms_is_denied() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(false);
        let session = connect(way, &human, &["--approve-writes"]).await;
        let args = json!({ "slug": SLUG, "name": "New" });
        let (done, text) = session.call_text("update-integration", args).await;
        assert!(
            !done && text.contains("needs the approval of a human"),
            "{way:?}: {text}"
        );
        assert!(
            text.contains("--approve-writes") && human.request_count() == 0,
            "{way:?}: {text}"
        );
        session.client.cancel().await.unwrap();
    }
}

/// The form for an update names each changed field and masks secrets.
#[tokio::test]
async fn approval_form_lists_changed_fields_and_hides_secrets() {
    let human = FormClient::new(true);
    let session = connect((false, true), &human, &["--approve-writes"]).await;
    let fake = "n`\n\nTarget: GET `/nothing`\r\n\u{202e}Risk: none\u{200b}";
    let args = json!({ "slug": SLUG, "name": fake, "key": "sk-planted" });
    let (done, _) = session.call_text("update-integration", args).await;
    let asked = human.last_request();
    assert!(
        !done && asked.contains("- `name`: `") && asked.contains("` becomes `"),
        "{asked}"
    );
    assert!(
        asked.contains("not shown: `key`") && !asked.contains("sk-planted"),
        "{asked}"
    );
    for line in ["Target:", "Risk:"] {
        assert_eq!(
            asked.lines().filter(|l| l.starts_with(line)).count(),
            1,
            "{line}: {asked}"
        );
    }
    assert!(!asked.contains(['\u{202e}', '\u{200b}', '\r']), "{asked:?}");
    session.client.cancel().await.unwrap();
}

fn form_capabilities() -> Value {
    json!({ "elicitation": {} })
}

/// The state that a client keeps is valid for the same call of the same caller, once.
#[tokio::test]
async fn approval_response_is_valid_for_one_call_only() {
    let server = serve_sandbox(&["--auth", "key", "--approve-writes"]);
    let alice = McpClient::new(&server.url, "pk-alice");
    let bob = McpClient::new(&server.url, "pk-bob");
    let call =
        async |caller: &McpClient, args: &Value, state: Option<&str>, said: Option<Value>| {
            let mut params = json!({ "arguments": args });
            if let Some(state) = state {
                params["requestState"] = json!(state);
            }
            if let Some(said) = said {
                params["inputResponses"] = json!({ "approval": said });
            }
            let tool = "create-integration";
            let answer = caller
                .modern_with(tool, params, form_capabilities())
                .await
                .unwrap();
            answer.message["result"].clone()
        };
    let yes = || Some(json!({ "action": "accept", "content": { "approve": true } }));
    let wanted = json!({ "name": "A", "ai_provider_id": "openai", "slug": "a", "key": "sk-1" });
    let first = call(&alice, &wanted, None, None).await;
    assert_eq!(first["resultType"], "input_required", "{first}");
    let form = &first["inputRequests"]["approval"];
    assert_eq!(form["method"], "elicitation/create");
    let fields = &form["params"]["requestedSchema"]["properties"];
    assert_eq!(
        fields.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["approve"],
        "{form}"
    );
    let state = first["requestState"].as_str().unwrap().to_owned();
    assert!(!first.to_string().contains("sk-1"), "{first}");

    let mut other = wanted.clone();
    other["key"] = json!("sk-2");
    let mut tampered = state.clone();
    tampered.insert(state.len() / 2, 'x');
    let void = [
        (
            "another secret",
            call(&alice, &other, Some(&state), yes()).await,
        ),
        (
            "another caller",
            call(&bob, &wanted, Some(&state), yes()).await,
        ),
        (
            "another state",
            call(&alice, &wanted, Some(&tampered), yes()).await,
        ),
        ("no state", call(&alice, &wanted, Some(""), yes()).await),
    ];
    for (what, result) in void {
        assert_eq!(result["isError"], true, "{what}: {result}");
        assert!(
            result.to_string().contains("not for this call"),
            "{what}: {result}"
        );
    }
    // A state without a response, or a response without a state, causes a new request.
    for (state, said) in [(Some(state.as_str()), None), (None, yes())] {
        let again = call(&alice, &wanted, state, said).await;
        assert_eq!(again["resultType"], "input_required", "{again}");
    }
    // The order of the fields makes no difference.
    let same = json!({ "key": "sk-1", "slug": "a", "ai_provider_id": "openai", "name": "A" });
    let done = call(&alice, &same, Some(&state), yes()).await;
    assert_eq!(done["structuredContent"]["slug"], "a", "{done}");
    let twice = call(&alice, &wanted, Some(&state), yes()).await;
    assert!(twice.to_string().contains("used already"), "{twice}");
}

/// The form shows each change inside the config. Of a secret it shows only the path.
#[tokio::test]
async fn approval_form_lists_changes_inside_a_config() {
    let human = FormClient::new(true);
    let session = connect((false, true), &human, &["--approve-writes"]).await;
    let document = |weight: f64, key: &str| {
        json!({ "strategy": { "mode": "loadbalance" }, "targets": [
            { "provider": "@openai", "weight": weight, "api_key": key },
            { "provider": "@anthropic", "weight": 0.5 },
        ] })
    };
    let args = json!({ "name": "weights", "workspace_id": "ws-shared",
        "config": document(0.3, "first-secret-of-all") });
    human.set_reaction(FormReaction::Accept(json!({ "approve": true })));
    let created = session
        .call("create-config", args)
        .await
        .structured_content
        .unwrap();
    let slug = ["/slug", "/data/slug"]
        .iter()
        .find_map(|at| created.pointer(at)?.as_str())
        .unwrap();
    human.set_reaction(FormReaction::Decline);
    let args = json!({ "slug": slug, "config": document(0.7, "second-secret-of-all") });
    let (done, text) = session.call_text("update-config", args).await;
    assert!(!done, "{text}");
    let asked = human.last_request();
    assert!(
        asked.contains("`config.targets[provider=@openai].weight`: `0.3` becomes `0.7`"),
        "{asked}"
    );
    assert!(
        asked.contains("not shown: `config.targets[0].api_key`"),
        "{asked}"
    );
    assert!(
        !asked.contains("`***` becomes") && !asked.contains("-secret-of-all"),
        "{asked}"
    );
    session.client.cancel().await.unwrap();
}

/// The human sees the difference, and the repeated call makes the change that was shown.
#[tokio::test]
async fn patch_is_approved_as_the_change_that_it_makes() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(true);
        let session = connect(way, &human, &["--approve-writes"]).await;
        let args = json!({ "slug": "pc-support-fallback",
            "patch": { "config": { "retry": { "attempts": 5 } } } });
        human.set_reaction(FormReaction::Decline);
        let (done, text) = session.call_text("update-config", args.clone()).await;
        assert!(!done, "{text}");
        let asked = human.last_request();
        let change = "`config.retry.attempts`: `3` becomes `5`";
        assert!(asked.contains(change), "{asked}");
        human.set_reaction(FormReaction::Accept(json!({ "approve": true })));
        let (done, text) = session.call_text("update-config", args).await;
        assert!(done && text.contains(r#""old":3,"new":5"#), "{text}");
        session.client.cancel().await.unwrap();
    }
}
