//! Updates with a patch, from the tool call to the request that is sent.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{
    policy::PolicyFile,
    requests::{call_request, send_request},
    server::{ServerProcess, serve_sandbox},
    upstream::{KEY, MockUpstream, ReceivedRequest, ResponseAction, http_response, json_response},
};

const SECRET: &str = "sk-live-0123456789abcdefghijklmn";

/// A config whose targets have keys in clear, as Portkey returns them.
fn stored_config() -> Value {
    json!({
        "strategy": { "mode": "loadbalance" },
        "targets": [
            { "name": "primary", "provider": "openai", "api_key": SECRET, "weight": 0.7 },
            { "name": "spare", "provider": "@anthropic", "weight": 0.3 },
        ],
    })
}

/// A config that `PUT` replaces and `GET` returns.
#[derive(Clone)]
struct ConfigUpstream(Arc<Mutex<Value>>);

impl ConfigUpstream {
    fn new() -> Self {
        let state = json!({ "id": "c1", "slug": "pc-a", "name": "A", "status": "active",
            "version_id": "v1", "created_at": "2026-01-01", "config": stored_config() });
        Self(Arc::new(Mutex::new(state)))
    }

    fn config(&self) -> Value {
        self.0.lock().unwrap()["config"].clone()
    }

    fn answer(&self, request: &ReceivedRequest) -> ResponseAction {
        let mut state = self.0.lock().unwrap();
        if request.method == "GET" {
            let mut shown = state.clone();
            shown["config"] = shown["config"].to_string().into();
            return json_response(&shown.to_string());
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        for (name, value) in body.as_object().unwrap() {
            // As the live API ignores the flag of a default config, this one ignores the status.
            if name != "status" {
                state[name] = value.clone();
            }
        }
        state["version_id"] = "v2".into();
        json_response(r#"{"success":true,"data":{"version_id":"v2"}}"#)
    }

    async fn start(&self) -> MockUpstream {
        let state = self.clone();
        MockUpstream::start_by(move |request, _| state.answer(request)).await
    }
}

/// Returns a server in front of an upstream.
fn serve(upstream: &MockUpstream, more: &[&str]) -> ServerProcess {
    ServerProcess::http()
        .upstream(&upstream.base_url)
        .api_key(KEY)
        .args(more)
        .start()
}

/// Calls a tool; returns whether it failed, and the text of the answer.
async fn call(server: &ServerProcess, tool: &str, args: Value) -> (bool, String) {
    let (_, message) = send_request(call_request(server, tool, args)).await;
    let result = &message["result"];
    let text = result["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("{message}"));
    (result["isError"] == true, text.to_owned())
}

async fn answer(server: &ServerProcess, tool: &str, args: Value) -> Value {
    let (failed, text) = call(server, tool, args).await;
    assert!(!failed, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn error(server: &ServerProcess, tool: &str, args: Value) -> String {
    let (failed, text) = call(server, tool, args).await;
    assert!(failed, "{text}");
    text
}

fn writes(upstream: &MockUpstream) -> Vec<Value> {
    let requests = upstream.requests();
    let writes = requests.iter().filter(|request| request.method != "GET");
    writes
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect()
}

#[tokio::test]
async fn one_weight_of_a_config_takes_one_small_call() {
    let state = ConfigUpstream::new();
    let upstream = state.start().await;
    let server = serve(&upstream, &[]);
    let arguments = json!({ "slug": "pc-a", "expect": { "config.targets[1].weight": 0.3 },
        "patch": { "config": { "targets": [{ "name": "spare", "weight": 0.5 }] } } });
    let (failed, text) = call(&server, "update-config", arguments.clone()).await;
    assert!(!failed, "{text}");
    // What a model writes and reads for it.
    let bytes = "update-config".len() + arguments.to_string().len() + text.len();
    assert!(bytes <= 700, "{bytes} bytes: {arguments} {text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let changed = json!([{ "path": "config.targets[name=spare].weight", "old": 0.3, "new": 0.5 }]);
    assert_eq!(answer["changed"], changed);
    assert_eq!(answer["ignored"], json!([]));
    // The whole document is sent, with the key that no caller sees.
    let mut expected = stored_config();
    expected["targets"][1]["weight"] = json!(0.5);
    assert_eq!(state.config(), expected);
    assert_eq!(writes(&upstream), [json!({ "config": expected })]);
    assert!(!text.contains(SECRET));
}

#[tokio::test]
async fn operations_and_merge_patches_have_the_same_outcome() {
    for patch in [
        json!([{ "op": "test", "path": "/config/targets/0/weight", "value": 0.7 },
            { "op": "replace", "path": "/config/targets/0/weight", "value": 1 },
            { "op": "remove", "path": "/config/targets/1" }]),
        json!({ "config": { "targets": [{ "name": "primary", "weight": 1 },
            { "name": "spare", "_delete": true }] } }),
        // Clients without open objects write it as text.
        json!(
            "{\"config\":{\"targets\":[{\"name\":\"primary\",\"weight\":1},{\"name\":\"spare\",\"_delete\":true}]}}"
        ),
    ] {
        let state = ConfigUpstream::new();
        let upstream = state.start().await;
        let server = serve(&upstream, &[]);
        answer(
            &server,
            "update-config",
            json!({ "slug": "pc-a", "patch": patch }),
        )
        .await;
        let mut expected = stored_config();
        expected["targets"].as_array_mut().unwrap().pop();
        expected["targets"][0]["weight"] = json!(1);
        assert_eq!(state.config(), expected, "{patch}");
    }
}

#[tokio::test]
async fn fields_in_another_spelling_are_merged_as_well() {
    for patch in [
        json!({ "Config": { "retry": { "attempts": 2 } } }),
        json!({ "configs": { "retry": { "attempts": 2 } } }),
        json!([{ "op": "add", "path": "/Config/retry", "value": { "attempts": 2 } }]),
        json!([{ "op": "copy", "from": "/Config/retry", "path": "/CONFIG/retry" },
            { "op": "replace", "path": "/Config/retry/attempts", "value": 2 }]),
    ] {
        let state = ConfigUpstream::new();
        let mut expected = stored_config();
        expected["retry"] = json!({ "attempts": 1 });
        state.0.lock().unwrap()["config"] = expected.clone();
        let upstream = state.start().await;
        let server = serve(&upstream, &[]);
        let args = json!({ "slug": "pc-a", "patch": patch });
        answer(&server, "update-config", args).await;
        expected["retry"]["attempts"] = json!(2);
        assert_eq!(state.config(), expected, "{patch}");
    }
}

#[tokio::test]
async fn objects_inside_a_merged_field_are_sent_whole() {
    let upstream = MockUpstream::start_by(|request, _| {
        if request.method != "GET" {
            return json_response(r#"{"success":true}"#);
        }
        let stored = json!({ "id": "m1", "slug": "crm", "name": "CRM", "configurations": {
            "passthrough": false,
            "custom_headers": { "authorization": "Bear**********0042", "x-region": "eu" } } });
        json_response(&stored.to_string())
    })
    .await;
    let server = serve(&upstream, &[]);
    // The endpoint would replace all headers, the hidden one with them.
    let patch = json!({ "configurations": { "custom_headers": { "x-region": "us" } } });
    let args = json!({ "id": "m1", "patch": patch });
    let text = error(&server, "update-mcp-integration", args).await;
    assert!(text.contains("custom_headers.authorization"), "{text}");
    assert!(text.contains("is masked"), "{text}");
    assert_eq!(writes(&upstream), Vec::<Value>::new());

    let headers = json!({ "authorization": "Bearer new", "x-region": "us" });
    let patch = json!({ "configurations": { "custom_headers": headers } });
    let args = json!({ "id": "m1", "patch": patch });
    answer(&server, "update-mcp-integration", args).await;
    let sent = json!({ "configurations": { "custom_headers": headers } });
    assert_eq!(writes(&upstream), [sent]);
}

#[tokio::test]
async fn patch_that_cannot_be_applied_sends_nothing() {
    struct Case {
        args: Value,
        words: &'static str,
    }

    let upstream = ConfigUpstream::new().start().await;
    let server = serve(&upstream, &[]);
    let conflict = json!({ "config.targets[0].weight": 0.5, "name": "A" });
    for Case { args, words } in [
        Case {
            args: json!({ "patch": { "name": "B" }, "expect": conflict }),
            words: "`config.targets[0].weight` is 0.7 now, not 0.5",
        },
        Case {
            args: json!({ "patch": { "name": "B" }, "expect": { "nme": "A" } }),
            words: "the resource has no `nme`: the path is misspelt, or what it led to was removed",
        },
        Case {
            args: json!({ "patch": { "name": "B" }, "expect": { "config.targets[7].weight": 0.3 } }),
            words: "the resource has no `config.targets[7].weight`",
        },
        Case {
            args: json!({ "patch": { "name": "B" }, "expect": "v0" }),
            words: "`version_id` is \"v1\" now",
        },
        Case {
            args: json!({ "patch": { "name": "B" }, "expect": { "config.targets[0].api_key": SECRET } }),
            words: "is hidden from callers",
        },
        Case {
            args: json!({ "patch": [{ "op": "test", "path": "/config/targets/0/api_key", "value": SECRET }] }),
            words: "found another value",
        },
        Case {
            args: json!({ "patch": [{ "op": "copy", "from": "/config/targets/0/api_key", "path": "/config/targets/0/weight" }] }),
            words: "hidden from callers where it can be read",
        },
        Case {
            args: json!({ "patch": [{ "op": "move", "from": "/config/targets/0/api_key", "path": "/name" }] }),
            words: "hidden from callers",
        },
        Case {
            args: json!({ "patch": { "config": { "targets": [{ "name": "primary", "custom_host": "https://evil.example" }] } } }),
            words: "changes where requests go",
        },
        Case {
            args: json!({ "patch": { "config": { "targets": [{ "name": "primary", "api_key": "[masked by portkey-mcp]" }] } } }),
            words: "masked",
        },
        Case {
            args: json!({ "patch": { "version_id": "v9" } }),
            words: "is read-only; `update-config` takes `name`, `config`, `status`",
        },
        Case {
            args: json!({ "patch": { "confg": { "retry": { "attempts": 1 } }, "name": "B" } }),
            words: "`patch.confg`: is no field of the resource, did you mean `config`?; `update-config` takes",
        },
        Case {
            args: json!({ "patch": { "colour": "red" } }),
            words: "`patch.colour`: is no field of the resource; `update-config` takes `name`, `config`",
        },
        Case {
            args: json!({ "patch": [{ "op": "add", "path": "/colour", "value": "red" }] }),
            words: "`patch.colour`: is no field of the resource",
        },
        Case {
            args: json!({ "patch": { "config": { "provdier": "openai" } } }),
            words: "`config.provdier`: is not read by the gateway; it is written `provider`",
        },
        Case {
            args: json!({ "patch": { "slug": "pc-b" } }),
            words: "beside `patch`",
        },
        Case {
            args: json!({ "patch": { "name": "B" }, "status": "active" }),
            words: "put it into the patch",
        },
        Case {
            args: json!({ "patch": { "config.targets[0].weight": 1 } }),
            words: "is a path, not a field",
        },
        Case {
            args: json!({ "patch": { "config": { "targets": { "0": { "weight": 1 } } } } }),
            words: "is a list, which an object would replace",
        },
        Case {
            args: json!({ "patch": { "config": { "targets": [{ "weight": 1 }] } } }),
            words: "names no destination",
        },
        Case {
            args: json!({ "patch": { "config": { "strategy": { "mode": "load_balance" } } } }),
            words: "it is written `loadbalance`",
        },
        Case {
            args: json!({ "patch": { "config": {}, "Config": { "retry": { "attempts": 1 } } } }),
            words: "`patch.config`: is given in two spellings",
        },
        Case {
            args: json!({ "patch": 7 }),
            words: "RFC 7396",
        },
        Case {
            args: json!({ "patch": [{ "op": "replace", "path": "/config/targets/7/weight", "value": 1 }] }),
            words: "there is nothing at",
        },
        Case {
            args: json!({ "name": "B", "expect": { "name": "A" } }),
            words: "guards a `patch`",
        },
    ] {
        let mut args = args;
        args["slug"] = "pc-a".into();
        let text = error(&server, "update-config", args.clone()).await;
        assert!(text.contains(words), "{args}: {text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    assert_eq!(writes(&upstream), Vec::<Value>::new());
}

#[tokio::test]
async fn patch_without_a_difference_sends_nothing() {
    let upstream = ConfigUpstream::new().start().await;
    let server = serve(&upstream, &[]);
    for patch in [
        json!({}),
        json!({ "name": "A" }),
        json!({ "config": { "targets": [{ "name": "spare", "weight": 0.3 }] } }),
    ] {
        let args = json!({ "slug": "pc-a", "patch": patch });
        let answer = answer(&server, "update-config", args).await;
        let note = answer["note"].as_str().unwrap();
        assert!(note.starts_with("Nothing to change"), "{answer}");
    }
    assert_eq!(writes(&upstream), Vec::<Value>::new());
}

#[tokio::test]
async fn change_that_the_upstream_ignores_is_told() {
    let upstream = ConfigUpstream::new().start().await;
    let server = serve(&upstream, &[]);
    let args = json!({ "slug": "pc-a", "patch": { "name": "B", "status": "archived" } });
    let answer = answer(&server, "update-config", args).await;
    assert_eq!(
        answer["changed"],
        json!([{ "path": "name", "old": "A", "new": "B" }])
    );
    assert_eq!(
        answer["ignored"],
        json!([{ "path": "status", "value": "archived" }])
    );
}

#[tokio::test]
async fn new_secret_in_a_patch_is_sent_and_never_shown() {
    let state = ConfigUpstream::new();
    let upstream = state.start().await;
    let server = serve(&upstream, &[]);
    let new = "sk-new-9876543210zyxwvutsrqponm";
    let patch = json!({ "config": { "targets": [{ "name": "primary", "api_key": new }] } });
    let args = json!({ "slug": "pc-a", "patch": patch });
    let answer = answer(&server, "update-config", args).await;
    assert_eq!(state.config()["targets"][0]["api_key"], new);
    let expected = json!(["config.targets[name=primary].api_key"]);
    assert_eq!(answer["sent_but_not_readable"], expected, "{answer}");
    assert!(!answer.to_string().contains(new), "{answer}");
}

#[tokio::test]
async fn policies_judge_the_arguments_that_are_sent() {
    let file = PolicyFile::with(
        r#"
version: "1"
tools:
  update-config:
    rules:
      - { name: weights, cap: { "config.targets.weight": 0.8 } }
"#,
    );
    let upstream = ConfigUpstream::new().start().await;
    let server = serve(&upstream, &["--policy", file.path()]);
    let patch = |weight: f64| {
        json!({ "slug": "pc-a", "patch": [
            { "op": "replace", "path": "/config/targets/0/weight", "value": weight }] })
    };
    let text = error(&server, "update-config", patch(0.9)).await;
    assert!(text.contains("weights"), "{text}");
    assert_eq!(writes(&upstream), Vec::<Value>::new());
    answer(&server, "update-config", patch(0.75)).await;
    assert_eq!(writes(&upstream).len(), 1);
}

/// An upstream that repeats the request, in an answer or in an error, and a dry run of it.
#[tokio::test]
async fn hidden_values_are_in_no_answer_to_a_patch() {
    const REDACTED: &str = "a-text-that-a-policy-hides";
    let policy = "version: \"1\"\ntools:\n  get-config: { rules: [{ name: hide, redact: [\"config.targets[].note\"] }] }\n";
    let file = PolicyFile::with(policy);
    for status in ["200 OK", "400 Bad Request"] {
        for more in [&["--dry-run"] as &[&str], &[]] {
            let state = ConfigUpstream::new();
            state.0.lock().unwrap()["config"]["targets"][0]["note"] = REDACTED.into();
            let answering = state.clone();
            let upstream = MockUpstream::start_by(move |request, _| match request.method.as_str() {
                "GET" => answering.answer(request),
                _ => {
                    let body = String::from_utf8(request.body.clone()).unwrap();
                    let answer = json!({ "success": false, "message": body, "data": { "repeated": body } });
                    http_response(status, "content-type: application/json\r\n", &answer.to_string())
                }
            })
            .await;
            let options = [&["--policy", file.path()], more].concat();
            let server = serve(&upstream, &options);
            let args = json!({ "slug": "pc-a", "patch": [
                { "op": "replace", "path": "/config/targets/0/weight", "value": 0.9 }] });
            let (_, text) = call(&server, "update-config", args).await;
            assert!(
                !text.contains(REDACTED) && !text.contains(SECRET),
                "{status} {more:?}: {text}"
            );
            assert_eq!(
                writes(&upstream).len(),
                usize::from(more.is_empty()),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn dry_run_of_a_patch_shows_the_difference_only() {
    let upstream = ConfigUpstream::new().start().await;
    let server = serve(&upstream, &["--dry-run"]);
    let patch = json!({ "config": { "targets": [{ "name": "spare", "weight": 0.5 }] } });
    let args = json!({ "slug": "pc-a", "patch": patch });
    let answer = answer(&server, "update-config", args).await;
    assert_eq!(answer["dry_run"], true, "{answer}");
    let changes = json!([{ "path": "config.targets[name=spare].weight", "from": 0.3, "to": 0.5 }]);
    assert_eq!(answer["changes"], changes, "{answer}");
    assert!(!answer.to_string().contains(SECRET), "{answer}");
    assert_eq!(writes(&upstream), Vec::<Value>::new());
}

#[tokio::test]
async fn caller_without_the_read_is_told_what_to_do() {
    let file = PolicyFile::with("version: \"1\"\nhide: [\"get-config\"]\n");
    let upstream = ConfigUpstream::new().start().await;
    let server = serve(&upstream, &["--policy", file.path()]);
    let args = json!({ "slug": "pc-a", "patch": { "name": "B" } });
    let text = error(&server, "update-config", args).await;
    assert!(
        text.contains("read with `get-config`") && text.contains("instead of a patch"),
        "{text}"
    );
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn outcome_that_cannot_be_read_is_no_failure() {
    let state = ConfigUpstream::new();
    let answering = state.clone();
    let upstream = MockUpstream::start_by(move |request, before| match before {
        0 | 1 => answering.answer(request),
        _ => http_response("500 Internal Server Error", "", "{}"),
    })
    .await;
    let server = serve(&upstream, &[]);
    let args = json!({ "slug": "pc-a", "patch": { "name": "B" } });
    let answer = answer(&server, "update-config", args).await;
    assert_eq!(answer["changed"], Value::Null);
    assert!(
        answer["note"]
            .as_str()
            .unwrap()
            .contains("could not be read back"),
        "{answer}"
    );
}

#[tokio::test]
async fn tool_without_a_patch_says_why() {
    let server = serve_sandbox(&[]);
    let args = json!({ "prompt_id": "pp-refund-reply", "patch": { "version": 1 } });
    let text = error(&server, "set-default-prompt-version", args).await;
    assert!(
        text.contains("`set-default-prompt-version` takes none: it performs an action"),
        "{text}"
    );
}

#[tokio::test]
async fn entries_of_other_resources_stay() {
    let server = serve_sandbox(&[]);
    let patch = json!({ "models": [{ "slug": "o3-mini", "enabled": true }] });
    let args = json!({ "slug": "openai-production", "patch": patch });
    let changed = answer(&server, "bulk-update-integration-models", args).await;
    let expected = json!([{ "path": "models[slug=o3-mini].enabled", "old": false, "new": true }]);
    assert_eq!(changed["changed"], expected, "{changed}");
    let patch = json!({ "models": [{ "slug": "o3-mini", "_delete": true }] });
    let args = json!({ "slug": "openai-production", "patch": patch });
    let text = error(&server, "bulk-update-integration-models", args).await;
    assert!(
        text.contains("`bulk-delete-integration-models` removes"),
        "{text}"
    );
}

#[tokio::test]
async fn workspace_defaults_that_a_patch_does_not_name_stay() {
    let server = serve_sandbox(&[]);
    let patch = json!({ "defaults": { "metadata": { "stage": "live" } } });
    let args = json!({ "workspace_id": "ws-research", "patch": patch });
    let changed = answer(&server, "update-workspace", args).await;
    let expected =
        json!([{ "path": "defaults.metadata.stage", "old": "experiment", "new": "live" }]);
    assert_eq!(changed["changed"], expected, "{changed}");
    // The state has no other list, so that none is cleared.
    assert_eq!(changed["warnings"], Value::Null, "{changed}");
    let steps = json!([{ "tool": "update-workspace", "arguments": { "workspace_id": "ws-research",
        "patch": { "defaults": { "metadata": { "stage": "test" } } } } }]);
    let planned = answer(&server, "plan-changes", json!({ "steps": steps })).await;
    assert_eq!(planned["steps"][0]["notes"], Value::Null, "{planned}");
    let args =
        json!({ "workspace_id": "ws-research", "defaults": { "metadata": { "stage": "x" } } });
    let text = call(&server, "update-workspace", args).await.1;
    assert!(text.contains("`defaults` is replaced as a whole"), "{text}");
}

/// Stars are not the value that Portkey has masked: they are compared with nothing, and stored nowhere.
#[tokio::test]
async fn values_that_the_upstream_masks_are_not_copied_tested_or_expected() {
    const MASKED: &str = "Bear**********0042";
    let upstream = MockUpstream::start_by(|request, _| {
        if request.method != "GET" {
            return json_response(r#"{"success":true}"#);
        }
        let stored = json!({ "id": "m1", "slug": "crm", "name": "CRM", "configurations": {
            "passthrough": false, "custom_headers": { "authorization": MASKED, "x-region": "eu" } } });
        json_response(&stored.to_string())
    })
    .await;
    let server = serve(&upstream, &[]);
    let header = "/configurations/custom_headers/authorization";
    for operation in [
        json!({ "op": "copy", "from": header, "path": "/description" }),
        json!({ "op": "copy", "from": header, "path": "/configurations/custom_headers/x-other" }),
        json!({ "op": "copy", "from": "/configurations", "path": "/configurations/copy" }),
        json!({ "op": "move", "from": header, "path": "/name" }),
        json!({ "op": "test", "path": header, "value": MASKED }),
    ] {
        let change = json!({ "op": "replace", "path": "/name", "value": "B" });
        let args = json!({ "id": "m1", "patch": [operation, change] });
        let text = error(&server, "update-mcp-integration", args).await;
        assert!(
            text.contains("custom_headers/authorization` is masked"),
            "{operation}: {text}"
        );
    }
    for path in [
        "configurations.custom_headers.authorization",
        "configurations",
    ] {
        let args = json!({ "id": "m1", "patch": { "name": "B" }, "expect": { path: MASKED } });
        let text = error(&server, "update-mcp-integration", args).await;
        assert!(text.contains("cannot be compared"), "{path}: {text}");
    }
    assert_eq!(writes(&upstream), Vec::<Value>::new());
    let visible = json!([{ "op": "copy", "from": "/name", "path": "/description" }]);
    let args = json!({ "id": "m1", "patch": visible, "expect": { "name": "CRM" } });
    answer(&server, "update-mcp-integration", args).await;
    assert_eq!(writes(&upstream), [json!({ "description": "CRM" })]);
}

#[tokio::test]
async fn compact_tools_take_patches() {
    let server = serve_sandbox(&["--surface", "compact"]);
    let arguments = json!({ "slug": "pc-support-fallback", "patch": { "name": "Renamed" } });
    let args = json!({ "operation": "update-config", "arguments": arguments });
    let changed = answer(&server, "update-operation", args).await;
    assert_eq!(changed["changed"][0]["new"], "Renamed", "{changed}");
}
