//! Limits on error texts and on work, for any input of a caller or an upstream.

use portkey_api::catalog::Catalog;
use portkey_file_watch::WatchedValue;
use portkey_mcp::{
    mcp::reply::{MAX_ERROR_BYTES, error_message},
    pipeline::{CallError, approval::ApprovalDefaults},
};
use portkey_operation::{
    JsonMap, MAX_DEPTH, MAX_VALUES, UnknownFields, ValidationOptions, comparison_count,
};
use portkey_policy::Policy;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    approvals::dispatcher_with_approvals,
    audit::read_entries,
    mcp_client::McpClient,
    process::run_cli,
    requests::{client, post_request, send_request, stateless_request},
    server::{ServerProcess, serve_sandbox},
    stdio::start_initialized,
    upstream::{
        MockUpstream, dispatcher, http_response as upstream_answer, json_response, operator,
    },
};

/// Maximum number of names and characters that one call may compare.
const MAX_EFFORT: usize = 3_000_000;

fn nested_list(levels: usize) -> Value {
    (1..levels).fold(json!(1), |inner, _| json!([inner]))
}

fn many_fields(count: usize, name: impl Fn(usize) -> String) -> JsonMap {
    (0..count).map(|i| (name(i), json!(1))).collect()
}

fn single_field(name: &str, value: Value) -> JsonMap {
    JsonMap::from_iter([(name.to_owned(), value)])
}

struct InvalidCall {
    what: &'static str,
    tool: &'static str,
    args: JsonMap,
    says: &'static str,
}

/// Invalid calls that once caused much work or a long error.
fn invalid_calls() -> Vec<InvalidCall> {
    let enabled = |i: usize| json!({ "id": format!("w{i}"), "enabledd": true, "Id": 3 });
    vec![
        InvalidCall {
            what: "names that nobody knows",
            tool: "list-labels",
            args: many_fields(9_000, |i| format!("zz{i}")),
            says: "9000 arguments are not known; at most 100 may be",
        },
        InvalidCall {
            what: "more names than are looked at",
            tool: "list-labels",
            args: many_fields(MAX_VALUES + 1, |i| format!("zz{i}")),
            says: "the arguments hold more than 40000 names and items",
        },
        InvalidCall {
            what: "names with one slip each",
            tool: "create-api-key",
            args: many_fields(9_000, |i| format!("rate_limit_{i}")),
            says: "arguments are not known",
        },
        InvalidCall {
            what: "one name in thousands of spellings",
            tool: "create-label",
            args: many_fields(9_000, |i| {
                format!("{:_<1$}name", "", i % 100) + &"-".repeat(i / 100)
            }),
            says: "8894 arguments are not known",
        },
        InvalidCall {
            what: "a name of a megabyte",
            tool: "create-label",
            args: many_fields(1, |_| "_".repeat(1 << 20)),
            says: "no argument has such a name",
        },
        InvalidCall {
            what: "thousands of long names",
            tool: "create-label",
            args: many_fields(1_000, |i| format!("{i}{}", "_".repeat(10_000))),
            says: "no argument has such a name",
        },
        InvalidCall {
            what: "paths below a long name",
            tool: "create-integration",
            args: single_field(
                "configurations",
                json!({ "x".repeat(1 << 20): vec![1; 9_000] }),
            ),
            says: "`name`: is required",
        },
        InvalidCall {
            what: "a list of nothing but wrong items",
            tool: "bulk-update-integration-workspaces",
            args: single_field("workspaces", json!(vec![1; 9_000])),
            says: "takes an object, got a number",
        },
        InvalidCall {
            what: "objects with a wrong field each",
            tool: "bulk-update-integration-workspaces",
            args: single_field("workspaces", (0..3_000).map(enabled).collect()),
            says: "and",
        },
        InvalidCall {
            what: "words that are no value of an enum",
            tool: "create-api-key",
            args: single_field(
                "scopes",
                (0..9_000).map(|i| json!(format!("logs.lis{i}"))).collect(),
            ),
            says: "`name`: is required",
        },
        InvalidCall {
            what: "an enum of a megabyte",
            tool: "create-api-key",
            args: single_field("type", json!("_".repeat(1 << 20))),
            says: "no such value",
        },
        InvalidCall {
            what: "more JSON as text than is read",
            tool: "bulk-update-integration-workspaces",
            args: single_field(
                "workspaces",
                json!(json!(vec![1; MAX_VALUES + 1]).to_string()),
            ),
            says: "holds too much JSON as text",
        },
        InvalidCall {
            what: "the same in parts",
            tool: "bulk-update-integration-workspaces",
            args: single_field(
                "workspaces",
                json!(vec![json!({ "a": vec![1; 90] }).to_string(); 9_000]),
            ),
            says: "`slug`: is required",
        },
        InvalidCall {
            what: "the same where a secret belongs",
            tool: "create-integration",
            args: single_field(
                "configurations",
                json!(json!(vec![1; MAX_VALUES + 1]).to_string()),
            ),
            says: "",
        },
        InvalidCall {
            what: "more levels than are looked at",
            tool: "create-config",
            args: single_field("config", nested_list(MAX_DEPTH + 1)),
            says: "the arguments have more than 64 levels",
        },
        InvalidCall {
            what: "levels in text",
            tool: "create-config",
            args: single_field("config", json!(format!("{{\"a\":{}}}", nested_list(70)))),
            says: "holds too much JSON as text",
        },
        InvalidCall {
            what: "a document of nothing but unknown parts",
            tool: "create-config",
            args: single_field(
                "config",
                Value::Object(many_fields(9_000, |i| format!("zz{i}"))),
            ),
            says: "9000 parts of a document are not known; at most 1000 may be",
        },
        InvalidCall {
            what: "parameters that no check has",
            tool: "create-guardrail",
            args: JsonMap::from_iter([
                ("name".to_owned(), json!("n")),
                ("actions".to_owned(), json!({})),
                (
                    "checks".to_owned(),
                    json!([{ "id": "default.regexMatch", "parameters": many_fields(9_000, |i| format!("rul{i}")) }]),
                ),
            ]),
            says: "parts of a document are not known",
        },
        InvalidCall {
            what: "a number of a megabyte",
            tool: "list-users",
            args: single_field("pageSize", json!("9".repeat(1 << 20))),
            says: "takes a whole number, got text",
        },
        InvalidCall {
            what: "a list of names of a megabyte",
            tool: "list-users",
            args: single_field("pageSize", json!(vec!["x".repeat(1 << 10); 1_000])),
            says: "takes a whole number, got a list",
        },
    ]
}

