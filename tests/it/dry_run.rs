//! Dry runs: a write is described, and only a read is sent.

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    auth::principal::Scopes,
    pipeline::{Dispatcher, dry_run},
};
use portkey_operation::Effect;
use serde_json::{Value, json};

use crate::support::{
    process::run_cli,
    requests::{call_request, send_request},
    server::{ServerProcess, StdioServer},
    upstream::{MockUpstream, dispatcher, json_response, operator},
};

/// The upstream's response to every read.
const STORED: &str = r#"{"name":"Old","slug":"s","description":null,"masked_key":"sk-***9",
    "key":"sk-***9","tags":["a","b"],"configurations":{"region":"eu","zone":"1","token":"x***"}}"#;

async fn dry_run_call(upstream: &MockUpstream, tool: &str, args: &Value) -> Value {
    let dispatcher = dispatcher(upstream).with_dry_run(true);
    dispatcher
        .call_as_local(&operator(), tool, args.as_object().unwrap().clone())
        .await
        .unwrap()
}

/// Each case has a tool, its arguments, the described request, the target of the read, and the
/// expected changes.
#[tokio::test]
async fn write_is_previewed_and_not_sent() {
    struct Case {
        tool: &'static str,
        args: Value,
        sent: Value,
        read: Option<&'static str>,
        changes: Value,
    }

    let cases = [
        Case {
            tool: "update-integration",
            args: json!({ "slug": "s", "name": "New", "key": "sk-planted" }),
            sent: json!({ "method": "PUT", "body": { "name": "New", "key": "***" } }),
            read: Some("/v1/integrations/s"),
            changes: json!([{ "path": "name", "from": "Old", "to": "New" }]),
        },
        Case {
            tool: "update-integration",
            args: json!({ "slug": "s", "name": "Old", "description": "d" }),
            sent: json!({ "method": "PUT", "body": { "name": "Old", "description": "d" } }),
            read: Some("/v1/integrations/s"),
            changes: json!([{ "path": "description", "from": null, "to": "d" }]),
        },
        Case {
            tool: "delete-provider",
            args: json!({ "slug": "s", "workspace_id": "w" }),
            sent: json!({ "method": "DELETE" }),
            read: Some("/v1/providers/s?workspace_id=w"),
            changes: json!([{ "path": "", "from": "Old" }]),
        },
        Case {
            tool: "create-integration",
            args: json!({ "name": "New", "ai_provider_id": "openai", "key": "sk-planted" }),
            sent: json!({ "method": "POST", "body":
                { "name": "New", "ai_provider_id": "openai", "key": "***" } }),
            read: None,
            changes: json!([
                { "path": "name", "to": "New" },
                { "path": "ai_provider_id", "to": "openai" },
                { "path": "key", "to": "***" },
            ]),
        },
        Case {
            tool: "rotate-api-key",
            args: json!({ "id": "183497e5-6d60-4f2f-9d6e-5f2cf2e2a001" }),
            sent: json!({ "method": "POST", "body": {} }),
            read: Some("/v1/api-keys/183497e5-6d60-4f2f-9d6e-5f2cf2e2a001"),
            changes: json!([]),
        },
    ];
    for Case {
        tool,
        args,
        sent,
        read,
        changes,
    } in cases
    {
        let upstream = MockUpstream::start(|_| json_response(STORED)).await;
        let result = dry_run_call(&upstream, tool, &args).await;
        let mut got: Vec<_> = upstream
            .requests()
            .into_iter()
            .map(|r| (r.method, r.target))
            .collect();
        if result.get("impact").is_some() {
            assert!(got.iter().all(|(method, _)| method == "GET"), "{tool}");
            // What depends on the target is looked up afterwards.
            got.truncate(1);
        }
        let expected: Vec<_> = read
            .iter()
            .map(|at| ("GET".to_owned(), (*at).to_owned()))
            .collect();
        assert_eq!(got, expected, "{tool}");
        let mut request = result["request"].clone();
        let url = request.as_object_mut().unwrap().remove("url").unwrap();
        assert!(
            url.as_str().unwrap().starts_with(&upstream.base_url),
            "{url}"
        );
        assert_eq!(
            (&result["dry_run"], &request),
            (&json!(true), &sent),
            "{tool}"
        );
        assert_eq!(result["changes"], changes, "{tool} {args}");
        let current = if read.is_some() {
            serde_json::from_str(STORED).unwrap()
        } else {
            json!(null)
        };
        assert_eq!(result["current"], current, "{tool}");
        assert!(!result.to_string().contains("sk-planted"), "{result}");
    }
}

