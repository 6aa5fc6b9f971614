//! Enkrypt AI as a second upstream: key, header arguments, errors, previews, and its switch.

mod activation;

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    auth::principal::Principal,
    mcp::reply,
    pipeline::{CallError, Dispatcher},
    upstream::{Addresses, UpstreamClient, UpstreamSettings},
};
use portkey_operation::JsonMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::upstream::{
    self, ENKRYPT_KEY, KEY, MockUpstream, ReceivedRequest, http_response, json_response, operator,
};

const TOOLS: [&str; 4] = [
    "get-mcp-gateway",
    "get-mcp-gateway-config",
    "get-mcp-registry-server",
    "modify-mcp-gateway",
];

fn json_map(args: Value) -> JsonMap {
    args.as_object().unwrap().clone()
}

/// Returns valid arguments for the tool.
fn valid_arguments(tool: &str) -> Value {
    match tool {
        "get-mcp-registry-server" => json!({ "server": "s" }),
        "modify-mcp-gateway" => json!({ "gateway": "g", "is_active": true }),
        _ => json!({ "gateway": "g" }),
    }
}

async fn call(dispatcher: &Dispatcher, tool: &str, args: Value) -> Result<Value, String> {
    call_as(&operator(), dispatcher, tool, args).await
}

async fn call_as(
    principal: &Principal,
    dispatcher: &Dispatcher,
    tool: &str,
    args: Value,
) -> Result<Value, String> {
    dispatcher
        .call_as_local(principal, tool, json_map(args))
        .await
        .map_err(|error| {
            let text = reply::error_message(&error);
            let all = format!("{text}{error:?}");
            assert!(
                !all.contains(ENKRYPT_KEY) && !all.contains(KEY),
                "a key shows: {text}"
            );
            text
        })
}

/// Returns a dispatcher with Portkey at one server and Enkrypt AI at another.
fn dispatcher_for_both(portkey: &MockUpstream, enkrypt: &MockUpstream) -> Dispatcher {
    let url = |upstream: &MockUpstream| upstream.base_url.parse::<reqwest::Url>().unwrap();
    let addresses = Addresses::new(url(portkey), None, Some(url(portkey)), url(enkrypt)).unwrap();
    let settings = UpstreamSettings {
        addresses,
        ..upstream::settings(&portkey.base_url)
    };
    Dispatcher::new(Catalog::full(), UpstreamClient::new(settings))
}

