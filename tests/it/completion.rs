//! Completion: identifiers from live lists with the caller's rights, cached for a short time.

use std::{collections::HashMap, sync::Arc};

use portkey_mcp::{
    auth::principal::{Principal, Toolsets},
    mcp::completion::{Completer, CompletionLookup},
    observability::request::RequestInfo,
    pipeline::Dispatcher,
};
use rmcp::{
    ServiceError,
    model::{ArgumentInfo, CompleteRequestParams, CompletionContext, ErrorCode, Reference},
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{
    clock::advance_time,
    official_client::connect_everywhere,
    upstream::{MockUpstream, ResponseAction, dispatcher, http_response, json_response, operator},
};

#[tokio::test]
async fn prompt_and_template_arguments_are_completed() {
    struct Case {
        reference: Reference,
        name: &'static str,
        typed: &'static str,
        expected: &'static str,
        min_values: usize,
    }

    let prompt = Reference::for_prompt;
    let template = Reference::for_resource;
    let cases = [
        Case {
            reference: prompt("rotate-api-keys"),
            name: "workspace",
            typed: "",
            expected: "ws-shared",
            min_values: 2,
        },
        Case {
            reference: prompt("rotate-api-keys"),
            name: "workspace",
            typed: "SHAR",
            expected: "ws-shared",
            min_values: 1,
        },
        Case {
            reference: prompt("onboard-team"),
            name: "integration",
            typed: "anthro",
            expected: "anthropic",
            min_values: 1,
        },
        Case {
            reference: prompt("register-mcp-server"),
            name: "auth",
            typed: "he",
            expected: "headers",
            min_values: 1,
        },
        Case {
            reference: template("portkey://integrations/{slug}"),
            name: "slug",
            typed: "openai-pro",
            expected: "openai-production",
            min_values: 1,
        },
        Case {
            reference: template("portkey://guide/{topic}"),
            name: "topic",
            typed: "plan",
            expected: "plan-gates",
            min_values: 1,
        },
        Case {
            reference: template("portkey://operations/{name}"),
            name: "name",
            typed: "get-conf",
            expected: "get-config",
            min_values: 1,
        },
        Case {
            reference: template("portkey://operations/{name}"),
            name: "name",
            typed: "",
            expected: "add-workspace-member",
            min_values: 100,
        },
    ];
    let wrong = [
        (prompt("no-such-prompt"), "workspace"),
        (prompt("rotate-api-keys"), "no_such_argument"),
        (template("portkey://integrations/{slug}"), "id"),
        (template("portkey://guide/{topic}"), "name"),
        (template("portkey://dogs/{id}"), "id"),
    ];
    for connected in connect_everywhere(&["--sandbox"], &[]).await {
        let way = connected.way;
        let complete = |reference: &Reference, name: &str, typed: &str| {
            let argument = ArgumentInfo::new(name, typed);
            connected
                .client
                .complete(CompleteRequestParams::new(reference.clone(), argument))
        };
        for Case {
            reference,
            name,
            typed,
            expected,
            min_values,
        } in &cases
        {
            let info = complete(reference, name, typed).await.unwrap().completion;
            assert!(
                info.values.iter().any(|value| value == expected),
                "{way}: {info:?}"
            );
            assert!(
                info.values.len() >= *min_values && info.values.len() <= 100,
                "{way}: {info:?}"
            );
            let total = info.total.unwrap() as usize;
            assert_eq!(
                info.has_more,
                Some(total > info.values.len()),
                "{way}: {name}"
            );
        }
        let none = complete(&prompt("onboard-team"), "integration", "zzz")
            .await
            .unwrap();
        assert_eq!(none.completion.values, [] as [String; 0], "{way}");
        let free = complete(&prompt("onboard-team"), "team", "x")
            .await
            .unwrap();
        assert_eq!(free.completion.values, [] as [String; 0], "{way}");
        for (reference, name) in &wrong {
            let Err(ServiceError::McpError(error)) = complete(reference, name, "").await else {
                panic!("{way}: {name}")
            };
            assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{way}: {error}");
        }
        // An argument that is already chosen narrows the list.
        let chosen = HashMap::from([("workspace".to_owned(), "ws-support-bot".to_owned())]);
        let request =
            CompleteRequestParams::new(prompt("promote-prompt"), ArgumentInfo::new("prompt", ""));
        let request = request.with_context(CompletionContext::with_arguments(chosen));
        let within = connected
            .client
            .complete(request)
            .await
            .unwrap()
            .completion
            .values;
        let args = json!({ "workspace_id": "ws-support-bot" });
        let there = connected.call("list-prompts", args).await.unwrap();
        let there: Vec<_> = there["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| json!(one["slug"]))
            .collect();
        assert_eq!(json!(within), json!(there), "{way}");
    }
}

async fn complete_configs(
    completer: &Completer,
    dispatcher: &Arc<Dispatcher>,
    principal: &Principal,
    typed: &str,
) -> Vec<String> {
    let request_info = &RequestInfo::local();
    let chosen = &HashMap::new();
    let asker = CompletionLookup {
        dispatcher,
        principal,
        request_info,
        arguments: chosen,
    };
    completer.complete_ids(asker, "configs", typed).await
}

#[tokio::test]
async fn completion_list_is_cached_per_caller() {
    struct Case<'a> {
        caller: &'a Principal,
        typed: &'static str,
        values: &'static [&'static str],
        requests: usize,
    }

    let upstream =
        MockUpstream::start(|_| json_response(r#"{"data":[{"slug":"pc-one"},{"slug":"pc-two"}]}"#))
            .await;
    let completer = Completer::default();
    let dispatcher = Arc::new(dispatcher(&upstream));
    let alice = Principal {
        name: "alice".into(),
        ..operator()
    };
    let bob = Principal {
        name: "bob".into(),
        ..operator()
    };
    for Case {
        caller,
        typed,
        values,
        requests,
    } in [
        Case {
            caller: &alice,
            typed: "",
            values: &["pc-one", "pc-two"] as &[&str],
            requests: 1,
        },
        Case {
            caller: &alice,
            typed: "two",
            values: &["pc-two"],
            requests: 1,
        },
        Case {
            caller: &bob,
            typed: "one",
            values: &["pc-one"],
            requests: 2,
        },
        Case {
            caller: &alice,
            typed: "",
            values: &["pc-one", "pc-two"],
            requests: 2,
        },
    ] {
        assert_eq!(
            complete_configs(&completer, &dispatcher, caller, typed).await,
            values
        );
        assert_eq!(upstream.count(), requests);
    }
    // One caller again, with a narrower tool filter for this request.
    let toolsets = Toolsets::from_names(["prompts"].into_iter(), &["configs", "prompts"]).unwrap();
    let narrowed = Principal { toolsets, ..alice };
    assert_eq!(
        complete_configs(&completer, &dispatcher, &narrowed, "").await,
        [] as [&str; 0]
    );
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn failed_list_is_not_requested_again_for_ten_seconds() {
    let upstream = MockUpstream::start(|before| match before {
        0 => http_response("403 Forbidden", "", "{}"),
        _ => json_response(r#"{"data":[{"slug":"pc-one"}]}"#),
    })
    .await;
    let completer = Completer::default();
    let dispatcher = Arc::new(dispatcher(&upstream));
    for typed in ["", "p", "pc", "pc-", "pc-o", "pc-on"] {
        assert_eq!(
            complete_configs(&completer, &dispatcher, &operator(), typed).await,
            [] as [&str; 0]
        );
    }
    assert_eq!(upstream.count(), 1);
    // The failure is cached per caller.
    let bob = Principal {
        name: "bob".into(),
        ..operator()
    };
    assert_eq!(
        complete_configs(&completer, &dispatcher, &bob, "pc").await,
        ["pc-one"]
    );
    advance_time(10).await;
    assert_eq!(
        complete_configs(&completer, &dispatcher, &operator(), "pc").await,
        ["pc-one"]
    );
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn concurrent_completions_share_a_request_that_outlives_them() {
    let release = Arc::new(Semaphore::new(0));
    let held = release.clone();
    let body = r#"{"data":[{"slug":"pc-one"}]}"#;
    let upstream = MockUpstream::start(move |_| ResponseAction::Later(held.clone(), body)).await;
    let completer = Completer::default();
    let dispatcher = Arc::new(dispatcher(&upstream));
    let operator = operator();
    // The client cancels the request with the next keystroke.
    for typed in ["", "p"] {
        tokio::select! {
            found = complete_configs(&completer, &dispatcher, &operator, typed) => panic!("{found:?}"),
            () = upstream.wait_for_requests(1) => {}
        }
    }
    let typed = ["pc", "pc-", "pc-o"]
        .map(|typed| complete_configs(&completer, &dispatcher, &operator, typed));
    release.add_permits(1);
    assert_eq!(
        futures_util::future::join_all(typed).await,
        [["pc-one"], ["pc-one"], ["pc-one"]]
    );
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn requests_about_unknown_workspaces_are_limited() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let completer = Completer::default();
    let dispatcher = Arc::new(dispatcher(&upstream));
    let operator = operator();
    let request_info = RequestInfo::local();
    let ask = async |workspace: String| {
        let chosen = HashMap::from([("workspace".to_owned(), workspace)]);
        let asker = CompletionLookup {
            dispatcher: &dispatcher,
            principal: &operator,
            request_info: &request_info,
            arguments: &chosen,
        };
        completer.complete_ids(asker, "configs", "").await
    };
    for number in 0..4 {
        tokio::select! {
            found = ask(format!("ws-{number}")) => panic!("{found:?}"),
            () = upstream.wait_for_requests(number + 1) => {}
        }
    }
    assert_eq!(ask("ws-4".to_owned()).await, [] as [&str; 0]);
    assert_eq!(ask("w".repeat(256)).await, [] as [&str; 0]);
    assert_eq!(upstream.count(), 4);
}

#[tokio::test]
async fn long_list_is_read_page_by_page_to_its_end() {
    let page = |from: usize, count: usize| {
        let items: Vec<_> = (from..from + count)
            .map(|i| json!({ "slug": format!("pc-{i:04}") }))
            .collect();
        json!({ "data": items }).to_string()
    };
    let upstream = MockUpstream::start(move |before| {
        json_response(&page(before * 100, if before < 2 { 100 } else { 7 }))
    })
    .await;
    let found = complete_configs(
        &Completer::default(),
        &Arc::new(dispatcher(&upstream)),
        &operator(),
        "",
    )
    .await;
    assert_eq!((found.len(), upstream.count()), (207, 3));
}