/// The count covers the unknown arguments that the error does not list.
#[test]
fn number_of_unknown_arguments_is_consistent_in_the_error() {
    let catalog = Catalog::full();
    let published = catalog.find("list-labels").unwrap().compiled();
    for count in [101, 300, 9_000] {
        let args = many_fields(count, |i| format!("zz{i}"));
        let options = ValidationOptions::default();
        let error = published
            .validate(args, &options)
            .err()
            .unwrap()
            .to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines[0], format!("{count} arguments are wrong:"), "{error}");
        assert_eq!(
            lines[1],
            format!("- {count} arguments are not known; at most 100 may be")
        );
        let listed = lines
            .iter()
            .filter(|line| line.starts_with("- `zz"))
            .count();
        assert_eq!(
            *lines.last().unwrap(),
            format!("- and {} more", count - listed),
            "{error}"
        );
    }
}

#[test]
fn invalid_arguments_cost_bounded_text_and_work() {
    let catalog = Catalog::full();
    for mode in [
        UnknownFields::Warn,
        UnknownFields::Deny,
        UnknownFields::Allow,
    ] {
        let options = ValidationOptions {
            unknown_fields: mode,
            ..ValidationOptions::default()
        };
        for InvalidCall {
            what,
            tool,
            args,
            says,
        } in invalid_calls()
        {
            let published = catalog.find(tool).unwrap().compiled();
            let before = comparison_count::total();
            let error = published.validate(args, &options).expect_err(what);
            let effort = comparison_count::total() - before;
            let message = error_message(&CallError::InvalidArguments(error.clone()));
            assert!(
                message.len() <= MAX_ERROR_BYTES,
                "{what}: {} bytes",
                message.len()
            );
            // A shortened text of one error does not count as an omitted error.
            assert_eq!(message, error.to_string(), "{what}");
            assert!(error.errors().iter().count() <= 20, "{what}: {message}");
            assert!(
                mode == UnknownFields::Deny || message.contains(says),
                "{what}: {message}"
            );
            assert!(effort <= MAX_EFFORT, "{what}: {effort}");
        }
    }
}

