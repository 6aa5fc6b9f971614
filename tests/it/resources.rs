//! Resources: guides, operations and items, with real clients and their access.

use std::collections::BTreeSet;

use portkey_api::catalog::Catalog;
use portkey_mcp::mcp::{
    guide::GUIDES,
    resources::{ResourceAddress, ResourceKind, example_arguments},
};
use rmcp::{
    ServiceError,
    model::{ErrorCode, ReadResourceRequestParams, ReadResourceResult},
};
use serde_json::{Value, json};

use crate::support::{
    official_client::{ConnectedClient, connect_everywhere},
    stdio::start_initialized,
};

async fn read_resource(
    connected: &ConnectedClient,
    uri: &str,
) -> Result<ReadResourceResult, ServiceError> {
    connected
        .client
        .read_resource(ReadResourceRequestParams::new(uri))
        .await
}

/// Returns the only content of a resource, with its type and metadata.
async fn read_content(connected: &ConnectedClient, uri: &str) -> Value {
    let result = read_resource(connected, uri).await.unwrap();
    assert_eq!(result.contents.len(), 1, "{uri}");
    serde_json::to_value(&result.contents[0]).unwrap()
}

fn parse_json_content(content: &Value) -> Value {
    assert_eq!(content["mimeType"], "application/json", "{content}");
    serde_json::from_str(content["text"].as_str().unwrap()).unwrap()
}

#[test]
fn resource_uri_is_parsed() {
    let thing = |domain: &str, id: &str| ResourceAddress::Entity {
        domain: domain.into(),
        id: id.into(),
    };
    let cases = [
        (
            "portkey://guide/errors",
            Some(ResourceAddress::Guide("errors".into())),
        ),
        (
            "portkey://operations/get-config",
            Some(ResourceAddress::Operation("get-config".into())),
        ),
        ("portkey://configs/pc-1", Some(thing("configs", "pc-1"))),
        ("portkey://users/a%20b%2Fc", Some(thing("users", "a b/c"))),
        ("portkey://users/%ff", None),
        ("portkey://users/", None),
        ("portkey://users", None),
        ("portkey:///x", None),
        ("https://guide/errors", None),
        ("", None),
    ];
    for (uri, expected) in cases {
        assert_eq!(ResourceAddress::parse(uri), expected, "{uri}");
    }
}

#[test]
fn every_resource_kind_has_its_own_template() {
    let catalog = Catalog::full();
    let kinds = ResourceKind::by_domain(&catalog);
    let templates: BTreeSet<_> = kinds.values().map(ResourceKind::uri_template).collect();
    assert_eq!(templates.len(), kinds.len());
    for domain in [
        "configs",
        "integrations",
        "mcp-servers",
        "prompts",
        "users",
        "workspaces",
    ] {
        let kind = &kinds[domain];
        assert!(
            kind.uri_template()
                .starts_with(&format!("portkey://{domain}/{{"))
        );
        let list = kind.list_operation(&catalog).unwrap().operation;
        assert!(list.name().starts_with("list-"), "{domain}: {list:?}");
    }
    for kind in kinds.values() {
        assert!(
            kind.read.operation.hints().read_only,
            "{:?}",
            kind.read.operation
        );
    }
}

/// Tools without an example, because their required arguments depend on another argument.
const WITHOUT_EXAMPLE: &[&str] = &[
    "create-api-key",
    "create-guardrail",
    "create-secret-reference",
];

#[test]
fn every_generated_example_is_valid() {
    let mut without = Vec::new();
    for entry in Catalog::full().iter() {
        match example_arguments(entry) {
            Some(args) => {
                let outcome = entry.compiled().validate_and_build_request(args);
                assert!(outcome.is_ok(), "{:?}: {outcome:?}", entry.operation);
            }
            None => without.push(entry.operation.name()),
        }
    }
    assert_eq!(
        without, WITHOUT_EXAMPLE,
        "a rule refuses the example of a tool; if none can be generated, add the tool to WITHOUT_EXAMPLE in \
         tests/it/resources.rs"
    );
}

#[tokio::test]
async fn guides_and_operations_can_be_read() {
    for connected in connect_everywhere(&["--sandbox"], &[]).await {
        let way = connected.way;
        let listed = connected.client.list_all_resources().await.unwrap();
        assert_eq!(listed.len(), GUIDES.len(), "{way}");
        for (resource, guide) in listed.iter().zip(GUIDES) {
            let read = read_content(&connected, &resource.uri).await;
            assert_eq!(read["text"], guide.text, "{way}");
            assert_eq!(read["mimeType"], json!(resource.mime_type), "{way}");
            assert_eq!(resource.size, Some(guide.text.len() as u64), "{way}");
        }
        let operation =
            parse_json_content(&read_content(&connected, "portkey://operations/get-config").await);
        assert_eq!(operation["effect"], "read", "{way}");
        assert_eq!(operation["scopes"], json!(["configs.read"]), "{way}");
        let tools = connected.tools().await;
        let tool = tools.iter().find(|tool| tool.name == "get-config").unwrap();
        assert_eq!(operation["schema"], json!(tool.input_schema), "{way}");
        assert_eq!(
            json!(operation["description"]),
            json!(tool.description),
            "{way}"
        );
        assert!(operation["example"]["slug"].is_string(), "{way}");
        let templates = connected
            .client
            .list_all_resource_templates()
            .await
            .unwrap();
        for expected in [
            "portkey://guide/{topic}",
            "portkey://operations/{name}",
            "portkey://results/{handle}",
            "portkey://configs/{slug}",
        ] {
            assert!(
                templates.iter().any(|one| one.uri_template == expected),
                "{way}: {expected}"
            );
        }
    }
}

