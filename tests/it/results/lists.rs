//! Lists: `total`, `returned` and `next` in each, and the options `fields` and `all`, for real
//! clients.

use portkey_api::catalog::Catalog;
use portkey_mcp::mcp::results::{Listing, PageCollector};
use portkey_operation::JsonMap;
use serde_json::{Value, json};

use crate::support::{
    catalogs::default_catalog,
    form_client::{FormClient, TRANSPORTS_AND_GENERATIONS, connect},
};

fn find_listing(tool: &str) -> Option<Listing> {
    Listing::for_operation(Catalog::full().find(tool).unwrap().compiled())
}

fn to_map(value: Value) -> JsonMap {
    value.as_object().unwrap().clone()
}

/// Returns a list as it is rendered, and the arguments as they are sent.
fn render_list(tool: &str, args: Value, answer: Value) -> (Value, Value) {
    let listing = find_listing(tool).unwrap();
    let mut args = to_map(args);
    let wishes = listing.take_options(&mut args).unwrap();
    let gathered = PageCollector::new(&listing, &wishes, &args, answer);
    (gathered.finish(), args.into())
}

#[test]
fn listings_are_recognized_by_name_or_paging() {
    for (tool, lists) in [
        ("list-all-integrations", true),
        ("list-config-versions", true),
        ("get-users-grouped-data", true),
        ("get-integration", false),
        ("create-log-export", false),
        ("insert-logs", false),
    ] {
        assert_eq!(find_listing(tool).is_some(), lists, "{tool}");
    }
    for entry in Catalog::full().iter() {
        let name = entry.operation.name();
        assert!(
            !name.starts_with("list-") || find_listing(name).is_some(),
            "{name}"
        );
    }
}

/// Page numbers start at zero or one, in either spelling; some lists use a cursor.
#[test]
fn every_page_has_arguments_for_the_next_page() {
    struct Case {
        tool: &'static str,
        args: Value,
        answer: Value,
        next: Value,
    }

    let two = || json!([{ "id": 1 }, { "id": 2 }]);
    let cases = [
        // The first page determines the page size.
        Case {
            tool: "list-all-integrations",
            args: json!({}),
            answer: json!({ "total": 5, "data": two() }),
            next: json!({ "current_page": 1, "page_size": 2 }),
        },
        Case {
            tool: "list-all-integrations",
            args: json!({}),
            answer: json!({ "total": 2, "data": two() }),
            next: Value::Null,
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "current_page": 1, "page_size": 2, "workspace_id": "w" }),
            answer: json!({ "total": 5, "data": two() }),
            next: json!({ "current_page": 2, "page_size": 2, "workspace_id": "w" }),
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "current_page": "1", "page_size": "3" }),
            answer: json!({ "total": 5, "data": two() }),
            next: Value::Null,
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "current_page": 9 }),
            answer: json!({ "total": 5, "data": [] }),
            next: Value::Null,
        },
        Case {
            tool: "list-users",
            args: json!({ "pageSize": 2 }),
            answer: json!({ "total": 3, "data": two() }),
            next: json!({ "pageSize": 2, "currentPage": 1 }),
        },
        Case {
            tool: "list-mcp-server-capabilities",
            args: json!({ "mcp_server_id": "m", "page_size": 2 }),
            answer: json!({ "total": 3, "has_more": true, "capabilities": two() }),
            next: json!({ "mcp_server_id": "m", "page_size": 2, "page": 2 }),
        },
        Case {
            tool: "list-mcp-server-capabilities",
            args: json!({ "mcp_server_id": "m", "page": 2, "page_size": 2 }),
            answer: json!({ "total": 4, "has_more": false, "data": two() }),
            next: Value::Null,
        },
        Case {
            tool: "list-scim-groups",
            args: json!({ "page_size": 2 }),
            answer: json!({ "data": two() }),
            next: json!({ "page_size": 2, "page": 1 }),
        },
        Case {
            tool: "list-scim-workspace-mappings",
            args: json!({ "page": 1, "page_size": 2 }),
            answer: json!({ "mappings": two(), "total_count": 4 }),
            next: Value::Null,
        },
        Case {
            tool: "list-registry-mcp-servers",
            args: json!({ "limit": 2 }),
            answer: json!({ "servers": two(), "metadata": { "nextCursor": "c", "count": 2 } }),
            next: json!({ "limit": 2, "cursor": "c" }),
        },
        Case {
            tool: "list-registry-mcp-servers",
            args: json!({ "cursor": "c" }),
            answer: json!({ "servers": two(), "metadata": { "count": 2 } }),
            next: Value::Null,
        },
        Case {
            tool: "list-config-versions",
            args: json!({ "slug": "s" }),
            answer: json!({ "total": 9, "data": two() }),
            next: Value::Null,
        },
        Case {
            tool: "list-prompt-versions",
            args: json!({ "prompt_id": "p" }),
            answer: two(),
            next: Value::Null,
        },
    ];
    for Case {
        tool,
        args,
        answer,
        next,
    } in cases
    {
        let (list, _) = render_list(tool, args.clone(), answer.clone());
        assert_eq!(list["next"], next, "{tool} {args} {answer}");
        assert_eq!(
            list["returned"],
            if args["current_page"] == 9 { 0 } else { 2 },
            "{tool}"
        );
        // Fields of the upstream response stay.
        for (name, value) in answer.as_object().into_iter().flatten() {
            assert_eq!(&list[name], value, "{tool}: {name}");
        }
        let counted = ["total", "total_count"]
            .iter()
            .find_map(|name| answer[name].as_u64());
        let known = counted.or(next.is_null().then_some(2));
        assert_eq!(list["total"], json!(known), "{tool} {answer}");
    }
}

