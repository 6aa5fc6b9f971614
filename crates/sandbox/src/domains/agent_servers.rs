//! Agent servers: two agents with agent cards.

use serde_json::json;

use crate::{
    api_error::ApiError,
    call::ApiCall,
    crud::ApiResult,
    route::{ApiVersion, Domain, get},
    store::Store,
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[],
    routes: &[get("/agent-servers/{id}/agent-card", get_card)],
};

/// The agents: id, slug, name and the single skill of each.
const AGENTS: [(&str, &str, &str, &str); 2] = [
    (
        "0a5d0000-0000-4000-8000-0000000000a1",
        "travel-desk",
        "Travel Desk",
        "Books trips",
    ),
    (
        "0a5d0000-0000-4000-8000-0000000000a2",
        "archivist",
        "Archivist",
        "Finds old documents",
    ),
];

fn get_card(_: &mut Store, call: &ApiCall) -> ApiResult {
    let handle = call.handle();
    let mut agents = AGENTS.iter();
    let found = agents.find(|(id, slug, _, _)| *id == handle || *slug == handle);
    let (_, slug, name, skill) = found.ok_or_else(|| ApiError::NotFound {
        object: "agent-server",
        handle: handle.to_owned(),
    })?;
    Ok(json!({
        "protocolVersion": "0.3.0",
        "name": name,
        "description": skill,
        "url": format!("https://agents.example.com/{slug}"),
        "version": "1.0.0",
        "capabilities": { "streaming": true },
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": slug, "name": name, "description": skill, "tags": [] }],
    }))
}
