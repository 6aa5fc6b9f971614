//! Cards of MCP Apps: offered to clients that declare the extension, and to nobody else.
//!
//! `tests/clients/card.mjs` shows one in a browser.

use portkey_mcp::mcp::{
    cards::{CARD_MIME_TYPE, CARDS, UI_EXTENSION},
    guide::GUIDES,
};
use rmcp::{
    ClientHandler, ServiceError,
    model::{ClientConfig, ErrorCode, ReadResourceRequestParams, ReadResourceResult, Tool},
};
use serde_json::{Value, json};

use crate::support::{
    official_client::{ConnectedClient, connect_everywhere, connect_everywhere_as},
    policy::PolicyFile,
};

const CARD: &str = "ui://portkey-mcp/report-costs";

/// A client that declares the extension with these settings.
#[derive(Clone)]
struct CardClient(Value);

impl ClientHandler for CardClient {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        let settings = self.0.as_object().unwrap().clone();
        info.capabilities.extensions = Some([(UI_EXTENSION.to_owned(), settings)].into());
        info
    }
}

fn card_client() -> CardClient {
    CardClient(json!({ "mimeTypes": [CARD_MIME_TYPE] }))
}

async fn read<H: ClientHandler>(
    connected: &ConnectedClient<H>,
) -> Result<ReadResourceResult, ServiceError> {
    let request = ReadResourceRequestParams::new(CARD);
    connected.client.read_resource(request).await
}

async fn listed<H: ClientHandler>(connected: &ConnectedClient<H>) -> Vec<String> {
    let resources = connected.client.list_all_resources().await.unwrap();
    resources.into_iter().map(|resource| resource.uri).collect()
}

/// Returns the card that a tool names.
fn card_of(tools: &[Tool], name: &str) -> Option<Value> {
    let tool = tools.iter().find(|tool| tool.name == name)?;
    tool.meta.as_ref()?.0.get("ui").cloned()
}

/// Checks that a client is offered no card.
async fn assert_no_card<H: ClientHandler>(connected: &ConnectedClient<H>, what: &str) {
    let way = connected.way;
    let tools = connected.tools().await;
    assert!(
        tools
            .iter()
            .all(|tool| card_of(&tools, &tool.name).is_none()),
        "{way}, {what}"
    );
    let resources = listed(connected).await;
    assert!(
        resources.iter().all(|uri| !uri.starts_with("ui://")),
        "{way}, {what}: {resources:?}"
    );
    assert!(read(connected).await.is_err(), "{way}, {what}");
}

#[tokio::test]
async fn card_is_offered_to_clients_that_show_cards() {
    for options in [&["--sandbox"][..], &["--sandbox", "--surface", "compact"]] {
        for connected in connect_everywhere_as(card_client(), options, &[]).await {
            let way = connected.way;
            let tools = connected.tools().await;
            let named: Vec<&Tool> = tools
                .iter()
                .filter(|tool| card_of(&tools, &tool.name).is_some())
                .collect();
            assert_eq!(named.len(), CARDS.len(), "{way}");
            assert_eq!(
                card_of(&tools, "report-costs"),
                Some(json!({ "resourceUri": CARD })),
                "{way}"
            );
            let resources = connected.client.list_all_resources().await.unwrap();
            let card = resources.iter().find(|resource| resource.uri == CARD);
            let card = card.unwrap();
            assert_eq!(card.mime_type.as_deref(), Some(CARD_MIME_TYPE), "{way}");
            let contents = read(&connected).await.unwrap().contents;
            let content = serde_json::to_value(&contents[0]).unwrap();
            assert_eq!(
                (&content["uri"], &content["mimeType"]),
                (&json!(CARD), &json!(CARD_MIME_TYPE)),
                "{way}"
            );
            assert_eq!(
                content["_meta"],
                json!({ "ui": { "prefersBorder": true } }),
                "{way}"
            );
            let html = content["text"].as_str().unwrap();
            assert!(html.starts_with("<!DOCTYPE html>"), "{way}");
            assert_eq!(card.size, Some(html.len() as u64), "{way}");
            let capabilities = connected.client.peer_info().unwrap().capabilities.clone();
            assert!(
                capabilities.extensions.unwrap().contains_key(UI_EXTENSION),
                "{way}"
            );
        }
    }
}