/// A skipped name could mean an argument that a policy rule checks, so the call is not sent.
#[test]
fn too_many_spellings_of_an_argument_are_rejected() {
    let spelling = |i: usize| format!("{:_<1$}name", "", i);
    for mode in [
        UnknownFields::Warn,
        UnknownFields::Deny,
        UnknownFields::Allow,
    ] {
        let options = ValidationOptions {
            unknown_fields: mode,
            ..ValidationOptions::default()
        };
        let catalog = Catalog::full();
        let published = catalog.find("create-label").unwrap().compiled();
        let validate = |count: usize| {
            let args = (0..count).map(|i| (spelling(i), json!("n"))).collect();
            published.validate(args, &options)
        };
        assert_eq!(
            validate(100).unwrap().args,
            single_field("name", json!("n")),
            "{mode:?}"
        );
        let error = validate(120).unwrap_err().to_string();
        assert!(
            error.contains("too many names are not those of arguments"),
            "{mode:?}: {error}"
        );
    }
}

#[test]
fn known_fields_are_listed_once_per_object_type() {
    let args = json!({ "workspaces": [{ "zz": 1, "id": "a" }, { "yy": 1, "id": "b" }], "xx": 1 });
    let catalog = Catalog::full();
    let published = catalog
        .find("bulk-update-integration-workspaces")
        .unwrap()
        .compiled();
    let options = ValidationOptions {
        unknown_fields: UnknownFields::Deny,
        ..ValidationOptions::default()
    };
    let message = published
        .validate(args.as_object().unwrap().clone(), &options)
        .unwrap_err();
    let message = message.to_string();
    assert_eq!(message.matches("it takes").count(), 2, "{message}");
    assert_eq!(message.matches("no such argument").count(), 3, "{message}");
}

/// The warnings of a valid call are limited as well.
#[test]
fn warnings_are_bounded() {
    let long = |i: usize| format!("{i}{}", "x".repeat(5_000));
    let catalog = Catalog::full();
    let calls = [
        (
            "create-config",
            json!({ "name": "c", "config": many_fields(900, long) }),
        ),
        (
            "create-collection",
            json!({ "name": "c", "a": { long(1): many_fields(9_000, long) } }),
        ),
        (
            "list-all-integrations",
            Value::Object(many_fields(100, |i| "y".repeat(i + 20))),
        ),
        (
            "create-guardrail",
            json!({ "name": "g", "actions": {}, "checks": vec![json!({ "id": "z".repeat(5_000) }); 200] }),
        ),
    ];
    for (tool, args) in calls {
        let args = args.as_object().unwrap().clone();
        let published = catalog.find(tool).unwrap().compiled();
        let passed = published.validate(args, &ValidationOptions::default());
        let passed = passed.unwrap_or_else(|error| panic!("{tool}: {error}"));
        let bytes: usize = passed.warnings.iter().map(String::len).sum();
        assert!(
            !passed.warnings.is_empty() && bytes <= MAX_ERROR_BYTES,
            "{tool}: {bytes}"
        );
        assert!(passed.unknown.iter().all(|path| path.len() < 300), "{tool}");
    }
}

/// Returns a message that calls a tool.
fn tool_call_message(tool: &str, arguments: &str) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{meta}}}}}"#
    )
}

struct OversizedMessage {
    what: &'static str,
    body: String,
    /// A part of the expected error.
    says: &'static str,
}

