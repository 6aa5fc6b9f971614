//! The list of tools: the tools of a surface, and the pages that a caller sees of them.

use std::sync::Arc;

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{CompiledOperation, Effect, Operation, Presentation, ToolNames};
use portkey_policy::PolicyTarget;
use rmcp::{
    ErrorData,
    model::{
        CacheScope, ListToolsResult, MetaObject, PaginatedRequestParams, Tool, ToolAnnotations,
    },
};
use serde_json::Value;

use super::{LIST_TTL_MS, Server};
use crate::{
    auth::principal::Principal,
    mcp::{
        cards::Card,
        reply,
        surface::{self, BuiltinAction, HistoryTool, Surface},
        tool_names::{spell_in_text, spell_in_value},
    },
};

/// `_meta` keys that Claude's clients read.
const ALWAYS_LOAD_META_KEY: &str = "anthropic/alwaysLoad";
const SEARCH_HINT_META_KEY: &str = "anthropic/searchHint";

/// `_meta` key of a tool for an endpoint that its vendor does not stand by.
const PREVIEW_META_KEY: &str = "portkey-mcp/preview";

impl Server {
    /// Returns all tools of the surface. They are built on first use, and again after a time without use.
    pub fn tools(&self) -> Arc<[Tool]> {
        let presentation = self.dispatcher.catalog().presentation();
        self.tools.get_or_build(|| {
            let mut tools = build_tools(
                self.surface,
                presentation,
                self.dispatcher.available_entries(),
            );
            if self.dispatcher.journal().is_some() {
                add_history(&mut tools, presentation);
            }
            tools
        })
    }