#[tokio::test]
async fn each_key_is_sent_only_to_its_own_upstream() {
    let (portkey, enkrypt) = (
        MockUpstream::start(|_| json_response("{}")).await,
        MockUpstream::start(|_| json_response("{}")).await,
    );
    let both = dispatcher_for_both(&portkey, &enkrypt);
    for tool in TOOLS {
        call(&both, tool, valid_arguments(tool)).await.unwrap();
    }
    // One operation for each of Portkey's hosts that gets the key.
    for (tool, args) in [
        ("list-all-integrations", json!({})),
        ("get-organisation-defaults", json!({})),
        ("create-feedback", json!({ "trace_id": "t", "value": 1 })),
        ("list-registry-mcp-servers", json!({})),
    ] {
        call(&both, tool, args).await.unwrap();
    }
    let has = |seen: &ReceivedRequest, text: &str| {
        seen.head.to_lowercase().contains(&text.to_lowercase())
    };
    assert_eq!(
        (portkey.requests().len(), enkrypt.requests().len()),
        (4, TOOLS.len())
    );
    for seen in portkey.requests() {
        assert!(
            has(&seen, &format!("x-portkey-api-key: {KEY}\r\n")),
            "{}",
            seen.head
        );
        assert!(
            !has(&seen, ENKRYPT_KEY) && !has(&seen, "apikey"),
            "{}",
            seen.head
        );
    }
    for seen in enkrypt.requests() {
        assert!(
            has(&seen, &format!("apikey: {ENKRYPT_KEY}\r\n")),
            "{}",
            seen.head
        );
        assert!(
            !has(&seen, KEY) && !has(&seen, "x-portkey"),
            "{}",
            seen.head
        );
    }

    // Neither key replaces the other.
    let mut one = operator();
    let mut other = operator();
    one.credentials.enkrypt = None;
    other.credentials.portkey = None;
    let asked_portkey = portkey.requests().len();
    let asked_enkrypt = enkrypt.requests().len();
    for tool in TOOLS {
        let text = call_as(&one, &both, tool, valid_arguments(tool))
            .await
            .unwrap_err();
        assert!(
            text.contains("no Enkrypt AI API key") && text.contains("ENKRYPT_API_KEY"),
            "{text}"
        );
    }
    let text = call_as(&other, &both, "list-all-integrations", json!({}))
        .await
        .unwrap_err();
    assert!(
        text.contains("no Portkey API key") && text.contains("PORTKEY_API_KEY"),
        "{text}"
    );
    assert_eq!(
        (portkey.requests().len(), enkrypt.requests().len()),
        (asked_portkey, asked_enkrypt)
    );
    call_as(&one, &both, "list-all-integrations", json!({}))
        .await
        .unwrap();
    call_as(
        &other,
        &both,
        "get-mcp-gateway",
        valid_arguments("get-mcp-gateway"),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn arguments_are_sent_as_enkrypt_headers() {
    struct Case {
        tool: &'static str,
        args: Value,
        line: &'static str,
        headers: &'static [&'static str],
    }

    let enkrypt = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = upstream::dispatcher(&enkrypt);
    let all = json!({ "gateway": "Support tools 2", "gateway_version": "v2", "project": "p" });
    let mut change = all.clone();
    change["is_active"] = json!(false);
    let named: &'static [&'static str] = &[
        "x-enkrypt-mcp-gateway: Support tools 2",
        "x-enkrypt-mcp-gateway-version: v2",
        "x-enkrypt-project: p",
    ];
    for Case {
        tool,
        args,
        line,
        headers,
    } in [
        Case {
            tool: "get-mcp-gateway",
            args: json!({ "gateway": "g" }),
            line: "GET /mcp-gateway/get-gateway",
            headers: &["x-enkrypt-mcp-gateway: g"] as &[_],
        },
        Case {
            tool: "get_gateway",
            args: json!({ "gateway": "g", "project": null }),
            line: "GET /mcp-gateway/get-gateway",
            headers: &["x-enkrypt-mcp-gateway: g"],
        },
        Case {
            tool: "get-mcp-gateway-config",
            args: all,
            line: "GET /mcp-gateway/get-gateway-config",
            headers: named,
        },
        Case {
            tool: "modify-mcp-gateway",
            args: change,
            line: "PATCH /mcp-gateway/modify-gateway",
            headers: named,
        },
        Case {
            tool: "get-mcp-registry-server",
            args: json!({ "server": "s", "server_version": "v3", "registry": "r" }),
            line: "GET /mcp-registry/get-server",
            headers: &[
                "x-enkrypt-mcp-registry-server: s",
                "x-enkrypt-mcp-registry-server-version: v3",
                "x-enkrypt-mcp-registry: r",
            ],
        },
    ] {
        call(&dispatcher, tool, args).await.unwrap();
        let seen = enkrypt.requests().pop().unwrap();
        assert_eq!(format!("{} {}", seen.method, seen.target), line);
        let mut sent: Vec<_> = seen
            .head
            .lines()
            .filter(|l| l.starts_with("x-enkrypt"))
            .collect();
        let mut expected = headers.to_vec();
        sent.sort_unstable();
        expected.sort_unstable();
        assert_eq!(sent, expected, "{tool}");
    }
}

#[tokio::test]
async fn invalid_header_values_are_rejected() {
    let enkrypt = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = upstream::dispatcher(&enkrypt);
    let catalog = Catalog::full();
    let long = "g".repeat(33);
    for tool in TOOLS {
        let operation = catalog.find(tool).unwrap().operation;
        for (argument, _) in operation.header_arguments() {
            let mut values = vec![
                "",
                " ",
                " a",
                "a ",
                "a\r\napikey: b",
                "a\nb",
                "a\0",
                "a\tb",
                "\u{7f}",
                "ü",
                "名",
            ];
            values.extend((*argument == "gateway").then_some(long.as_str()));
            // An empty filter is omitted.
            values.retain(|value| !value.trim().is_empty() || tool == "modify-mcp-gateway");
            for value in values {
                let mut args = valid_arguments(tool);
                args[argument] = json!(value);
                let outcome = dispatcher
                    .call_as_local(&operator(), tool, json_map(args))
                    .await;
                let Err(CallError::InvalidArguments(error)) = outcome else {
                    panic!("{tool} with `{argument}` = {value:?}: {outcome:?}");
                };
                assert!(
                    error.to_string().contains(&format!("`{argument}`")),
                    "{tool}: {error}"
                );
            }
        }
    }
    assert_eq!(enkrypt.requests().len(), 0, "something was sent");
}

