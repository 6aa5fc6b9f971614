//! Lists: pages from zero, pages from one, and valid parameters.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

#[tokio::test]
async fn pages_have_no_gaps_or_overlaps() {
    struct Case {
        path: &'static str,
        page_parameter: &'static str,
        first_page: usize,
        page_size: usize,
    }

    let portkey = Portkey::start().await;
    for Case {
        path,
        page_parameter,
        first_page,
        page_size,
    } in [
        Case {
            path: "/integrations?",
            page_parameter: "current_page",
            first_page: 0,
            page_size: 4,
        },
        Case {
            path: "/mcp-integrations?",
            page_parameter: "current_page",
            first_page: 0,
            page_size: 2,
        },
        Case {
            path: "/providers?workspace_id=ws-research&",
            page_parameter: "current_page",
            first_page: 0,
            page_size: 3,
        },
        Case {
            path: "/admin/workspaces?",
            page_parameter: "current_page",
            first_page: 0,
            page_size: 2,
        },
        Case {
            path: "/mcp-integrations/issue-tracker/capabilities?",
            page_parameter: "page",
            first_page: 1,
            page_size: 5,
        },
    ] {
        let whole = portkey.get(path).await;
        let names = string_column(&whole["data"], "name");
        assert_eq!(whole["total"], names.len(), "{path}");
        assert!(
            names.len() > page_size,
            "{path} has too little to page through"
        );

        let mut seen = Vec::new();
        for page in 0.. {
            let path = format!(
                "{path}page_size={page_size}&{page_parameter}={}",
                first_page + page
            );
            let answer = portkey.get(&path).await;
            assert_eq!(answer["total"], names.len(), "{path}");
            let page = string_column(&answer["data"], "name");
            seen.extend(page.iter().map(|name| (*name).to_owned()));
            if let Some(more) = answer.get("has_more") {
                assert_eq!(*more, seen.len() < names.len(), "{path}");
            }
            if page.len() < page_size {
                break;
            }
        }
        assert_eq!(seen, names, "{path}");
        let beyond = format!("{path}{page_parameter}={}", usize::MAX);
        assert_eq!(
            portkey.get(&beyond).await["data"],
            Value::Array(Vec::new()),
            "{beyond}"
        );
    }
}

#[tokio::test]
async fn invalid_page_parameters_are_rejected() {
    let portkey = Portkey::start().await;
    for query in [
        "/integrations?current_page=-1",
        "/integrations?page_size=0",
        "/integrations?page_size=ten",
        "/integrations?type=team",
        "/integrations?tags=team",
        "/mcp-integrations?page_size=1001",
        "/mcp-integrations/issue-tracker/capabilities?page=0",
        "/mcp-integrations/issue-tracker/capabilities?page_size=501",
        "/mcp-integrations/issue-tracker/capabilities?type=agent",
    ] {
        let refusal = portkey.refusal(Method::GET, query, Value::Null).await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{query}");
    }
}

#[tokio::test]
async fn unknown_filter_value_is_rejected() {
    let portkey = Portkey::start().await;
    for query in [
        "/admin/workspaces?status=AAA",
        "/admin/workspaces?status=active,AAA",
        "/admin/workspaces/ws-shared?name_format=AAA",
        "/admin/workspaces/ws-shared/users?role=AAA",
        "/admin/users?role=AAA",
        "/admin/users/invites?role=AAA",
        "/admin/users/invites?status=AAA",
        "/integrations?type=AAA",
        "/mcp-integrations?type=AAA",
        "/mcp-servers/issues/capabilities?type=AAA",
        "/policies/rate-limits?workspace_id=ws-shared&status=AAA",
        "/policies/rate-limits?workspace_id=ws-shared&type=AAA",
        "/policies/rate-limits?workspace_id=ws-shared&unit=AAA",
        "/policies/usage-limits?workspace_id=ws-shared&status=AAA",
        "/policies/usage-limits?workspace_id=ws-shared&type=AAA",
        "/prompts?workspace_id=ws-shared&type=AAA",
        "/scim/workspaces?role=AAA",
        "/secret-references?manager_type=AAA",
    ] {
        let refusal = portkey.refusal(Method::GET, query, Value::Null).await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{query}");
    }
}

