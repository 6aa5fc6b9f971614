//! `register-mcp-server`: an MCP server for a team, which begins with nobody and no tool.

mod reach;

use futures_util::FutureExt;
use portkey_api::domains::{
    mcp_integrations::{AuthType, Transport},
    shared::SecretMapping,
};
use portkey_operation::{InputError, JsonMap, Open, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::reach::{AccessGoal, Capabilities};
use super::{Listing, Steps, Workflow, arguments, is_set, list::List, text, writer::StepWriter};
use crate::pipeline::CallError;

/// Maximum number of calls: lists of pages, two pages of capabilities, and up to seven writes.
const MAX_CALLS: usize = 60;

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: post::<RegisterMcpServer>("register-mcp-server", "/")
        .with_search_terms(&[
            "give a team an MCP server",
            "onboard a connector",
            "only some tools of a server",
            "who can reach which tools",
            "MCP-Server für ein Team",
        ])
        .idempotent()
        .returns_untrusted_content(),
    needs: &[
        "get-workspace",
        "list-workspace-members",
        "list-mcp-integrations",
        "list-mcp-integration-workspaces",
        "bulk-update-mcp-integration-workspaces",
        "list-mcp-servers",
        "create-mcp-server",
        "list-mcp-server-capabilities",
        "bulk-update-mcp-server-capabilities",
        "list-mcp-server-user-access",
        "bulk-update-mcp-server-user-access",
    ],
    needs_of_call,
    listing: Listing::WithOperations,
    max_steps: MAX_CALLS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Register an MCP server
///
/// Brings an MCP server into a workspace: at first nobody reaches it, then only the users and tools named.
/// Says who reaches what.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct RegisterMcpServer {
    /// UUID or slug.
    ///
    /// Required: a server is a workspace's.
    workspace_id: String,
    /// UUID or slug; with `url` the slug of a new one.
    ///
    /// Required: it is what the server is made from.
    mcp_integration_id: String,
    /// Of a new integration.
    url: Option<String>,
    /// How the gateway signs in to a new one; `none` when left out.
    #[schemars(extend("x-publish" = "hidden"))]
    auth_type: Option<Open<AuthType>>,
    /// MCP transport of a new one; `http` when left out.
    #[schemars(extend("x-publish" = "hidden"))]
    transport: Option<Open<Transport>>,
    /// Secrets of a new one, from secret references.
    #[schemars(extend("x-publish" = "hidden"))]
    secret_mappings: Option<Vec<SecretMapping>>,
    /// Name of the server; the integration's slug when left out.
    #[schemars(length(min = 1, max = 255), extend("x-publish" = "hidden"))]
    name: Option<String>,
    /// Slug of the server.
    #[schemars(length(min = 3, max = 50), extend("x-publish" = "hidden"))]
    slug: Option<String>,
    /// Catalogue to store, where no gateway has synced one.
    #[schemars(extend("x-publish" = "hidden"))]
    capabilities: Option<Vec<JsonMap>>,
    /// Tools to allow; all else is off.
    #[schemars(length(max = 200))]
    tools: Option<Vec<String>>,
    /// Members to allow, by e-mail address or UUID; `*` is all.
    #[schemars(length(max = 100))]
    users: Option<Vec<String>>,
    /// Only say what it would do.
    dry_run: Option<bool>,
}

