//! Completion: identifiers from live lists, as whoever asks may see them, and kept for a moment.

use std::collections::HashMap;

use portkey_mcp::{
    completion::{Asker, Completer},
    dispatch::Dispatcher,
    principal::{Principal, Toolsets},
    request::Arrival,
};
use rmcp::{
    ServiceError,
    model::{ArgumentInfo, CompleteRequestParams, CompletionContext, ErrorCode, Reference},
};
use serde_json::json;

use crate::{
    secrets::everywhere,
    upstream::{Upstream, answer, dispatcher, ok, operator},
};

#[tokio::test]
async fn clients_complete_what_prompts_and_templates_take() {
    let prompt = Reference::for_prompt;
    let template = Reference::for_resource;
    // What is completed, what is typed, one that comes, and how many at least.
    let cases = [
        (prompt("rotate-api-keys"), "workspace", "", "ws-shared", 2),
        (prompt("rotate-api-keys"), "workspace", "SHAR", "ws-shared", 1),
        (prompt("onboard-team"), "integration", "anthro", "anthropic", 1),
        (prompt("register-mcp-server"), "auth", "he", "headers", 1),
        (template("portkey://integrations/{slug}"), "slug", "openai-pro", "openai-production", 1),
        (template("portkey://guide/{topic}"), "topic", "plan", "plan-gates", 1),
        (template("portkey://operations/{name}"), "name", "get-conf", "get-config", 1),
        (template("portkey://operations/{name}"), "name", "", "add-workspace-member", 100),
    ];
    let wrong = [
        (prompt("no-such-prompt"), "workspace"),
        (prompt("rotate-api-keys"), "no_such_argument"),
        (template("portkey://integrations/{slug}"), "id"),
        (template("portkey://guide/{topic}"), "name"),
        (template("portkey://dogs/{id}"), "id"),
    ];
    for connected in everywhere(&["--sandbox"], &[]).await {
        let way = connected.way;
        let complete = |reference: &Reference, name: &str, typed: &str| {
            let argument = ArgumentInfo::new(name, typed);
            connected.client.complete(CompleteRequestParams::new(reference.clone(), argument))
        };
        for (reference, name, typed, expected, most) in &cases {
            let info = complete(reference, name, typed).await.unwrap().completion;
            assert!(info.values.iter().any(|value| value == expected), "{way}: {info:?}");
            assert!(info.values.len() >= *most && info.values.len() <= 100, "{way}: {info:?}");
            let total = info.total.unwrap() as usize;
            assert_eq!(info.has_more, Some(total > info.values.len()), "{way}: {name}");
        }
        let none = complete(&prompt("onboard-team"), "integration", "zzz").await.unwrap();
        assert_eq!(none.completion.values, [] as [String; 0], "{way}");
        let free = complete(&prompt("onboard-team"), "team", "x").await.unwrap();
        assert_eq!(free.completion.values, [] as [String; 0], "{way}");
        for (reference, name) in &wrong {
            let Err(ServiceError::McpError(error)) = complete(reference, name, "").await else {
                panic!("{way}: {name}")
            };
            assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{way}: {error}");
        }
        // What is chosen already narrows the list.
        let chosen = HashMap::from([("workspace".to_owned(), "ws-support-bot".to_owned())]);
        let request =
            CompleteRequestParams::new(prompt("promote-prompt"), ArgumentInfo::new("prompt", ""));
        let request = request.with_context(CompletionContext::with_arguments(chosen));
        let within = connected.client.complete(request).await.unwrap().completion.values;
        let args = json!({ "workspace_id": "ws-support-bot" });
        let there = connected.call("list-prompts", args).await.unwrap();
        let there: Vec<_> =
            there["data"].as_array().unwrap().iter().map(|one| json!(one["slug"])).collect();
        assert_eq!(json!(within), json!(there), "{way}");
    }
}

async fn asks(
    completer: &Completer,
    dispatcher: &Dispatcher,
    principal: &Principal,
    typed: &str,
) -> Vec<String> {
    let (arrival, chosen) = (&Arrival::local(), &HashMap::new());
    let asker = Asker { dispatcher, principal, arrival, chosen };
    completer.things(asker, "configs", typed).await
}

#[tokio::test]
async fn a_list_is_kept_for_its_caller_alone() {
    let upstream =
        Upstream::start(|_| ok(r#"{"data":[{"slug":"pc-one"},{"slug":"pc-two"}]}"#)).await;
    let (completer, dispatcher) = (Completer::default(), dispatcher(&upstream));
    let alice = Principal { name: "alice".into(), ..operator() };
    let bob = Principal { name: "bob".into(), ..operator() };
    for (caller, typed, values, asked) in [
        (&alice, "", &["pc-one", "pc-two"] as &[&str], 1),
        (&alice, "two", &["pc-two"], 1),
        (&bob, "one", &["pc-one"], 2),
        (&alice, "", &["pc-one", "pc-two"], 2),
    ] {
        assert_eq!(asks(&completer, &dispatcher, caller, typed).await, values);
        assert_eq!(upstream.count(), asked);
    }
    // The same caller, as one whose request leaves less.
    let toolsets = Toolsets::named(["prompts"].into_iter(), &["configs", "prompts"]).unwrap();
    let narrowed = Principal { toolsets, ..alice };
    assert_eq!(asks(&completer, &dispatcher, &narrowed, "").await, [] as [&str; 0]);
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn a_list_that_does_not_answer_completes_nothing() {
    let upstream = Upstream::start(|before| match before {
        0 => answer("403 Forbidden", "", "{}"),
        _ => ok(r#"{"data":[{"slug":"pc-one"}]}"#),
    })
    .await;
    let (completer, dispatcher) = (Completer::default(), dispatcher(&upstream));
    assert_eq!(asks(&completer, &dispatcher, &operator(), "").await, [] as [&str; 0]);
    // Nothing of that is kept.
    assert_eq!(asks(&completer, &dispatcher, &operator(), "").await, ["pc-one"]);
}

#[tokio::test]
async fn long_lists_are_read_on_and_no_further_than_needed() {
    let page = |from: usize, count: usize| {
        let items: Vec<_> =
            (from..from + count).map(|i| json!({ "slug": format!("pc-{i:04}") })).collect();
        json!({ "data": items }).to_string()
    };
    let upstream =
        Upstream::start(move |before| ok(&page(before * 100, if before < 2 { 100 } else { 7 })))
            .await;
    let found = asks(&Completer::default(), &dispatcher(&upstream), &operator(), "").await;
    assert_eq!((found.len(), upstream.count()), (207, 3));
}
