//! `--tool-names underscore`: names for clients that accept no hyphens.

use serde_json::{Value, json};

use crate::support::{
    requests::{call_request, send_request, stateless_request},
    server::serve_sandbox,
};

#[tokio::test]
async fn underscored_names_are_listed_and_named_and_both_spellings_are_called() {
    for surface in ["operations", "compact"] {
        let server = serve_sandbox(&["--tool-names", "underscore", "--surface", surface]);
        let (_, listed) = send_request(stateless_request(&server, "tools/list", json!({}))).await;
        let tools = listed["result"]["tools"].as_array().unwrap();
        let names: Vec<_> = tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        assert!(names.iter().all(|name| !name.contains('-')), "{names:?}");
        assert!(names.is_sorted(), "{names:?}");
        let texts = listed["result"].to_string();
        for hyphened in [
            "search-operations",
            "list-all-integrations",
            "read-result",
            "get-config\"",
        ] {
            assert!(!texts.contains(hyphened), "{surface}: {hyphened}");
        }
    }
}

#[tokio::test]
async fn answers_name_tools_as_they_are_listed() {
    let server = serve_sandbox(&["--tool-names", "underscore", "--surface", "compact"]);
    let answer = async |tool: &str, arguments: Value| -> String {
        let (_, message) = send_request(call_request(&server, tool, arguments)).await;
        message["result"]["content"].to_string()
    };
    let found = answer("search_operations", json!({ "query": "list configs" })).await;
    assert!(
        found.contains("list_all_configs") && found.contains("read_operation"),
        "{found}"
    );
    let described = answer(
        "describe_operation",
        json!({ "operation": "create_integration" }),
    )
    .await;
    assert!(
        described.contains("bulk_update_integration_models"),
        "{described}"
    );
    let unknown = answer("read_operation", json!({ "operation": "get_confg" })).await;
    assert!(
        unknown.contains("get_config") && unknown.contains("search_operations"),
        "{unknown}"
    );
    for spelling in ["list-all-configs", "list_all_configs"] {
        let read = answer(spelling, json!({})).await;
        assert!(read.contains("pc-"), "{spelling}: {read}");
    }
    let guide = json!({ "uri": "portkey://guide/workflows", "name": "portkey://guide/workflows" });
    let (_, guide) = send_request(stateless_request(&server, "resources/read", guide)).await;
    let text = guide["result"]["contents"][0]["text"].as_str().unwrap();
    assert!(!text.contains("`create-provider`"), "{text}");
    let prompt = json!({ "name": "access-review" });
    let (_, prompt) = send_request(stateless_request(&server, "prompts/get", prompt)).await;
    let text = prompt["result"]["messages"][0]["content"]["text"]
        .as_str()
        .unwrap();
    assert!(
        text.contains("list_users") && !text.contains("list-users"),
        "{text}"
    );
}