#[tokio::test]
async fn gateway_change_is_sent_unmodified() {
    let enkrypt = MockUpstream::start(|_| json_response("{}")).await;
    let dispatcher = upstream::dispatcher(&enkrypt);
    let config = json!({
        "common_overrides": null,
        "servers": [
            { "saved_name": "a", "_delete": true },
            { "saved_name": "b", "server_version": "v2", "output_guardrails_config": null,
                "input_guardrails_config": { "enabled": true, "guardrail_name": null, "block": [],
                    "additional_config": { "k": null, "n": { "x": [null] } } } },
        ],
    });
    let bodies = [
        json!({ "servers_config": config }),
        json!({ "servers_config": { "servers": null } }),
        json!({ "servers_config": null }),
        json!({ "servers_config": {}, "is_active": false, "is_sample": true }),
    ];
    for body in bodies {
        for preview in [None, Some(json!(false)), Some(json!(null))] {
            let mut args = json_map(body.clone());
            args.insert("gateway".into(), json!("g"));
            args.extend(preview.map(|preview| ("preview".to_owned(), preview)));
            dispatcher
                .call_as_local(&operator(), "modify-mcp-gateway", args)
                .await
                .unwrap();
            let seen = enkrypt.requests().pop().unwrap();
            assert_eq!(seen.method, "PATCH");
            assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), body);
        }
    }
    let nothing = json!({ "gateway": "g" });
    let text = call(&dispatcher, "modify-mcp-gateway", nothing)
        .await
        .unwrap_err();
    assert!(text.contains("nothing to change is given"), "{text}");
}