/// Messages that exceed a limit, or that an error might quote in full.
fn oversized_messages() -> Vec<OversizedMessage> {
    let long = "m".repeat(1 << 20);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let many = Value::Object(many_fields(380_000, |i| format!("z{i}"))).to_string();
    let asking = |method: &str, params: Value| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    };
    vec![
        OversizedMessage {
            what: "380,000 arguments",
            body: tool_call_message("list-labels", &many),
            says: "more than 41000 names and items",
        },
        OversizedMessage {
            what: "10,000 levels",
            body: tool_call_message("list-labels", &deep),
            says: "more than 127 levels",
        },
        OversizedMessage {
            what: "a long tool name",
            body: tool_call_message(&long, "{}"),
            says: "`name`",
        },
        OversizedMessage {
            what: "a long id",
            body: tool_call_message("list-labels", "{}")
                .replace("\"id\":1", &format!("\"id\":\"{long}\"")),
            says: "`id`",
        },
        OversizedMessage {
            what: "a long method",
            body: asking(&long, json!({})),
            says: "`method`",
        },
        OversizedMessage {
            what: "a long address",
            body: asking(
                "resources/read",
                json!({ "uri": format!("portkey://guide/{long}") }),
            ),
            says: "`uri`",
        },
        OversizedMessage {
            what: "a long prompt",
            body: asking("prompts/get", json!({ "name": long })),
            says: "`name`",
        },
        OversizedMessage {
            what: "a long argument of a completion",
            body: asking(
                "completion/complete",
                json!({ "ref": { "type": "ref/prompt", "name": "p" }, "argument": { "name": long, "value": "" } }),
            ),
            says: "`name`",
        },
        OversizedMessage {
            what: "a long cursor",
            body: asking("tools/list", json!({ "cursor": long })),
            says: "`cursor`",
        },
    ]
}

#[test]
fn oversized_messages_get_short_errors_over_stdio() {
    let mut pipe = start_initialized(&["--sandbox"]);
    for OversizedMessage { what, body, says } in oversized_messages() {
        pipe.send(&body);
        let answer = pipe.receive();
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{what}: {answer}");
        assert!(answer.to_string().len() <= MAX_ERROR_BYTES, "{what}");
        let id = if what == "a long id" {
            Value::Null
        } else {
            json!(1)
        };
        assert_eq!(answer["id"], id, "{what}");
    }
    assert!(pipe.end().0.success());
}

/// In a message within the limits, names are quoted in part at most.
#[test]
fn unknown_names_are_repeated_only_in_part() {
    let long = "m".repeat(3_000);
    let mut pipe = start_initialized(&["--sandbox"]);
    let asking = |method: &str, params: Value| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    };
    for body in [
        tool_call_message(&long, "{}"),
        asking(&long, json!({})),
        asking(
            "resources/read",
            json!({ "uri": format!("portkey://guide/{long}") }),
        ),
        asking(
            "resources/read",
            json!({ "uri": format!("portkey://operations/{long}") }),
        ),
        asking("prompts/get", json!({ "name": long })),
        asking("tools/list", json!({ "cursor": long })),
    ] {
        pipe.send(&body);
        let answer = pipe.receive();
        assert!(answer["error"]["message"].is_string(), "{answer}");
        assert!(answer.to_string().len() <= 600, "{answer}");
    }
    assert!(pipe.end().0.success());
}

async fn send_by_both_paths(
    server: &ServerProcess,
    body: &str,
    name: &str,
) -> [(StatusCode, Value); 2] {
    let ask = |accept: &str| {
        client()
            .post(&server.url)
            .header("content-type", "application/json")
            .header("accept", accept.to_owned())
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", name.to_owned())
            .body(body.to_owned())
    };
    // A request that accepts every form takes the path through rmcp.
    [
        send_request(ask("application/json, text/event-stream")).await,
        send_request(ask("application/json")).await,
    ]
}

#[tokio::test]
async fn oversized_messages_get_short_errors_over_http() {
    let server = serve_sandbox(&["--max-request-bytes", "16777216"]);
    for OversizedMessage { what, body, says } in oversized_messages() {
        for (status, answer) in send_by_both_paths(&server, &body, "list-labels").await {
            let message = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(
                status == StatusCode::BAD_REQUEST && message.contains(says),
                "{what}: {answer}"
            );
            assert!(answer.to_string().len() <= MAX_ERROR_BYTES, "{what}");
        }
        let (status, answer) = send_request(post_request(&server, &body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{what}: {answer}");
    }
    // The server still works.
    let (status, answer) = send_request(stateless_request(
        &server,
        "tools/call",
        json!({ "name": "list-labels" }),
    ))
    .await;
    assert_eq!(
        (status, &answer["result"]["isError"]),
        (StatusCode::OK, &json!(false)),
        "{answer}"
    );
}

/// Such a request is parsed on a separate thread.
#[tokio::test]
async fn large_call_succeeds_with_and_without_a_session() {
    let server = serve_sandbox(&["--auth", "key"]);
    let targets = vec![json!({ "provider": "@openai", "weight": 1 }); 10_000];
    let args = json!({ "name": "large", "config": { "targets": targets } });
    assert!(args.to_string().len() > 256 << 10);
    let mut caller = McpClient::new(&server.url, "pk-a");
    let alone = caller.modern("create-config", &args).await.unwrap();
    let begun = caller.initialize().await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.message);
    let params = json!({ "name": "create-config", "arguments": args });
    let in_session = caller.call("tools/call", params).await;
    for answer in [alone, in_session] {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            answer.message["result"]["isError"],
            json!(false),
            "{}",
            answer.message
        );
    }
}