#[test]
fn fields_are_projected_and_absent_ones_named() {
    struct Case {
        fields: Value,
        data: Value,
        absent: Value,
    }

    let answer = || {
        json!({ "total": 2, "data": [
            { "id": 1, "limits": { "cost": 5, "unit": "usd" }, "tags": [{ "k": "a", "v": 1 }] },
            { "id": 2, "limits": null, "tags": [] },
        ] })
    };
    let cases = [
        Case {
            fields: json!(["id"]),
            data: json!([{ "id": 1 }, { "id": 2 }]),
            absent: Value::Null,
        },
        Case {
            fields: json!("id, tags.k"),
            data: json!([{ "id": 1, "tags": [{ "k": "a" }] }, { "id": 2, "tags": [] }]),
            absent: Value::Null,
        },
        Case {
            fields: json!("[\"limits.cost\"]"),
            data: json!([{ "limits": { "cost": 5 } }, {}]),
            absent: Value::Null,
        },
        Case {
            fields: json!(["id", "nme"]),
            data: json!([{ "id": 1 }, { "id": 2 }]),
            absent: json!(["nme"]),
        },
        Case {
            fields: json!([]),
            data: answer()["data"].clone(),
            absent: Value::Null,
        },
        Case {
            fields: Value::Null,
            data: answer()["data"].clone(),
            absent: Value::Null,
        },
    ];
    for Case {
        fields,
        data,
        absent,
    } in cases
    {
        let args = json!({ "page_size": 5, "fields": fields });
        let (list, sent) = render_list("list-all-integrations", args, answer());
        assert_eq!(
            (&list["data"], &list["absent_fields"]),
            (&data, &absent),
            "{fields}"
        );
        assert_eq!(sent, json!({ "page_size": 5 }));
    }
    let args = json!({ "page_size": 1, "fields": ["id"], "all": false });
    let (list, _) = render_list(
        "list-all-integrations",
        args,
        json!({ "total": 2, "data": [{ "id": 1 }] }),
    );
    assert_eq!(
        list["next"],
        json!({ "page_size": 1, "current_page": 1, "fields": ["id"] })
    );
    let listing = find_listing("list-all-integrations").unwrap();
    for (wrong, named) in [
        (json!({ "fields": 7 }), "fields"),
        (json!({ "all": "yes" }), "all"),
    ] {
        let error = listing
            .take_options(&mut to_map(wrong))
            .unwrap_err()
            .to_string();
        assert!(error.contains(named), "{error}");
    }
}