/// A document that is replaced as a whole loses its omitted fields. Masked secrets are not reported
/// as changes.
#[tokio::test]
async fn nested_fields_are_compared() {
    let document = json!({ "retry": { "attempts": 3 }, "cache": {}, "api_key": "sk***1" });
    let stored = json!({ "data": {
        "config": document.to_string(),
        "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 9 }],
        "defaults": { "metadata": { "a": "1", "b": "2" } },
    } });
    let stored: &'static str = stored.to_string().leak();
    let upstream = MockUpstream::start(move |_| json_response(stored)).await;
    let config = json!({ "retry": { "attempts": 5 }, "strategy": { "mode": "fallback" } });
    let result = dry_run_call(
        &upstream,
        "update-config",
        &json!({ "slug": "s", "config": config }),
    )
    .await;
    let changes = json!([
        { "path": "config.retry.attempts", "from": 3, "to": 5 },
        { "path": "config.strategy", "to": { "mode": "fallback" } },
        { "path": "config.cache", "from": {} },
    ]);
    assert_eq!(result["changes"], changes, "{result}");
    let args = json!({
        "id": "183497e5-6d60-4f2f-9d6e-5f2cf2e2a001",
        "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 10 }],
        "defaults": { "metadata": { "a": "1", "c": "3" } },
    });
    let result = dry_run_call(&upstream, "update-api-key", &args).await;
    let changes = json!([
        { "path": "rate_limits[0].value", "from": 9, "to": 10 },
        { "path": "defaults.metadata.c", "to": "3" },
        { "path": "defaults.metadata.b", "from": "2" },
    ]);
    assert_eq!(result["changes"], changes, "{result}");
}

/// Parts that an update keeps, as its rules say, are no removals, whatever the order of entries.
#[tokio::test]
async fn parts_that_an_update_keeps_are_not_removed() {
    let workspaces = ["ws-a", "ws-b", "ws-c"].map(|id| json!({ "id": id, "enabled": true }));
    let stored = json!({
        "workspaces": workspaces,
        "global_workspace_access": { "enabled": false, "usage_limits": null },
    });
    let stored: &'static str = stored.to_string().leak();
    let upstream = MockUpstream::start(move |_| json_response(stored)).await;
    let args = json!({
        "slug": "s",
        "workspaces": [{ "id": "ws-c", "enabled": false }, { "id": "ws-a", "enabled": true }],
        "global_workspace_access": { "enabled": true },
    });
    let result = dry_run_call(&upstream, "bulk-update-integration-workspaces", &args).await;
    let changes = json!([
        { "path": "workspaces[id=ws-c].enabled", "from": true, "to": false },
        { "path": "global_workspace_access.enabled", "from": false, "to": true },
    ]);
    assert_eq!(result["changes"], changes, "{result}");
}

/// Nobody can tell whether a new secret is the stored one, so it counts as a change.
#[tokio::test]
async fn masked_values_are_never_called_unchanged() {
    struct Case {
        tool: &'static str,
        args: Value,
    }

    let stored = json!({ "data": {
        "key": "sk-***9",
        "config": json!({ "provider": "openai", "api_key": "sk***1" }).to_string(),
        "configurations": { "custom_headers": { "authorization": "Be*****ken" } },
    } });
    let stored: &'static str = stored.to_string().leak();
    let upstream = MockUpstream::start(move |_| json_response(stored)).await;
    let cases = [
        Case {
            tool: "update-integration",
            args: json!({ "slug": "s", "key": "sk-planted" }),
        },
        Case {
            tool: "update-config",
            args: json!({ "slug": "s", "config": { "provider": "openai", "api_key": "sk-planted" } }),
        },
        Case {
            tool: "update-mcp-integration",
            args: json!({ "mcp_integration_id": "m", "configurations": { "custom_headers": { "authorization": "Bearer planted" } } }),
        },
    ];
    for Case { tool, args } in cases {
        let result = dry_run_call(&upstream, tool, &args).await.to_string();
        assert!(!result.contains("nothing would change"), "{tool}: {result}");
        assert!(
            result.contains("cannot be read or compared"),
            "{tool}: {result}"
        );
        assert!(!result.contains("planted"), "{tool}: {result}");
    }
}