#[tokio::test]
async fn filters_select_matching_items() {
    let portkey = Portkey::start().await;
    for (query, slugs) in [
        ("/integrations?type=workspace", vec!["bedrock-research"]),
        (
            "/integrations?tags=%7B%22stage%22%3A%22production%22%7D",
            vec!["openai-production"],
        ),
        (
            "/integrations?workspace_id=ws-shared",
            vec!["openai-production", "anthropic"],
        ),
        (
            "/integrations?workspace_id=ws-shared&tags=%7B%22stage%22:%22production%22%7D",
            vec!["openai-production"],
        ),
        ("/mcp-integrations?search=ISSUE", vec!["issue-tracker"]),
        ("/mcp-integrations?search=nothing", vec![]),
        (
            "/mcp-integrations?type=organisation",
            vec!["issue-tracker", "old-wiki"],
        ),
        (
            "/mcp-integrations?workspace_id=ws-research",
            vec!["documents"],
        ),
        (
            "/providers?workspace_id=ws-research&tags=%7B%22stage%22:%22experiment%22%7D",
            vec!["claude-trials"],
        ),
        (
            "/admin/workspaces?exact_name=Support+Bot",
            vec!["ws-support-bot"],
        ),
        ("/admin/workspaces?name=upport", vec!["ws-support-bot"]),
        ("/admin/workspaces?status=archived", vec![]),
    ] {
        assert_eq!(
            string_column(&portkey.get(query).await["data"], "slug"),
            slugs,
            "{query}"
        );
    }
}

#[tokio::test]
async fn each_list_has_its_own_envelope() {
    let portkey = Portkey::start().await;
    for (path, fields) in [
        ("/integrations", vec!["object", "total", "data"]),
        (
            "/integrations/anthropic/models",
            vec!["total", "models", "allow_all_models"],
        ),
        (
            "/integrations/anthropic/workspaces",
            vec!["total", "workspaces", "global_workspace_access"],
        ),
        (
            "/providers?workspace_id=ws-shared",
            vec!["object", "total", "data"],
        ),
        (
            "/mcp-integrations",
            vec!["object", "total", "has_more", "data"],
        ),
        (
            "/mcp-integrations/issue-tracker/capabilities",
            vec!["data", "counts", "total", "has_more"],
        ),
        (
            "/mcp-integrations/issue-tracker/workspaces",
            vec!["workspaces", "global_workspace_access"],
        ),
        (
            "/mcp-integrations/issue-tracker/workspaces?version=2",
            vec!["total", "data", "global_workspace_access"],
        ),
    ] {
        let answer = portkey.get(path).await;
        let names: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(names, fields, "{path}");
    }
}

#[tokio::test]
async fn each_list_has_its_default_page_size() {
    struct Case {
        path: &'static str,
        list: &'static str,
        body: Value,
        page_size: u64,
    }

    let portkey = Portkey::start().await;
    let integration = json!({ "name": "Same", "ai_provider_id": "openai", "key": "k" });
    let provider =
        json!({ "name": "Same", "integration_id": "anthropic", "workspace_id": "ws-shared" });
    let server = json!({ "name": "Same", "url": "https://example.com/mcp", "auth_type": "none",
        "transport": "http" });
    for Case {
        path,
        list,
        body,
        page_size,
    } in [
        Case {
            path: "/integrations",
            list: "/integrations",
            body: integration,
            page_size: 100,
        },
        Case {
            path: "/mcp-integrations",
            list: "/mcp-integrations",
            body: server,
            page_size: 100,
        },
        Case {
            path: "/providers",
            list: "/providers?workspace_id=ws-shared",
            body: provider,
            page_size: 50,
        },
    ] {
        for _ in 0..page_size {
            portkey.post(path, body.clone()).await;
        }
        let answer = portkey.get(list).await;
        assert!(answer["total"].as_u64().unwrap() > page_size, "{list}");
        assert_eq!(
            answer["data"].as_array().unwrap().len() as u64,
            page_size,
            "{list}"
        );
    }
}
