//! The list of tools: what there is on a surface, and what of it a caller sees, page by page.

use portkey_api::catalog::Entry;
use portkey_operation::{Operation, Presentation, Published};
use rmcp::{
    ErrorData,
    model::{
        CacheScope, ListToolsResult, MetaObject, PaginatedRequestParams, Tool, ToolAnnotations,
    },
};

use super::{LIST_TTL_MS, Server};
use crate::{
    auth::principal::Principal,
    mcp::{
        reply,
        surface::{self, Does, Surface},
    },
};

/// Keys that Claude's clients look for.
const ALWAYS_LOAD: &str = "anthropic/alwaysLoad";
const SEARCH_HINT: &str = "anthropic/searchHint";

impl Server {
    /// The tools as `tools/list` has them, built when they are first asked for.
    pub fn tools(&self) -> &[Tool] {
        let presentation = self.dispatcher.catalog().presentation();
        self.tools
            .get_or_init(|| tools(self.surface, presentation, self.dispatcher.offered()))
    }

    /// A page of the list, for a caller.
    pub(super) fn list(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
    ) -> Result<ListToolsResult, ErrorData> {
        let start = match request.and_then(|request| request.cursor) {
            None => 0,
            // A cursor names the last tool of the page before, so it stays good if tools are added.
            Some(cursor) => {
                let last = self.tools().iter().position(|tool| tool.name == cursor);
                let unknown = || ErrorData::invalid_params("there is no such cursor", None);
                last.ok_or_else(unknown)? + 1
            }
        };
        let mut rest = self
            .tools()
            .iter()
            .skip(start)
            .filter(|tool| self.lists(principal, tool));
        let page: Vec<Tool> = rest
            .by_ref()
            .take(self.page.unwrap_or(usize::MAX))
            .cloned()
            .collect();
        let more = rest.next().is_some();
        let cursor = page
            .last()
            .filter(|_| more)
            .map(|tool| tool.name.to_string());
        let mut result = ListToolsResult::with_all_items(page)
            .with_ttl_ms(self.ttl(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = cursor;
        Ok(result)
    }

    /// Whether a tool is there for a caller. One that calls operations is, where it could call any.
    fn lists(&self, principal: &Principal, tool: &Tool) -> bool {
        let catalog = self.dispatcher.catalog();
        match surface::named(&tool.name).map(|own| own.does) {
            Some(Does::Execute(effect)) => catalog.iter().any(|entry| {
                entry.operation.effects() == effect && self.dispatcher.shows(principal, entry)
            }),
            Some(_) => true,
            None => catalog
                .find(&tool.name)
                .is_ok_and(|entry| self.dispatcher.shows(principal, entry)),
        }
    }
}

/// What a surface lists where these operations are on offer, in the order of names.
pub fn tools<'a>(
    surface: Surface,
    presentation: &Presentation,
    offered: impl Iterator<Item = &'a Entry>,
) -> Vec<Tool> {
    let mut tools: Vec<Tool> = Vec::new();
    let mut effects = Vec::new();
    for entry in offered {
        effects.push(entry.operation.effects());
        if surface.lists_operations() {
            tools.push(tool(entry.published()));
        }
    }
    let own = surface.own(|effect| effects.contains(&effect));
    tools.extend(own.map(|own| tool(&own.presented(presentation))));
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    tools
}

/// What is said of a tool to those who choose tools: that its answers have text of strangers, and to
/// clients that search tools by themselves, whether to have it in view at all times or how to find it.
fn meta(operation: &Operation) -> MetaObject {
    let mut meta = match operation.is_untrusted() {
        true => reply::untrusted(),
        false => MetaObject::new(),
    };
    if surface::is_core(operation.name()) {
        meta.0.insert(ALWAYS_LOAD.to_owned(), true.into());
    } else if !operation.words().is_empty() {
        meta.0
            .insert(SEARCH_HINT.to_owned(), operation.words().join(", ").into());
    }
    meta
}

/// A declaration as MCP publishes it.
pub fn tool(published: &Published) -> Tool {
    let hints = published.operation().hints();
    let mut tool = Tool::new(
        published.operation().name(),
        published.description().to_owned(),
        published.schema().clone(),
    )
    .with_title(published.title())
    .with_annotations(
        ToolAnnotations::new()
            .read_only(hints.read_only)
            .destructive(hints.destructive)
            .idempotent(hints.idempotent)
            .open_world(hints.open_world),
    );
    tool.meta = Some(meta(published.operation())).filter(|meta| !meta.0.is_empty());
    tool
}