/// The owner of a handle can read the stored result as a resource as well.
#[tokio::test]
async fn truncated_result_can_be_read_as_a_resource() {
    for connected in connect_everywhere(&["--sandbox", "--max-result-bytes", "1500"], &[]).await {
        let way = connected.way;
        let cut = connected
            .call("list-all-integrations", json!({}))
            .await
            .unwrap();
        let handle = cut["truncated"]["handle"].as_str().unwrap();
        let uri = format!("portkey://results/{handle}");
        let read = parse_json_content(&read_content(&connected, &uri).await);
        let part = connected
            .call("read-result", json!({ "handle": handle }))
            .await
            .unwrap();
        assert!(read == part && read["data"].is_object(), "{way}: {read}");
        let nothing = "portkey://results/00000000000000000000000000000000";
        let error = connected
            .client
            .read_resource(ReadResourceRequestParams::new(nothing))
            .await;
        assert!(
            error.unwrap_err().to_string().contains("no such handle"),
            "{way}"
        );
    }
}

/// A resource is truncated like the result of its tool, and the rest is readable.
#[tokio::test]
async fn large_resource_is_truncated_with_a_handle() {
    for connected in connect_everywhere(&["--sandbox", "--max-result-bytes", "1500"], &[]).await {
        let way = connected.way;
        let about = "x".repeat(5_000);
        let large = json!({
            "name": "Large", "slug": "large", "ai_provider_id": "openai", "key": "sk-1", "description": about,
        });
        connected.call("create-integration", large).await.unwrap();
        let read = read_content(&connected, "portkey://integrations/large").await;
        assert!(
            read["text"].as_str().unwrap().len() <= 1_500,
            "{way}: {read}"
        );
        let thing = parse_json_content(&read);
        let called = connected
            .call("get-integration", json!({ "slug": "large" }))
            .await
            .unwrap();
        let without_notice = |mut value: Value| {
            let notice = value
                .as_object_mut()
                .unwrap()
                .shift_remove("truncated")
                .unwrap();
            (value, notice)
        };
        let ((thing, notice), (called, _)) = (without_notice(thing), without_notice(called));
        assert_eq!(thing, called, "{way}");
        let handle = notice["handle"].as_str().unwrap();
        assert_eq!(
            notice["resource"],
            format!("portkey://results/{handle}"),
            "{way}"
        );
        let rest = json!({ "handle": handle, "pointer": "/description", "offset": 4_990 });
        let rest = connected.call("read-result", rest).await.unwrap();
        assert_eq!(
            (&rest["total"], &rest["data"]),
            (&json!(5_000), &json!("x".repeat(10))),
            "{way}"
        );
        let kept = parse_json_content(
            &read_content(&connected, notice["resource"].as_str().unwrap()).await,
        );
        assert_eq!(kept["data"]["slug"], "large", "{way}: {kept}");
    }
}

#[tokio::test]
async fn resource_equals_the_result_of_its_tool() {
    struct Case {
        domain: &'static str,
        tool: &'static str,
        argument: &'static str,
        list: &'static str,
        list_args: Value,
    }

    for connected in connect_everywhere(&["--sandbox"], &[]).await {
        let way = connected.way;
        let within = json!({ "workspace_id": "ws-support-bot" });
        for Case {
            domain,
            tool,
            argument,
            list,
            list_args,
        } in [
            Case {
                domain: "integrations",
                tool: "get-integration",
                argument: "slug",
                list: "list-all-integrations",
                list_args: json!({}),
            },
            Case {
                domain: "workspaces",
                tool: "get-workspace",
                argument: "workspace_id",
                list: "list-all-workspaces",
                list_args: json!({}),
            },
            Case {
                domain: "prompts",
                tool: "get-prompt",
                argument: "prompt_id",
                list: "list-prompts",
                list_args: within,
            },
        ] {
            let all = connected.call(list, list_args).await.unwrap();
            let id = all["data"][0]["slug"].as_str().unwrap();
            let read = read_content(&connected, &format!("portkey://{domain}/{id}")).await;
            let called = connected.result(tool, json!({ argument: id })).await;
            assert_eq!(
                Some(parse_json_content(&read)),
                called.structured_content,
                "{way}: {domain}"
            );
            // Untrusted content is marked in both.
            assert_eq!(read["_meta"], json!(called.meta), "{way}: {domain}");
            assert_eq!(
                read["_meta"].is_null(),
                domain != "prompts",
                "{way}: {domain}"
            );
        }
    }
}

