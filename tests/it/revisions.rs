//! Fields of results that the protocol has since 2026-07-28: `resultType`, `ttlMs` and `cacheScope`.

use serde_json::{Value, json};

use crate::support::{
    mcp_client::send,
    requests::{open_session, post_request, send_request, stateless_request},
    server::serve_sandbox,
};

/// A request, and whether clients may cache its result.
struct Case {
    method: &'static str,
    params: Value,
    is_cacheable: bool,
}

fn cases() -> Vec<Case> {
    let case = |method, params, is_cacheable| Case {
        method,
        params,
        is_cacheable,
    };
    let config = json!({ "name": "get-config", "arguments": { "slug": "none" } });
    vec![
        case("tools/list", json!({}), true),
        case("prompts/list", json!({}), true),
        case("resources/list", json!({}), true),
        case("resources/templates/list", json!({}), true),
        case(
            "resources/read",
            json!({ "uri": "portkey://guide/paging" }),
            true,
        ),
        case(
            "tools/call",
            json!({ "name": "list-all-configs", "arguments": {} }),
            false,
        ),
        case("tools/call", config, false),
        case(
            "tools/call",
            json!({ "name": "whoami", "arguments": {} }),
            false,
        ),
        case("prompts/get", json!({ "name": "access-review" }), false),
    ]
}

#[tokio::test]
async fn results_since_2026_07_28_have_their_type_and_cacheable_ones_their_hints() {
    let server = serve_sandbox(&[]);
    for Case {
        method,
        mut params,
        is_cacheable,
    } in cases()
    {
        // The header names the resource, too.
        if let Some(uri) = params.get("uri").cloned() {
            params["name"] = uri;
        }
        let (_, message) = send_request(stateless_request(&server, method, params)).await;
        let result = &message["result"];
        assert_eq!(result["resultType"], "complete", "{method}: {message}");
        assert_eq!(result["ttlMs"].is_u64(), is_cacheable, "{method}");
        assert_eq!(result["cacheScope"] == "private", is_cacheable, "{method}");
    }
}

#[tokio::test]
async fn results_of_earlier_revisions_have_none_of_these_fields() {
    let server = serve_sandbox(&[]);
    let session = open_session(&server).await;
    for Case { method, params, .. } in cases() {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = post_request(&server, &body.to_string())
            .header("mcp-session-id", &session)
            .header("mcp-protocol-version", "2025-11-25");
        let message = send(request).await.unwrap().message;
        let result = message["result"]
            .as_object()
            .unwrap_or_else(|| panic!("{method}: {message}"));
        for field in ["resultType", "ttlMs", "cacheScope"] {
            assert!(!result.contains_key(field), "{method}: {field}");
        }
    }
}