#[tokio::test]
async fn preview_sends_only_a_read() {
    let stored = r#"{"gateway_saved_name":"g","is_active":true,"servers_config":{"servers":[{"saved_name":"a"},{"saved_name":"b"}]}}"#;
    let enkrypt = MockUpstream::start(move |_| json_response(stored)).await;
    let dispatcher = upstream::dispatcher(&enkrypt);
    for (i, wish) in [json!(true), json!("true")].into_iter().enumerate() {
        let args = json!({ "gateway": "g", "gateway_version": "v2", "is_active": false, "preview": wish,
            "servers_config": { "servers": [{ "saved_name": "a", "_delete": true }] } });
        let shown = call(&dispatcher, "modify-mcp-gateway", args).await.unwrap();
        let stored: Value = serde_json::from_str(stored).unwrap();
        let mut merged = stored.clone();
        merged["is_active"] = json!(false);
        merged["servers_config"]["servers"] = json!([{ "saved_name": "b" }]);
        assert_eq!(
            shown,
            json!({ "preview": true, "stored": stored, "merged": merged })
        );
        let seen = enkrypt.requests();
        assert_eq!(seen.len(), i + 1);
        assert_eq!(
            (seen[i].method.as_str(), seen[i].target.as_str()),
            ("GET", "/mcp-gateway/get-gateway")
        );
        assert!(
            seen[i].head.contains("x-enkrypt-mcp-gateway-version: v2") && seen[i].body.is_empty()
        );
    }

    // A failed read ends the preview.
    let missing = r#"{"code":404,"error":"Resource not found","message":"MCP gateway not found"}"#;
    let enkrypt = MockUpstream::start(move |_| http_response("404 Not Found", "", missing)).await;
    let args = json!({ "gateway": "g", "is_active": false, "preview": true });
    let text = call(&upstream::dispatcher(&enkrypt), "modify-mcp-gateway", args)
        .await
        .unwrap_err();
    assert!(text.contains("404: MCP gateway not found"), "{text}");
    assert_eq!(enkrypt.requests().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// With any other arguments, the only request of a preview is a GET without a body.
    #[test]
    fn preview_never_becomes_a_write(
        active in any::<Option<bool>>(),
        sample in any::<Option<bool>>(),
        deleted in prop::collection::vec(any::<Option<bool>>(), 0..4),
        emptied in any::<bool>(),
        version in prop::option::of("[a-z0-9 -~]{1,8}"),
    ) {
        let servers: Vec<_> = deleted.iter().map(|d| json!({ "saved_name": "a", "_delete": d })).collect();
        let servers = if emptied { Value::Null } else { json!(servers) };
        let args = json!({ "gateway": "g", "gateway_version": version, "is_active": active,
            "is_sample": sample, "servers_config": { "servers": servers }, "preview": true });
        let catalog = Catalog::full();
        if let Ok(request) = catalog.find("modify-gateway").unwrap().compiled().validate_and_build_request(json_map(args)) {
            prop_assert_eq!(request.method.as_str(), "GET");
            prop_assert_eq!(request.target.as_str(), "/mcp-gateway/get-gateway");
            prop_assert!(request.body.is_none() && request.preview.is_some());
        }
    }
}

#[test]
fn additional_config_is_masked() {
    let catalog = Catalog::full();
    let policy = |more: Value| {
        json!({ "servers_config": { "common_overrides": {
            "input_guardrails_config": { "guardrail_name": "A", "additional_config": more } } } })
    };
    let published = catalog.find("modify-mcp-gateway").unwrap().compiled();
    let blanked = published.redact(json_map(policy(json!({ "token": "t" }))));
    assert_eq!(Value::Object(blanked), policy(json!("***")));
    let cleared = published.redact(json_map(policy(json!(null))));
    assert_eq!(Value::Object(cleared), policy(json!(null)));
}

/// The statuses of docs/portkey-api-notes.md#enkrypt-ai-errors, and statuses of proxies in between.
#[tokio::test]
async fn enkrypt_errors_are_reported_with_cause_and_advice() {
    struct Case {
        status: &'static str,
        body: String,
        expected: &'static [&'static str],
    }

    let body = |code: u16| format!(r#"{{"code":{code},"error":"E","message":"Its own words"}}"#);
    for Case {
        status,
        body,
        expected,
    } in [
        Case {
            status: "400 Bad Request",
            body: body(400),
            expected: &["400: Its own words\nChange what it names"] as &[_],
        },
        Case {
            status: "401 Unauthorized",
            body: body(401),
            expected: &["401: Its own words", "ENKRYPT_API_KEY"],
        },
        Case {
            status: "401 Unauthorized",
            body: String::new(),
            expected: &["wrong or revoked", "another key than Portkey's"],
        },
        Case {
            status: "403 Forbidden",
            body: body(403),
            expected: &["403: Its own words"],
        },
        Case {
            status: "403 Forbidden",
            body: String::new(),
            expected: &["project or organisation", "`project`"],
        },
        Case {
            status: "404 Not Found",
            body: body(404),
            expected: &["404: Its own words", "saved name", "not `v1`", "project"],
        },
        Case {
            status: "418 I'm a teapot",
            body: body(418),
            expected: &["418: Its own words", "Enkrypt AI's message"],
        },
        Case {
            status: "500 Internal Server Error",
            body: "<html>".to_owned(),
            expected: &["500", "Enkrypt AI's or lies in between"],
        },
        Case {
            status: "413 Payload Too Large",
            body: String::new(),
            expected: &["413", "too large for Enkrypt AI"],
        },
        Case {
            status: "301 Moved Permanently",
            body: String::new(),
            expected: &["301", "--enkrypt-base-url"],
        },
        Case {
            status: "404 Not Found",
            body: "<html>".to_owned(),
            expected: &["not how Enkrypt AI answers", "ENKRYPT_BASE_URL"],
        },
    ] {
        let enkrypt = MockUpstream::start(move |_| http_response(status, "", &body)).await;
        let dispatcher = upstream::dispatcher(&enkrypt);
        let text = call(&dispatcher, "get-mcp-gateway", json!({ "gateway": "g" }))
            .await
            .unwrap_err();
        assert!(
            text.starts_with("Enkrypt AI answered `get-mcp-gateway` with "),
            "{text}"
        );
        for part in expected {
            assert!(text.contains(part), "{status}: missing {part:?} in {text}");
        }
        for other in ["PORTKEY", "--base-url", "five things"] {
            assert!(!text.contains(other), "{status}: {text}");
        }
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", closed.local_addr().unwrap());
    drop(closed);
    let client = UpstreamClient::new(upstream::settings(&address));
    let nobody = Dispatcher::new(Catalog::full(), client);
    let text = call(&nobody, "get-mcp-gateway", json!({ "gateway": "g" }))
        .await
        .unwrap_err();
    assert!(
        text.starts_with("Enkrypt AI could not be reached") && text.contains("ENKRYPT_BASE_URL"),
        "{text}"
    );
}
