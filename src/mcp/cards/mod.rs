//! Cards of MCP Apps (SEP-1865): pages that a client shows beside the result of a tool.
//!
//! A page is static and the same for everybody. The client gives it the result of the call, by messages
//! within the browser, so that nothing of a caller is in it. It loads nothing.

use rmcp::model::{ClientCapabilities, ExtensionCapabilities, JsonObject, MetaObject};
use serde_json::{Value, json};

/// Identifier of the extension, by which clients and this server declare it.
pub const UI_EXTENSION: &str = "io.modelcontextprotocol/ui";
/// Media type of a card.
pub const CARD_MIME_TYPE: &str = "text/html;profile=mcp-app";
/// Prefix of the URI of every card.
pub const CARD_URI_PREFIX: &str = "ui://portkey-mcp/";

/// Key of the extension in the `_meta` of a tool and of a content.
const UI_META_KEY: &str = "ui";

/// A page for the results of a tool.
#[derive(Debug)]
pub struct Card {
    /// Tool whose results the page shows. The page has the same name.
    pub tool: &'static str,
    /// Title for humans.
    pub title: &'static str,
    /// Description for humans.
    pub about: &'static str,
    /// The page, an HTML document.
    pub html: &'static str,
}

/// All cards, sorted by tool.
pub static CARDS: &[Card] = &[Card {
    tool: "report-costs",
    title: "Costs",
    about: "Shows the costs of a period, their change and the largest movers.",
    html: include_str!("report_costs.html"),
}];

impl Card {
    /// Returns the card of a tool, if it has one.
    pub fn of_tool(name: &str) -> Option<&'static Self> {
        CARDS.iter().find(|card| card.tool == name)
    }

    /// Returns the URI.
    pub fn uri(&self) -> String {
        format!("{CARD_URI_PREFIX}{}", self.tool)
    }

    /// Adds to the `_meta` of a tool that its results can be shown by this card.
    pub fn add_to_tool_meta(&self, meta: &mut MetaObject) {
        let link = json!({ "resourceUri": self.uri() });
        meta.0.insert(UI_META_KEY.to_owned(), link);
    }

    /// Returns the `_meta` of the page as a resource. Without a policy for its content, clients apply the
    /// strictest: no connections, and nothing from another origin.
    pub fn content_meta() -> MetaObject {
        let mut meta = MetaObject::new();
        let wishes = json!({ "prefersBorder": true });
        meta.0.insert(UI_META_KEY.to_owned(), wishes);
        meta
    }
}

/// Returns true if the client declares that it shows cards of this type.
pub fn shows_cards(capabilities: Option<&ClientCapabilities>) -> bool {
    let extensions = capabilities.and_then(|capabilities| capabilities.extensions.as_ref());
    let settings = extensions.and_then(|extensions| extensions.get(UI_EXTENSION));
    let types = settings.and_then(|settings| settings.get("mimeTypes")?.as_array());
    types.is_some_and(|types| types.contains(&Value::from(CARD_MIME_TYPE)))
}

/// Returns the extension, as a client declares it that shows cards, without what is not used.
pub fn client_extensions() -> ExtensionCapabilities {
    let types = Value::from(vec![CARD_MIME_TYPE]);
    let settings = [("mimeTypes".to_owned(), types)].into_iter().collect();
    [(UI_EXTENSION.to_owned(), settings)].into()
}

/// Returns the extension, as this server declares it.
pub fn declared_extensions() -> ExtensionCapabilities {
    [(UI_EXTENSION.to_owned(), JsonObject::new())].into()
}