fn needs_of_call(args: &JsonMap) -> Vec<&'static str> {
    let mut needs = Vec::new();
    if args.contains_key("url") {
        needs.push("create-mcp-integration");
    }
    if args.contains_key("capabilities") {
        needs.push("sync-mcp-integration");
    }
    needs
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let read = arguments([
        (
            "workspace_id",
            text(args, "workspace_id").unwrap_or_default().into(),
        ),
        ("name_format", "plain".into()),
    ]);
    let workspace = steps.read("get-workspace", read).await?;
    // Before anything is written: an unknown user would end the workflow halfway.
    let goal = AccessGoal::read(args, &workspace, steps).await?;
    let mut writer = StepWriter::new(steps, is_set(args, "dry_run"));
    let integration = find_or_create_integration(args, steps, &mut writer).await?;
    let integration_id = integration.get("id").and_then(Value::as_str);
    grant(integration_id, &workspace, steps, &mut writer).await?;
    let server =
        find_or_create_server(args, integration_id, &workspace, steps, &mut writer).await?;
    let server_id = server.state.get("id").and_then(Value::as_str);
    // Before the catalogue is stored: until now there may be no tool to reach.
    goal.close(server_id, steps, &mut writer).await?;
    if let Some(capabilities) = args.get("capabilities") {
        let sync = arguments([
            ("mcp_integration_id", integration_id.into()),
            ("capabilities", capabilities.clone()),
        ]);
        writer.write("sync-mcp-integration", sync).await?;
    }
    let mut result = arguments([
        (
            "integration",
            json!({ "id": integration_id, "slug": integration.get("slug") }),
        ),
        (
            "server",
            json!({ "id": server_id, "slug": server.state.get("slug"), "created": server.is_created }),
        ),
    ]);
    let Some(server_id) = server_id else {
        writer.plan(
            "bulk-update-mcp-server-capabilities",
            arguments([("capabilities", json!(goal.tools))]),
        );
        writer.plan(
            "bulk-update-mcp-server-user-access",
            arguments([("user_access", json!(goal.users))]),
        );
        return Ok(writer.finish(result));
    };
    let offered = Capabilities::read(server_id, steps).await?;
    let missing = offered.missing(&goal.tools);
    goal.switch_tools(server_id, &offered, &mut writer).await?;
    let mut notes = offered.notes(&goal.tools);
    match missing[..] {
        [] => goal.open(server_id, steps, &mut writer).await?,
        _ => {
            result.insert("unknown_tools".to_owned(), json!(missing));
            notes.push(
                "the server has no such tools yet, so that nobody was allowed: let a gateway sync it or give \
                 `capabilities`, and call again"
                    .to_owned(),
            );
        }
    }
    result.insert(
        "reach".to_owned(),
        reach::report(server_id, &workspace, steps).await?,
    );
    if !notes.is_empty() {
        result.insert("notes".to_owned(), notes.into());
    }
    Ok(writer.finish(result))
}

/// Returns true if an item has this id or slug.
fn is_named(item: &Value, handle: &str) -> bool {
    ["id", "slug"]
        .into_iter()
        .any(|name| item.get(name).is_some_and(|value| value == handle))
}

/// Returns the integration. One that is only described has no id.
async fn find_or_create_integration(
    args: &JsonMap,
    steps: &Steps,
    writer: &mut StepWriter<'_>,
) -> Result<Value, CallError> {
    let handle = text(args, "mcp_integration_id").unwrap_or_default();
    let list = List::read_pages(steps, "list-mcp-integrations", JsonMap::new()).await?;
    if let Some(found) = list.items.iter().find(|item| is_named(item, handle)) {
        let url = text(args, "url");
        if url.is_some_and(|url| found.get("url").is_some_and(|other| other != url)) {
            let what = format!(
                "is not the one of `{handle}`; leave it out, or change it by `update-mcp-integration`"
            );
            return Err(InputError::new("url", what).into());
        }
        return Ok(found.clone());
    }
    list.require_complete(&format!("`{handle}`"))?;
    let Some(url) = text(args, "url") else {
        let what = "is none of the MCP integrations; give `url` to create it";
        return Err(InputError::new("mcp_integration_id", what).into());
    };
    let or = |name: &str, default: &str| args.get(name).cloned().unwrap_or_else(|| default.into());
    let create = arguments([
        ("name", or("name", handle)),
        ("slug", handle.into()),
        ("url", url.into()),
        ("auth_type", or("auth_type", "none")),
        ("transport", or("transport", "http")),
        (
            "secret_mappings",
            args.get("secret_mappings").cloned().unwrap_or_default(),
        ),
    ]);
    let made = writer.write("create-mcp-integration", create).await?;
    let mut integration = made.unwrap_or_default();
    if let Some(fields) = integration.as_object_mut() {
        fields.entry("slug").or_insert_with(|| Value::from(handle));
    }
    Ok(integration)
}