#[tokio::test]
async fn invalid_arguments_get_the_same_error_on_every_path() {
    let small = ["--max-result-bytes", "1024"];
    let server = serve_sandbox(&[]);
    let bounded = serve_sandbox(&small);
    let mut pipe = start_initialized(&["--sandbox"]);
    for InvalidCall {
        what, tool, args, ..
    } in invalid_calls()
    {
        let body = tool_call_message(tool, &Value::Object(args).to_string());
        // Larger messages are not read at all.
        if body.len() > 4 << 20 {
            continue;
        }
        pipe.send(&body);
        let piped = pipe.receive();
        assert!(piped.to_string().len() <= MAX_ERROR_BYTES, "{what}");
        if piped["result"].is_null() {
            assert!(piped["error"]["message"].is_string(), "{what}: {piped}");
            continue;
        }
        let text = &piped["result"]["content"][0]["text"];
        assert_eq!(piped["result"]["isError"], true, "{what}: {piped}");
        for (status, answer) in send_by_both_paths(&server, &body, tool).await {
            assert_eq!(status, StatusCode::OK, "{what}: {answer}");
            assert_eq!(&answer["result"]["content"][0]["text"], text, "{what}");
        }
        for (_, answer) in send_by_both_paths(&bounded, &body, tool).await {
            let message = answer["result"]["content"][0]["text"].to_string();
            assert!(
                message.len() <= 1_024 + 2,
                "{what}: {} bytes",
                message.len()
            );
        }
    }
    assert!(pipe.end().0.success());
}

/// Tools that call others append the schema of the operation if there is space.
#[test]
fn errors_of_compact_tools_are_bounded() {
    let args = json!({ "operation": "create-integration", "arguments": many_fields(9_000, |i| format!("zz{i}")) });
    for (bound, says) in [("0", "create-integration` takes, as JSON"), ("1024", "")] {
        let mut pipe = start_initialized(&[
            "--sandbox",
            "--surface",
            "compact",
            "--max-result-bytes",
            bound,
        ]);
        pipe.send(&tool_call_message("create-operation", &args.to_string()));
        let answer = pipe.receive();
        let content = answer["result"]["content"].to_string();
        let max = if bound == "0" { MAX_ERROR_BYTES } else { 1_200 };
        assert!(
            content.len() <= max + 200 && content.contains(says),
            "{bound}: {content}"
        );
        assert!(pipe.end().0.success());
    }
}

#[test]
fn shell_calls_have_the_same_bounds() {
    let args = Value::Object(many_fields(9_000, |i| format!("z{i}"))).to_string();
    let (is_ok, _, message) = run_cli(&["call", "list-labels", &args, "--sandbox"]);
    assert!(
        !is_ok && message.contains("9000 arguments are not known"),
        "{message}"
    );
    assert!(message.len() <= MAX_ERROR_BYTES, "{} bytes", message.len());
    // The arguments stay small, because operating systems limit a command line.
    let args = json!({ "a": vec![1; 41_000] }).to_string();
    let (is_ok, _, message) = run_cli(&["call", "list-labels", &args, "--sandbox"]);
    assert!(
        !is_ok && message.contains("hold more than 40000 names and items"),
        "{message}"
    );
}

