//! Seeded data of Enkrypt AI: one gateway in use, one on trial, and their servers. No sufficiently
//! documented call of its API creates them.

use serde_json::{Value, json};

use crate::{
    domains::enkrypt_mcp_gateway::{GATEWAYS, SERVERS, insert_document},
    store::Store,
};

/// Inserts the servers and the gateways.
pub(super) fn seed_gateways(store: &mut Store) {
    let servers = [
        server(
            (
                "team_sheets",
                "v1",
                "Team Sheets",
                "Reads and writes spreadsheets",
            ),
            json!({
                "config": { "command": "sheets-mcp", "args": ["--stdio"],
                    "env": { "SHEETS_TOKEN": "sandbox-sheets-token" } },
                "tools": { "read_range": "Reads cells", "write_range": "Writes cells" },
                "denied_tools": ["delete_sheet"],
            }),
        ),
        server(
            (
                "ticket_desk",
                "v1",
                "Ticket Desk",
                "Finds and answers tickets",
            ),
            json!({
                "config": { "command": "tickets-mcp", "args": [], "env": {} },
                "oauth_config": { "client_id": "sandbox-tickets", "client_secret": "sandbox-tickets-secret" },
                "tools": { "find_tickets": "Finds tickets", "answer_ticket": "Answers a ticket" },
                "input_guardrails_config": policy("Ticket Guard", &["policy_violation"]),
            }),
        ),
        server(
            ("paper_search", "v2", "Paper Search", "Finds papers"),
            json!({
                "config": { "command": "papers-mcp", "args": ["--depth", "2"], "env": {} },
                "tools": { "find_papers": "Finds papers" },
            }),
        ),
    ];
    for server in servers {
        insert_document(store, &SERVERS, server);
    }
    let mut sheets = policy("Support Guard", &["injection_attack", "pii"]);
    if let Some(sheets) = sheets.as_object_mut() {
        let more = json!({ "threshold": 0.8, "pii": { "entities": ["email", "phone"] } });
        sheets.insert("additional_config".to_owned(), more);
    }
    let support = json!({
        "common_overrides": {
            "output_guardrails_config": policy("Support Guard", &["toxicity"]),
            "server_tools_guardrails_config": policy("Tool Guard", &["injection_attack"]),
        },
        "servers": [
            { "saved_name": "team_sheets", "server_version": "v1", "input_guardrails_config": sheets },
            { "saved_name": "ticket_desk", "server_version": "v1" },
        ],
    });
    let research = json!({
        "common_overrides": {},
        "servers": [{ "saved_name": "paper_search", "server_version": "v2" }],
    });
    // The live API returns ids both as numbers and as texts.
    for (name, version, id, config) in [
        ("support-tools", "v1", json!(41), support),
        (
            "research-tools",
            "v2",
            json!("e4c10000-0000-4000-8000-000000000042"),
            research,
        ),
    ] {
        let gateway = json!({ "gateway_saved_name": name, "gateway_version": version,
            "gateway_id": id, "servers_config": config });
        insert_document(store, &GATEWAYS, gateway);
    }
}

fn policy(guardrail: &str, block: &[&str]) -> Value {
    json!({ "enabled": true, "guardrail_name": guardrail, "additional_config": {}, "block": block })
}

fn server((saved, version, name, description): (&str, &str, &str, &str), config: Value) -> Value {
    json!({
        "saved_name": saved, "server_version": version, "server_name": name,
        "description": description, "mcp_config": config,
        "registry_id": "e4c10000-0000-4000-8000-000000000001", "registry_name": "default",
        "source_url": format!("https://{}.example.com", saved.replace('_', "-")),
        "source_version": "1.0.0",
    })
}
