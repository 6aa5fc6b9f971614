//! MCP registry: a workspace's MCP servers in the format of the public MCP Registry.

use serde_json::{Value, json};

use super::mcp_servers::{MCP_SERVERS, gateway_url};
use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::ApiResult,
    field::FieldType,
    route::{ApiVersion, Domain, get},
    store::{Item, Store, text},
    validation,
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::Registry],
    resources: &[],
    routes: &[get("/servers", list)],
};

fn list(store: &mut Store, call: &ApiCall) -> ApiResult {
    let workspace = call.workspace_id(store)?;
    let limit = call.number_in_range("limit", 1, 100)?.unwrap_or(50);
    let since = call.query("updated_since").unwrap_or_default();
    if !since.is_empty() {
        validation::validate_value(store, FieldType::Timestamp, "updated_since", &since.into())?;
    }
    let search = call.query("search").unwrap_or_default().to_lowercase();
    let asked_for = |server: &&Item| {
        text(server, "workspace_id") == workspace
            && text(server, "name").to_lowercase().contains(&search)
            // Up to the second, all UTC timestamps have the same format and compare as texts.
            && text(server, "last_updated_at").get(..19) >= since.get(..19)
    };
    let matching: Vec<&Item> = store
        .all(MCP_SERVERS.organisation_collection())
        .filter(asked_for)
        .collect();
    // A cursor is the id of the last server on the previous page.
    let start = match call.query("cursor") {
        Some(cursor) => {
            let last = matching
                .iter()
                .position(|server| text(server, "id") == cursor);
            last.ok_or_else(|| ApiError::invalid_field("cursor", "is not one that was given out"))?
                + 1
        }
        None => 0,
    };
    let page: Vec<&Item> = matching.iter().skip(start).take(limit).copied().collect();
    let mut metadata = Item::new();
    if let Some(last) = page.last().filter(|_| start + page.len() < matching.len()) {
        metadata.insert("nextCursor".to_owned(), text(last, "id").into());
    }
    metadata.insert("count".to_owned(), page.len().into());
    let servers: Vec<Value> = page.into_iter().map(show).collect();
    Ok(json!({ "servers": servers, "metadata": metadata }))
}

fn show(server: &Item) -> Value {
    json!({
        "server": {
            "name": format!("ai.portkey/{}", text(server, "slug")),
            "title": text(server, "name"),
            "description": text(server, "description"),
            "version": "1.0.0",
            "remotes": [{ "type": "streamable-http", "url": gateway_url(server) }],
        },
        "_meta": {
            "publishedAt": server.get("created_at"),
            "updatedAt": server.get("last_updated_at"),
            "isLatest": true,
        },
    })
}