#[tokio::test]
async fn other_clients_see_no_card() {
    let before = connect_everywhere(&["--sandbox"], &[]).await;
    let plain = &before[0];
    let size = serde_json::to_string(&plain.tools().await).unwrap().len();
    for connected in &before {
        assert_no_card(connected, "no extension").await;
        assert_eq!(listed(connected).await.len(), GUIDES.len());
        match read(connected).await.unwrap_err() {
            ServiceError::McpError(error) => {
                let expected = match connected.way.ends_with("2025") {
                    true => ErrorCode::RESOURCE_NOT_FOUND,
                    false => ErrorCode::INVALID_PARAMS,
                };
                assert_eq!(error.code, expected, "{}", connected.way);
            }
            other => panic!("{other}"),
        }
    }
    for settings in [
        json!({}),
        json!({ "mimeTypes": ["text/html"] }),
        json!({ "mimeTypes": CARD_MIME_TYPE }),
    ] {
        let what = settings.to_string();
        for connected in connect_everywhere_as(CardClient(settings), &["--sandbox"], &[]).await {
            assert_no_card(&connected, &what).await;
            let tools = connected.tools().await;
            assert_eq!(serde_json::to_string(&tools).unwrap().len(), size, "{what}");
        }
    }
}

#[tokio::test]
async fn policy_closes_the_card_with_its_tool_and_by_its_address() {
    struct Case {
        what: &'static str,
        rules: &'static str,
        lists_tool: bool,
    }
    for case in [
        Case {
            what: "the operation that the tool needs is denied",
            rules: "rules:\n  - { name: costs, action: deny, match: { tools: [get-cost-graph] } }\n",
            lists_tool: false,
        },
        Case {
            what: "the card is denied",
            rules: "rules:\n  - { name: cards, action: deny, match: { resources: [\"ui://*\"] } }\n",
            lists_tool: true,
        },
        Case {
            what: "no rule allows the card",
            rules: "default: deny\nrules:\n  - { name: reads, action: allow, match: { effects: [read] } }\n",
            lists_tool: true,
        },
    ] {
        let policy = PolicyFile::with(&format!("version: \"1\"\n{}", case.rules));
        let options = ["--sandbox", "--policy", policy.path()];
        for connected in connect_everywhere_as(card_client(), &options, &[]).await {
            assert_no_card(&connected, case.what).await;
            let tools = connected.tools().await;
            let is_listed = tools.iter().any(|tool| tool.name == "report-costs");
            assert_eq!(is_listed, case.lists_tool, "{}", case.what);
        }
    }
    // Allowed by its address, under a policy that denies by default.
    let policy = PolicyFile::with(
        "version: \"1\"\ndefault: deny\nrules:\n  - { name: reads, action: allow, match: { effects: [read] } }\n  \
         - { name: cards, action: allow, match: { resources: [\"ui://portkey-mcp/report-costs\"] } }\n",
    );
    let options = ["--sandbox", "--policy", policy.path()];
    for connected in connect_everywhere_as(card_client(), &options, &[]).await {
        assert!(read(&connected).await.is_ok(), "{}", connected.way);
        assert_eq!(listed(&connected).await, [CARD], "{}", connected.way);
    }
}

/// A page of another origin in a card would be blocked by clients, and would tell that origin who looks.
#[test]
fn cards_load_nothing_and_write_no_markup() {
    for card in CARDS {
        for forbidden in [
            "src=",
            "href=",
            "url(",
            "@import",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "fetch(",
            "XMLHttpRequest",
            "WebSocket",
            "import(",
        ] {
            assert!(!card.html.contains(forbidden), "{}: {forbidden}", card.tool);
        }
        // The namespace of SVG is no address that is loaded.
        let addresses = card.html.matches("://").count();
        assert_eq!(
            addresses,
            card.html.matches("http://www.w3.org/2000/svg").count()
        );
        assert!(
            card.html.len() <= 20 << 10,
            "{}: {}",
            card.tool,
            card.html.len()
        );
    }
}