#[tokio::test]
async fn missing_resource_has_the_error_code_of_the_protocol() {
    for connected in connect_everywhere(&["--sandbox"], &[]).await {
        let code = match connected.way.contains("2025") {
            true => ErrorCode::RESOURCE_NOT_FOUND,
            false => ErrorCode::INVALID_PARAMS,
        };
        for uri in [
            "portkey://guide/none",
            "portkey://operations/none",
            "portkey://configs/none",
            "portkey://dogs/1",
            "portkey://",
            "file:///etc/passwd",
        ] {
            let Err(ServiceError::McpError(error)) = read_resource(&connected, uri).await else {
                panic!("{}: {uri}", connected.way)
            };
            assert_eq!(error.code, code, "{}: {uri}: {error}", connected.way);
        }
        for uri in ["portkey://users/..%2f..", "portkey://users/%2e%2e"] {
            let Err(ServiceError::McpError(error)) = read_resource(&connected, uri).await else {
                panic!("{}: {uri}", connected.way)
            };
            assert_eq!(
                error.code,
                ErrorCode::INVALID_PARAMS,
                "{}: {uri}: {error}",
                connected.way
            );
        }
    }
}

#[tokio::test]
async fn filtered_tools_have_no_resources() {
    for connected in connect_everywhere(&["--sandbox", "--toolsets", "configs"], &[]).await {
        let way = connected.way;
        let templates = connected
            .client
            .list_all_resource_templates()
            .await
            .unwrap();
        let things = templates.iter().map(|one| one.uri_template.as_str());
        let ours = ["guide", "operations", "results"];
        let things: Vec<_> = things
            .filter(|uri| !ours.iter().any(|kind| uri.contains(kind)))
            .collect();
        assert_eq!(things, ["portkey://configs/{slug}"], "{way}");
        for uri in [
            "portkey://operations/get-prompt",
            "portkey://workspaces/ws-shared",
        ] {
            assert!(
                read_resource(&connected, uri).await.is_err(),
                "{way}: {uri}"
            );
        }
        assert!(
            read_resource(&connected, "portkey://operations/get-config")
                .await
                .is_ok(),
            "{way}"
        );
    }
}

/// A read is subject to the policy, and audited, like any call.
#[tokio::test]
async fn resource_read_is_subject_to_policy_and_audit() {
    const POLICY: &str = r#"version: "1"
hide: [get-prompt]
tools:
  get-integration:
    rules:
      - name: one is ours
        action: deny
        when: args.slug == "anthropic"
        on_deny: Leave that alone
"#;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("policy.yaml"), POLICY).unwrap();
    let policy = path("policy.yaml");
    let log = path("audit.jsonl");
    for connected in connect_everywhere(&["--sandbox", "--policy", &policy], &[]).await {
        let way = connected.way;
        let Err(ServiceError::McpError(error)) =
            read_resource(&connected, "portkey://integrations/anthropic").await
        else {
            panic!("{way}")
        };
        assert_eq!(error.code, ErrorCode::INVALID_REQUEST, "{way}: {error}");
        assert!(error.message.contains("Leave that alone"), "{way}: {error}");
        assert!(
            read_resource(&connected, "portkey://integrations/azure-eu")
                .await
                .is_ok(),
            "{way}"
        );
        let templates = connected
            .client
            .list_all_resource_templates()
            .await
            .unwrap();
        assert!(
            !templates
                .iter()
                .any(|one| one.uri_template.contains("//prompts/")),
            "{way}"
        );
        assert!(
            read_resource(&connected, "portkey://operations/get-prompt")
                .await
                .is_err(),
            "{way}"
        );
    }
    let mut pipe = start_initialized(&["--sandbox", "--policy", &policy, "--audit-log", &log]);
    for (id, slug) in ["anthropic", "azure-eu"].iter().enumerate() {
        let params = json!({ "uri": format!("portkey://integrations/{slug}") });
        let request =
            json!({ "jsonrpc": "2.0", "id": id, "method": "resources/read", "params": params });
        pipe.send(&request.to_string());
        pipe.receive();
    }
    assert!(pipe.end().0.success());
    let lines = std::fs::read_to_string(log).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let calls: Vec<_> = lines
        .filter(|line| line["tool"] == "get-integration")
        .collect();
    let recorded: Vec<_> = calls
        .iter()
        .map(|call| call["decision"].as_str().unwrap())
        .collect();
    assert_eq!(recorded, ["deny", "allow"], "{calls:?}");
}
