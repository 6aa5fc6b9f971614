//! Preview operations: off by default, offered on request, and marked.

use portkey_api::catalog::{Catalog, ToolLookupError};
use serde_json::{Value, json};

use crate::support::{
    catalogs::default_catalog,
    process::run_cli,
    requests::{send_request, stateless_request},
    server::serve_sandbox,
};

const TOOL: &str = "list-agent-integrations";

fn listed_tools(args: &[&str]) -> Vec<Value> {
    let (ok, out, log) = run_cli(&[&["tools", "--format", "json", "--sandbox"], args].concat());
    assert!(ok, "{args:?}: {log}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn disabled_preview_operation_is_rejected_with_the_option_to_enable_it() {
    let error = default_catalog().find(TOOL).unwrap_err();
    assert_eq!(error, ToolLookupError::PreviewDisabled { name: TOOL });
    assert!(error.to_string().contains("--preview"), "{error}");
    assert!(Catalog::full().find(TOOL).is_ok());
}

#[test]
fn options_select_the_preview_operations() {
    struct Case {
        args: &'static [&'static str],
        offered: &'static [&'static str],
        withheld: &'static [&'static str],
    }

    for Case {
        args,
        offered,
        withheld,
    } in [
        Case {
            args: &[],
            offered: &["get-agent-server-card"],
            withheld: &[TOOL, "get-config-version", "list-agent-servers"],
        },
        Case {
            args: &["--preview"],
            offered: &[TOOL, "get-config-version", "list-agent-servers"],
            withheld: &[],
        },
        Case {
            args: &["--toolsets", "agent-integrations,configs,agent-servers"],
            offered: &[TOOL, "get-config", "get-agent-server-card"],
            withheld: &["get-config-version", "list-agent-servers"],
        },
        Case {
            args: &["--toolsets", "mcp"],
            offered: &["list-mcp-servers"],
            withheld: &[TOOL],
        },
        Case {
            args: &["--tools", "get_config_version,list-agent-*,get-config"],
            offered: &["get-config-version", "get-config"],
            withheld: &["list-agent-servers"],
        },
    ] {
        let tools = listed_tools(args);
        let is_listed = |name: &&str| tools.iter().any(|tool| tool["name"] == **name);
        assert!(offered.iter().all(&is_listed), "{args:?}");
        assert!(!withheld.iter().any(&is_listed), "{args:?}");
    }
}

#[test]
fn listed_preview_operations_are_marked() {
    let catalog = Catalog::full();
    for tool in listed_tools(&["--preview"]) {
        let name = tool["name"].as_str().unwrap();
        let is_preview = catalog
            .find(name)
            .is_ok_and(|entry| !entry.operation.is_stable());
        assert_eq!(
            tool["_meta"]["portkey-mcp/preview"] == true,
            is_preview,
            "{name}"
        );
        let description = tool["description"].as_str().unwrap();
        assert_eq!(description.contains(" Preview: "), is_preview, "{name}");
    }
}

#[tokio::test]
async fn sandbox_answers_preview_operations() {
    let server = serve_sandbox(&["--preview"]);
    let call = async |tool: &str, arguments: Value| {
        let params = json!({ "name": tool, "arguments": arguments });
        let (_, message) = send_request(stateless_request(&server, "tools/call", params)).await;
        let result = &message["result"];
        assert_eq!(result["isError"], false, "{tool}: {message}");
        result["structuredContent"].clone()
    };
    let integrations = call(TOOL, json!({ "search": "travel" })).await;
    assert_eq!(integrations["data"][0]["slug"], "travel-desk");
    let skill = json!({ "agent_server_id": "travel-desk", "skills": [] });
    call("bulk-update-agent-server-skills", skill).await;
    let skills = call(
        "list-agent-server-skills",
        json!({ "agent_server_id": "travel-desk" }),
    )
    .await;
    assert_eq!(skills["data"][0]["enabled"], false);
    let values = call(
        "list-log-metadata-values",
        json!({ "metadata_key": "team" }),
    )
    .await;
    assert!(values["total"].as_u64().unwrap() > 0, "{values}");
}

/// Portkey adds providers every month.
#[test]
fn unknown_provider_passes_with_a_warning() {
    struct Case {
        tool: &'static str,
        argument: &'static str,
        provider: &'static str,
        warning: Option<&'static str>,
    }

    let catalog = Catalog::full();
    for Case {
        tool,
        argument,
        provider,
        warning,
    } in [
        Case {
            tool: "create-integration",
            argument: "ai_provider_id",
            provider: "openai",
            warning: None,
        },
        Case {
            tool: "create-integration",
            argument: "ai_provider_id",
            provider: "opanai",
            warning: Some("did you mean `openai`?"),
        },
        Case {
            tool: "create-virtual-key",
            argument: "provider",
            provider: "brand-new-lab",
            warning: Some("`brand-new-lab` is not known to this version"),
        },
    ] {
        let args = json!({ "name": "n", (argument): provider });
        let compiled = catalog.find(tool).unwrap().compiled();
        let args = args.as_object().unwrap().clone();
        let validated = compiled.validate(args, &Default::default()).unwrap();
        assert_eq!(validated.args[argument], provider);
        let warned = validated.warnings.join("\n");
        match warning {
            Some(text) => assert!(warned.contains(text), "{warned}"),
            None => assert_eq!(warned, "", "{tool}"),
        }
    }
}