/// An upstream error of any content is read and reported within limits.
#[tokio::test]
async fn upstream_errors_are_bounded() {
    let long = "some words ".repeat(100_000);
    let deep = |inner: Value| json!({ "errors": { "x".repeat(1 << 20): inner } });
    let details: Vec<_> = (0..5_000)
        .map(|i| json!({ "path": i, "message": &long[..500] }))
        .collect();
    let bodies = [
        json!({ "message": long }),
        json!({ "message": "the the the ".repeat(100_000) }),
        json!({ "error": { "message": long, "code": long, "details": details } }),
        deep(json!(
            (0..3_000).map(|i| format!("wrong {i}")).collect::<Vec<_>>()
        )),
        json!({ "request_id": long, "message": "no" }),
        json!(long),
    ];
    for body in bodies {
        let text = body.to_string();
        let upstream = MockUpstream::start(move |_| {
            upstream_answer(
                "400 Bad Request",
                "content-type: application/json\r\n",
                &text,
            )
        })
        .await;
        let args = json!({ "slug": "x", "unknown": 1 })
            .as_object()
            .unwrap()
            .clone();
        let outcome = dispatcher(&upstream)
            .call_as_local(&operator(), "get-integration", args)
            .await;
        let message = error_message(&outcome.unwrap_err());
        assert!(
            message.len() <= 8_000,
            "{} bytes: {}",
            message.len(),
            &message[..200]
        );
    }
}

/// A message of the operator is truncated like any other.
#[tokio::test]
async fn denials_are_bounded() {
    let text = format!(
        "version: \"1\"\nrules: [{{ name: r, action: deny, on_deny: \"{}\" }}]\n",
        "no ".repeat(20_000)
    );
    let policy = Policy::parse("policy.yaml", &text, &Catalog::full()).unwrap();
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = dispatcher(&upstream).with_policy(WatchedValue::fixed(policy));
    let outcome = dispatcher
        .call_as_local(&operator(), "list-labels", JsonMap::new())
        .await;
    let message = error_message(&outcome.unwrap_err());
    assert!(
        message.len() <= MAX_ERROR_BYTES && message.contains("(the rest is left out)"),
        "{}",
        message.len()
    );
}

/// An approval request has a limit of its own.
#[tokio::test]
async fn approval_requests_are_bounded() {
    let long = |i: usize| format!("{i}{}", "x".repeat(5_000));
    let stored = json!({ "name": "N", "config": { "a": 1 } }).to_string();
    let upstream = MockUpstream::start(move |_| json_response(&stored)).await;
    let dispatcher = dispatcher_with_approvals(
        &upstream,
        ApprovalDefaults {
            writes: true,
            ..ApprovalDefaults::default()
        },
    );
    let documents = [
        json!(many_fields(900, long)),
        json!({ long(1): many_fields(9_000, |i| format!("zz{i}")) }),
        json!({ "targets": vec![json!({ "api_key": "secret-of-a-target" }); 900] }),
    ];
    for config in documents {
        let args = json!({ "slug": "s", "config": config })
            .as_object()
            .unwrap()
            .clone();
        let outcome = dispatcher
            .call_as_local(&operator(), "update-config", args)
            .await;
        let Err(CallError::ApprovalRequired(question)) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(
            question.text.len() <= 64 << 10,
            "{} bytes",
            question.text.len()
        );
        assert!(
            !question.text.contains("secret-of-a-target"),
            "{}",
            question.text
        );
    }
}

#[test]
fn audit_entries_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let mut config = many_fields(900, |i| format!("{i}{}", "x".repeat(100)));
    config.insert("provider".to_owned(), json!("@openai-production"));
    let args = json!({ "name": "c", "config": config }).to_string();
    let log = log.to_str().unwrap();
    let (is_ok, _, message) = run_cli(&[
        "call",
        "create-config",
        &args,
        "--sandbox",
        "--audit-log",
        log,
    ]);
    assert!(is_ok, "{message}");
    let entries = read_entries(log);
    let last = entries.last().unwrap();
    assert_eq!(last["unknown_fields"].as_array().unwrap().len(), 100);
    assert!(
        last["arguments_omitted_bytes"].is_number() && last["arguments"].is_null(),
        "{last}"
    );
    assert!(
        last.to_string().len() <= 32 << 10,
        "{} bytes",
        last.to_string().len()
    );
}

/// Each field is searched in all items of a list.
#[test]
fn number_of_requested_fields_is_limited() {
    let names = vec!["id"; 101].join(",");
    let (is_ok, _, message) = run_cli(&[
        "call",
        "list-all-integrations",
        &format!("fields={names}"),
        "--sandbox",
    ]);
    assert!(
        !is_ok && message.contains("takes a list of up to 100 names of fields"),
        "{message}"
    );
    let names = vec!["id"; 100].join(",");
    let (is_ok, _, message) = run_cli(&[
        "call",
        "list-all-integrations",
        &format!("fields={names}"),
        "--sandbox",
    ]);
    assert!(is_ok, "{message}");
}