/// Over both transports and both protocols, against the sandbox.
#[tokio::test]
async fn clients_use_paging_projection_and_all() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let options = &["--max-result-bytes", "2000"];
        let server = connect(way, &FormClient::new(false), options).await;
        let tool = "list-all-integrations";
        for i in 0..3 {
            let args =
                json!({ "name": format!("I{i}"), "ai_provider_id": "openai", "key": "sk-1" });
            assert!(server.call_text("create-integration", args).await.0);
        }
        let list = async |args: Value| server.call(tool, args).await.structured_content.unwrap();
        let mut args = json!({ "page_size": 2, "fields": ["id"] });
        let mut ids = Vec::new();
        while !args.is_null() {
            let page = list(args).await;
            let items = page["data"].as_array().unwrap();
            assert_eq!(page["returned"], items.len(), "{page}");
            ids.extend(items.iter().cloned());
            args = page["next"].clone();
        }
        let all = list(json!({ "page_size": 2, "fields": ["id"], "all": true })).await;
        assert!(ids.len() > 3, "{ids:?}");
        assert_eq!(
            (&all["data"], &all["next"]),
            (&json!(ids), &Value::Null),
            "{way:?}"
        );
        assert_eq!(
            (&all["returned"], &all["total"]),
            (&json!(ids.len()), &json!(ids.len()))
        );
        // Truncated, because it is too large.
        let whole = server.call(tool, json!({ "page_size": 100 })).await;
        let text = whole.content[0].as_text().unwrap().text.clone();
        let shown = whole.structured_content.unwrap();
        assert!(
            text.len() <= 2_000 && shown["truncated"]["handle"].is_string(),
            "{way:?}: {text}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), shown);
        // A tool that returns no list has neither option.
        let (well, full_text) = server
            .call_text("get-integration", json!({ "slug": "x", "all": true }))
            .await;
        assert!(!well && full_text.contains("`all`"), "{full_text}");
        server.client.cancel().await.unwrap();
    }
}

/// All lists that need no arguments, with any envelope.
#[tokio::test]
async fn every_list_has_total_returned_and_next() {
    let options = &["--max-result-bytes", "0"];
    let server = connect((false, true), &FormClient::new(false), options).await;
    let mut asked = 0;
    let mut wrong = Vec::new();
    for entry in default_catalog().iter() {
        let tool = entry.operation.name();
        let needs = entry.compiled().schema().get("required");
        if find_listing(tool).is_none() || needs.is_some_and(|names| names != &json!([])) {
            continue;
        }
        let result = server.call(tool, json!({})).await;
        // Lists of a workspace require its id.
        let result = match result.is_error {
            Some(true) => {
                server
                    .call(tool, json!({ "workspace_id": "ws-shared" }))
                    .await
            }
            _ => result,
        };
        let Some(list) = result.structured_content else {
            continue;
        };
        let items = list
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_array);
        let most = items.map(Vec::len).max().unwrap_or_default();
        let says_total = list["total"]
            .as_u64()
            .is_some_and(|total| total >= most as u64);
        let says_next = list.as_object().unwrap().contains_key("next");
        if list["returned"] != most || !says_total || !says_next {
            wrong.push(format!("{tool}: {list}"));
        }
        asked += 1;
    }
    assert!(wrong.is_empty() && asked > 20, "{asked} asked; {wrong:#?}");
    server.client.cancel().await.unwrap();
}

#[tokio::test]
async fn result_content_follows_the_results_option() {
    for (way, (text, structured)) in [
        ("both", (true, true)),
        ("text", (true, false)),
        ("structured", (false, true)),
    ] {
        let server = connect((false, true), &FormClient::new(false), &["--results", way]).await;
        let result = server.call("list-all-integrations", json!({})).await;
        let carries = (
            !result.content.is_empty(),
            result.structured_content.is_some(),
        );
        assert_eq!(carries, (text, structured), "{way}");
        server.client.cancel().await.unwrap();
    }
}