    /// Returns a page of the tools that a caller sees. Their cards are named to clients that show cards.
    pub(super) fn tools_page(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
        shows_cards: bool,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools();
        let start = match request.and_then(|request| request.cursor) {
            None => 0,
            // A cursor is the name of the previous page's last tool, so it stays valid if tools are
            // added.
            Some(cursor) => {
                let last = tools.iter().position(|tool| tool.name == cursor);
                let unknown = || ErrorData::invalid_params("there is no such cursor", None);
                last.ok_or_else(unknown)? + 1
            }
        };
        let mut rest = tools
            .iter()
            .skip(start)
            .filter(|tool| self.is_tool_visible(principal, tool));
        let mut page: Vec<Tool> = rest
            .by_ref()
            .take(self.tools_page_size.unwrap_or(usize::MAX))
            .cloned()
            .collect();
        let more = rest.next().is_some();
        if shows_cards {
            page.iter_mut()
                .for_each(|tool| self.add_card(principal, tool));
        }
        let cursor = page
            .last()
            .filter(|_| more)
            .map(|tool| tool.name.to_string());
        let mut result = ListToolsResult::with_all_items(page)
            .with_ttl_ms(self.cache_ttl_ms(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = cursor;
        Ok(result)
    }

    /// Names the card of a tool that the caller sees, if it has one that the caller may read.
    fn add_card(&self, principal: &Principal, tool: &mut Tool) {
        let own = surface::find_builtin(&tool.name);
        let card = own.and_then(|own| Card::of_tool(own.operation.name()));
        if let Some(card) = card.filter(|card| self.can_read_card(principal, card)) {
            card.add_to_tool_meta(tool.meta.get_or_insert_with(MetaObject::new));
        }
    }

    /// Returns `true` if the policies can permit a caller to read a card.
    fn can_read_card(&self, principal: &Principal, card: &Card) -> bool {
        let uri = card.uri();
        let target = PolicyTarget::Resource(&uri);
        self.dispatcher.can_see_item(principal, &target)
    }

    /// Returns `true` if a card is offered to a caller: it sees the tool, and may read the card.
    pub(super) fn offers_card(&self, principal: &Principal, card: &Card) -> bool {
        self.lists_builtin(principal, card.tool) && self.can_read_card(principal, card)
    }

    /// Returns `true` if a caller sees a built-in tool of this name.
    pub(super) fn lists_builtin(&self, principal: &Principal, name: &str) -> bool {
        let is_it = |tool: &&Tool| {
            surface::find_builtin(&tool.name).is_some_and(|own| own.operation.name() == name)
        };
        self.tools()
            .iter()
            .find(is_it)
            .is_some_and(|tool| self.is_tool_visible(principal, tool))
    }

    /// Returns `true` if a caller sees a tool. A tool that calls operations is visible if the
    /// caller may call any of its operations.
    fn is_tool_visible(&self, principal: &Principal, tool: &Tool) -> bool {
        let catalog = self.dispatcher.catalog();
        let writes = || {
            catalog.iter().any(|entry| {
                entry.operation.effect() != Effect::Read
                    && self.dispatcher.can_see(principal, entry)
            })
        };
        match surface::find_builtin(&tool.name).map(|own| own.action) {
            Some(BuiltinAction::PlanChanges | BuiltinAction::ApplyPlan) => writes(),
            Some(BuiltinAction::Execute(effect)) => catalog.iter().any(|entry| {
                entry.operation.effect() == effect && self.dispatcher.can_see(principal, entry)
            }),
            Some(BuiltinAction::Workflow(workflow)) => self.offers_workflow(principal, workflow),
            Some(BuiltinAction::History(tool)) => {
                self.offers_history(principal, tool) && (tool != HistoryTool::Undo || writes())
            }
            Some(_) => true,
            None => catalog
                .find(&tool.name)
                .is_ok_and(|entry| self.dispatcher.can_see(principal, entry)),
        }
    }
}

/// Builds the tools that a surface lists for these operations, sorted by name.
pub fn build_tools<'a>(
    surface: Surface,
    presentation: &Presentation,
    offered: impl Iterator<Item = &'a CatalogEntry>,
) -> Vec<Tool> {
    let names = presentation.tool_names;
    let mut tools: Vec<Tool> = Vec::new();
    let mut operations = Vec::new();
    for entry in offered {
        operations.push(entry.operation);
        if surface.lists_operations() {
            // Of a schema that no call has used yet, only the part that is listed is kept.
            tools.push(entry.inspect(build_tool));
        }
    }
    let own = surface.builtin_tools(
        |effect| {
            operations
                .iter()
                .any(|operation| operation.effect() == effect)
        },
        |name| operations.iter().any(|operation| operation.name() == name),
    );
    tools.extend(own.map(|own| build_tool(&own.with_presentation(presentation))));
    tools.iter_mut().for_each(|tool| spell_tool(names, tool));
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    tools
}

/// Adds the tools of the history to a list, which stays sorted by name.
pub fn add_history(tools: &mut Vec<Tool>, presentation: &Presentation) {
    let history = surface::builtin_tools()
        .iter()
        .filter(|own| matches!(own.action, BuiltinAction::History(_)));
    tools.extend(history.map(|own| {
        let mut tool = build_tool(&own.with_presentation(presentation));
        spell_tool(presentation.tool_names, &mut tool);
        tool
    }));
    tools.sort_by(|one, other| one.name.cmp(&other.name));
}

/// Spells a tool's own name, and those that its descriptions mention, as they are listed.
fn spell_tool(names: ToolNames, tool: &mut Tool) {
    if names == ToolNames::Hyphen {
        return;
    }
    tool.name = names.spell(&tool.name).into_owned().into();
    if let Some(description) = &mut tool.description {
        *description = spell_in_text(names, description).into_owned().into();
    }
    let mut schema = Value::Object(tool.input_schema.as_ref().clone());
    spell_in_value(names, &mut schema);
    if let Value::Object(schema) = schema {
        tool.input_schema = Arc::new(schema);
    }
}

/// Maximum number of search terms in the hint of a tool. Clients search its name and texts, too.
const MAX_HINT_TERMS: usize = 3;

/// Maximum length of a hint in bytes, except for the first term, which is always whole.
const MAX_HINT_BYTES: usize = 40;

/// Joins the first search terms.
fn search_hint(terms: &[&str]) -> String {
    let mut hint = String::new();
    for term in terms.iter().take(MAX_HINT_TERMS) {
        if !hint.is_empty() {
            if hint.len() + ", ".len() + term.len() > MAX_HINT_BYTES {
                break;
            }
            hint.push_str(", ");
        }
        hint.push_str(term);
    }
    hint
}

/// Builds the `_meta` of a tool.
///
/// Marks a tool whose results have untrusted content. Tells clients that search tools themselves
/// whether to load the tool always, or how to find it.
fn tool_meta(operation: &Operation) -> MetaObject {
    let mut meta = match operation.has_untrusted_content() {
        true => reply::untrusted_meta(),
        false => MetaObject::new(),
    };
    if !operation.is_stable() {
        meta.0.insert(PREVIEW_META_KEY.to_owned(), true.into());
    }
    if surface::is_core(operation.name()) {
        meta.0.insert(ALWAYS_LOAD_META_KEY.to_owned(), true.into());
    } else if !operation.search_terms().is_empty() {
        let hint = search_hint(operation.search_terms());
        meta.0.insert(SEARCH_HINT_META_KEY.to_owned(), hint.into());
    }
    meta
}

/// Builds the MCP tool of an operation.
pub fn build_tool(published: &CompiledOperation) -> Tool {
    let hints = published.operation().hints();
    // Some clients read the title of the annotations alone, and some want all hints.
    let annotations = ToolAnnotations::with_title(published.title())
        .read_only(hints.read_only)
        .destructive(hints.destructive)
        .idempotent(hints.idempotent)
        .open_world(hints.open_world);
    let mut tool = Tool::new(
        published.operation().name(),
        published.description().to_owned(),
        published.schema().clone(),
    )
    .with_title(published.title())
    .with_annotations(annotations);
    tool.meta = Some(tool_meta(published.operation())).filter(|meta| !meta.0.is_empty());
    tool
}