#[tokio::test]
async fn dry_run_result_is_bounded() {
    let long = "x".repeat(100_000);
    let stored: Value = (0..10_000)
        .map(|i| (format!("field{i}"), json!(long[..50])))
        .collect();
    let body: &'static str = stored.to_string().leak();
    let upstream = MockUpstream::start(move |_| json_response(body)).await;
    let args = json!({ "slug": "s", "name": "n", "description": long });
    let result = dry_run_call(&upstream, "update-integration", &args)
        .await
        .to_string();
    assert!(
        result.len() < 20_000 && result.contains("more characters"),
        "{} bytes",
        result.len()
    );
}

/// A caller that may not read gets no current state, and no request is sent for it.
#[tokio::test]
async fn current_state_is_read_with_the_scopes_of_the_caller() {
    let upstream = MockUpstream::start(|_| json_response(STORED)).await;
    let dispatcher = dispatcher(&upstream).with_dry_run(true);
    let mut writer = operator();
    writer.scopes = Scopes::from_words(["portkey:write"]);
    let args = json!({ "slug": "s", "name": "New" })
        .as_object()
        .unwrap()
        .clone();
    let result = dispatcher
        .call_as_local(&writer, "update-integration", args.clone())
        .await
        .unwrap();
    assert_eq!((&result["current"], upstream.count()), (&Value::Null, 0));
    assert!(
        result["note"].as_str().unwrap().contains("needs the scope"),
        "{result}"
    );
    // A caller that may not write gets no dry run of a write.
    writer.scopes = Scopes::from_words(["portkey:read"]);
    assert!(
        dispatcher
            .call_as_local(&writer, "update-integration", args)
            .await
            .is_err()
    );
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn reads_and_previews_run_and_invalid_calls_are_rejected() {
    let upstream = MockUpstream::start(|_| json_response(STORED)).await;
    let read = dry_run_call(&upstream, "get-integration", &json!({ "slug": "s" })).await;
    assert_eq!((&read["name"], upstream.count()), (&json!("Old"), 1));
    let args = json!({ "gateway": "g", "is_active": false, "preview": true });
    let preview = dry_run_call(&upstream, "modify-mcp-gateway", &args).await;
    assert_eq!((&preview["preview"], upstream.count()), (&json!(true), 2));
    let args = json!({ "gateway": "g", "is_active": false });
    let result = dry_run_call(&upstream, "modify-mcp-gateway", &args).await;
    assert_eq!(result["request"]["headers"]["x-enkrypt-mcp-gateway"], "g");
    assert_eq!(
        result["changes"],
        json!([{ "path": "is_active", "to": false }])
    );
    assert_eq!(upstream.requests()[2].target, "/mcp-gateway/get-gateway");
    let dispatcher = dispatcher(&upstream).with_dry_run(true);
    for args in [json!({}), json!({ "slug": "../x" })] {
        let args = args.as_object().unwrap().clone();
        assert!(
            dispatcher
                .call_as_local(&operator(), "delete-integration", args)
                .await
                .is_err()
        );
    }
    assert_eq!(upstream.count(), 3);
}

/// Updates and deletes whose current state no operation reads.
const WITHOUT_READ: &[&str] = &[
    "delete-agent-server",
    "delete-prompt-tool",
    "delete-scim-workspace-mapping",
    "set-default-prompt-tool-version",
    "update-agent-server",
    "update-feedback",
    "update-plugin",
    "update-prompt-tool",
];

#[test]
fn every_update_and_delete_has_a_read_operation() {
    let catalog = Catalog::full();
    for entry in catalog.iter() {
        let operation = entry.operation;
        let read = dry_run::find_read(&catalog, operation).map(|entry| entry.operation.name());
        match operation.effect() {
            Effect::Update | Effect::Delete => {
                let blind = WITHOUT_READ.contains(&operation.name());
                assert_eq!(read.is_none(), blind, "{operation:?}: {read:?}");
            }
            Effect::Read => assert_eq!(read, None, "{operation:?}"),
            Effect::Create if operation.name() == "rotate-api-key" => assert!(read.is_some()),
            Effect::Create => assert_eq!(read, None, "{operation:?}"),
        }
    }
}

/// Holds on every transport, and the state of the sandbox does not change.
#[tokio::test]
async fn dry_run_server_changes_nothing() {
    let args = json!({ "slug": "openai-production" });
    let (good, out, _) = run_cli(&[
        "call",
        "delete-integration",
        &args.to_string(),
        "--sandbox",
        "--dry-run",
    ]);
    let result: Value = serde_json::from_str(&out).unwrap();
    assert!(
        good && result["dry_run"] == true && result["current"]["slug"] == "openai-production",
        "{out}"
    );

    let mut pipe = StdioServer::builder()
        .sandbox()
        .args(&["--dry-run"])
        .start();
    pipe.send(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#);
    pipe.receive();
    let mut piped = |tool: &str| {
        let params = json!({ "name": tool, "arguments": args });
        pipe.send(
            &json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
                .to_string(),
        );
        pipe.receive()["result"].clone()
    };
    let deleted = piped("delete-integration");
    assert_eq!(
        (
            &deleted["isError"],
            &deleted["structuredContent"]["dry_run"]
        ),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        piped("get-integration")["structuredContent"]["slug"],
        "openai-production"
    );

    let served = ServerProcess::http().sandbox().args(&["--dry-run"]).start();
    for (tool, field) in [
        ("delete-integration", "dry_run"),
        ("get-integration", "slug"),
    ] {
        let (_, answer) = send_request(call_request(&served, tool, args.clone())).await;
        assert!(
            !answer["result"]["structuredContent"][field].is_null(),
            "{tool}: {answer}"
        );
    }
}

/// A dry run needs a builder call and is off by default.
#[tokio::test]
async fn writes_are_sent_without_dry_run() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher: Dispatcher = dispatcher(&upstream).with_dry_run(false);
    let args = json!({ "slug": "s" }).as_object().unwrap().clone();
    dispatcher
        .call_as_local(&operator(), "delete-integration", args)
        .await
        .unwrap();
    assert_eq!(upstream.requests()[0].method, "DELETE");
}

/// Names may contain the characters of a path. Each place has an unambiguous path.
#[tokio::test]
async fn special_characters_in_change_paths_are_quoted() {
    let stored = json!({ "config": { "a": { "b": 1 }, "a.b": 1, "c[0]": 1, "": 1 } }).to_string();
    let upstream = MockUpstream::start(move |_| json_response(&stored)).await;
    let config = json!({ "a": { "b": 2 }, "a.b": 3, "c[0]": 4, "": 5 });
    let result = dry_run_call(
        &upstream,
        "update-config",
        &json!({ "slug": "s", "config": config }),
    )
    .await;
    let changes = json!([
        { "path": "config.a.b", "from": 1, "to": 2 },
        { "path": "config[\"a.b\"]", "from": 1, "to": 3 },
        { "path": "config[\"c[0]\"]", "from": 1, "to": 4 },
        { "path": "config[\"\"]", "from": 1, "to": 5 },
    ]);
    assert_eq!(result["changes"], changes, "{result}");
}

/// Calls that put another version in use show what it changes for those who use it.
#[tokio::test]
async fn versions_are_compared_when_another_one_is_put_in_use() {
    let server = ServerProcess::http().sandbox().start();
    let call = async |tool: &str, args: Value| {
        let (_, answer) = send_request(call_request(&server, tool, args)).await;
        let result = answer["result"].clone();
        assert_ne!(result["isError"], true, "{tool}: {answer}");
        result["structuredContent"].clone()
    };
    let dry_run = async |tool: &str, args: Value| {
        let steps = json!([{ "tool": tool, "arguments": args }]);
        call("plan-changes", json!({ "steps": steps })).await["steps"][0]["changes"].clone()
    };
    let find = |changes: &Value, path: &str| {
        let mut changes = changes.as_array().unwrap().iter();
        let found = changes.find(|change| change["path"] == path).cloned();
        found.unwrap_or_default()
    };
    let listed = call("list-prompts", json!({ "workspace_id": "ws-support-bot" })).await;
    let id = &listed["data"][0]["id"];
    let messages = |text: &str| {
        json!([{ "role": "system", "content": format!("Be kind.\nBe {text}.") },
            { "role": "user", "content": "Hi {{name}}" }])
        .to_string()
    };
    for text in ["short", "long"] {
        let args =
            json!({ "prompt_id": id, "patch": true, "string": messages(text), "model": text });
        call("update-prompt", args).await;
    }
    call(
        "set-default-prompt-version",
        json!({ "prompt_id": id, "version": 2 }),
    )
    .await;
    let lines = "@@ -1,5 +1,5 @@\n system:\n Be kind.\n-Be short.\n+Be long.\n \n user:\n";
    let changes = dry_run(
        "set-default-prompt-version",
        json!({ "prompt_id": id, "version": 3 }),
    )
    .await;
    assert_eq!(
        changes[0],
        json!({ "path": "version", "from": 2, "to": 3 }),
        "{changes}"
    );
    assert_eq!(find(&changes, "string")["diff"], lines, "{changes}");
    let model = json!({ "path": "model", "from": "short", "to": "long" });
    assert_eq!(find(&changes, "model"), model, "{changes}");
    assert_eq!(find(&changes, "name"), Value::Null, "{changes}");
    let same = dry_run(
        "set-default-prompt-version",
        json!({ "prompt_id": id, "version": 2 }),
    )
    .await;
    assert_eq!(same, json!([]));

    // A label moves from the version that has it.
    let label = json!({ "name": "candidate", "workspace_id": "ws-support-bot" });
    let label = call("create-label", label).await["id"].clone();
    let versions = call("list-prompt-versions", json!({ "prompt_id": id })).await;
    let version_id = |number: u64| {
        let rows = versions["data"].as_array().unwrap();
        let row = rows.iter().find(|row| row["prompt_version"] == number);
        row.unwrap()["id"].clone()
    };
    let attach = |number: u64| json!({ "prompt_id": id, "version_id": version_id(number), "label_id": label });
    let first = dry_run("update-prompt-version", attach(2)).await;
    assert_eq!(
        first,
        json!([{ "path": "label_id", "from": null, "to": label }])
    );
    call("update-prompt-version", attach(2)).await;
    let moved = dry_run("update-prompt-version", attach(3)).await;
    assert_eq!(find(&moved, "string")["diff"], lines, "{moved}");
    assert_eq!(dry_run("update-prompt-version", attach(2)).await, json!([]));

    // Partials are texts.
    let partial = json!({ "name": "Tone", "string": "Be kind", "workspace_id": "ws-support-bot" });
    let partial = call("create-prompt-partial", partial).await["id"].clone();
    let update = json!({ "prompt_partial_id": partial, "string": "Be brief" });
    call("update-prompt-partial", update).await;
    let publish = json!({ "prompt_partial_id": partial, "version": 2 });
    let changes = dry_run("set-default-prompt-partial-version", publish).await;
    assert_eq!(
        changes,
        json!([{ "path": "version", "from": 1, "to": 2 },
        { "path": "string", "from": "Be kind", "to": "Be brief" }])
    );

    // The answer to a patch shows messages as people read them, too.
    let patch = json!({ "prompt_id": id, "patch": { "string": messages("brief") } });
    let changed = call("update-prompt", patch).await;
    let diff = find(&changed["changed"], "string")["diff"].clone();
    assert_eq!(
        diff, "@@ -1,5 +1,5 @@\n system:\n Be kind.\n-Be long.\n+Be brief.\n \n user:\n",
        "{changed}"
    );
}