/// Lets the workspace use the integration.
async fn grant(
    integration_id: Option<&str>,
    workspace: &Value,
    steps: &Steps,
    writer: &mut StepWriter<'_>,
) -> Result<(), CallError> {
    let own = |name: &str| workspace.get(name).cloned().unwrap_or_default();
    let row = json!([{ "id": own("id"), "enabled": true }]);
    let update = arguments([
        ("mcp_integration_id", integration_id.into()),
        ("workspaces", row),
    ]);
    let operation = "bulk-update-mcp-integration-workspaces";
    let Some(id) = integration_id else {
        writer.plan(operation, update);
        return Ok(());
    };
    let read = arguments([("mcp_integration_id", id.into())]);
    let access = steps.read("list-mcp-integration-workspaces", read).await?;
    let rows = access.get("workspaces").or_else(|| access.get("data"));
    let row = rows
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|row| {
            let handle = row.get("id").cloned().unwrap_or_default();
            handle == own("id") || handle == own("slug")
        });
    let is_enabled = |access: &Value| access.get("enabled") == Some(&Value::Bool(true));
    let is_granted = match row {
        Some(row) => is_enabled(row),
        None => access
            .get("global_workspace_access")
            .is_some_and(is_enabled),
    };
    if !is_granted {
        writer.write(operation, update).await?;
    }
    Ok(())
}

/// An MCP server, found or created.
struct RegisteredServer {
    /// Its fields; without an id if it is only described.
    state: Value,
    is_created: bool,
}

async fn find_or_create_server(
    args: &JsonMap,
    integration_id: Option<&str>,
    workspace: &Value,
    steps: &Steps,
    writer: &mut StepWriter<'_>,
) -> Result<RegisteredServer, CallError> {
    let workspace_id = workspace.get("id").cloned().unwrap_or_default();
    let here = arguments([("workspace_id", workspace_id.clone())]);
    let list = List::read_pages(steps, "list-mcp-servers", here).await?;
    let is_own = |server: &&Value| {
        let integration = server.get("mcp_integration_id").and_then(Value::as_str);
        integration.is_some() && integration == integration_id
    };
    let wanted = |server: &&Value| {
        let slug = text(args, "slug").is_none_or(|slug| server.get("slug") == Some(&slug.into()));
        let name = text(args, "name").is_none_or(|name| server.get("name") == Some(&name.into()));
        slug && (name || args.contains_key("slug"))
    };
    let found: Vec<_> = list.items.iter().filter(is_own).filter(wanted).collect();
    match found[..] {
        [one] => {
            return Ok(RegisteredServer {
                state: one.clone(),
                is_created: false,
            });
        }
        [] => list.require_complete("one of this integration")?,
        _ => {
            let what = format!(
                "the workspace has {} servers of this integration; name one",
                found.len()
            );
            return Err(InputError::new("slug", what).into());
        }
    }
    let handle = text(args, "mcp_integration_id").unwrap_or_default();
    let create = arguments([
        ("name", text(args, "name").unwrap_or(handle).into()),
        ("slug", text(args, "slug").into()),
        (
            "mcp_integration_id",
            integration_id.unwrap_or(handle).into(),
        ),
        ("workspace_id", workspace_id),
    ]);
    let made = match integration_id {
        Some(_) => writer.write("create-mcp-server", create).await?,
        None => {
            writer.plan("create-mcp-server", create);
            None
        }
    };
    Ok(RegisteredServer {
        is_created: made.is_some(),
        state: made.unwrap_or_default(),
    })
}
