//! Prompt requests of MCP.

use std::sync::Arc;

use portkey_api::catalog::ToolLookupError;
use portkey_file_watch::WatchedValue;
use rmcp::{
    ErrorData,
    model::{
        CacheScope, GetPromptRequestParams, GetPromptResult, ListPromptsResult,
        PaginatedRequestParams, Prompt, PromptArgument, PromptMessage, Role,
    },
};

use super::{LIST_TTL_MS, Server, only_page};
use crate::{
    auth::principal::Principal,
    mcp::prompts::{self, Library, PromptError},
};

impl Server {
    /// Returns the current prompts.
    pub(super) fn library(&self) -> Arc<Library> {
        let fixed = || WatchedValue::fixed(Library::built_in());
        Arc::clone(&self.prompts.get_or_init(fixed).get())
    }

    /// Lists the prompts that a caller can use.
    pub(super) fn prompts(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
    ) -> Result<ListPromptsResult, ErrorData> {
        only_page(request)?;
        let library = self.library();
        let seen = library
            .iter()
            .filter(|prompt| self.shows_prompt(principal, prompt));
        Ok(
            ListPromptsResult::with_all_items(seen.map(published).collect())
                .with_ttl_ms(self.ttl(principal, LIST_TTL_MS))
                .with_cache_scope(CacheScope::Private),
        )
    }

    /// Renders a prompt with its arguments.
    pub(super) fn prompt(
        &self,
        principal: &Principal,
        request: &GetPromptRequestParams,
    ) -> Result<GetPromptResult, ErrorData> {
        let wrong = |error: PromptError| ErrorData::invalid_params(error.to_string(), None);
        let library = self.library();
        let prompt = self
            .seen_prompt(&library, principal, &request.name)
            .map_err(wrong)?;
        let given = request.arguments.clone().unwrap_or_default();
        let text = prompt.render(&given).map_err(wrong)?;
        let message = PromptMessage::new_text(Role::User, text);
        Ok(GetPromptResult::new(vec![message]).with_description(prompt.description()))
    }

    /// Finds a prompt that the caller may use.
    pub(super) fn seen_prompt<'a>(
        &self,
        library: &'a Library,
        principal: &Principal,
        name: &str,
    ) -> Result<&'a prompts::Prompt, PromptError> {
        let prompt = library.find(name)?;
        match self.shows_prompt(principal, prompt) {
            true => Ok(prompt),
            false => Err(PromptError::Unknown),
        }
    }

    /// Returns `true` if the prompt names no tools, or at least one that the caller may call.
    fn shows_prompt(&self, principal: &Principal, prompt: &prompts::Prompt) -> bool {
        let mut names_tools = false;
        for name in prompt.mentions() {
            match self.dispatcher.catalog().find(name) {
                Ok(entry) if self.dispatcher.is_listed(principal, entry) => return true,
                // The text looks like the name of a tool, but is none.
                Err(ToolLookupError::NotFound { .. }) => {}
                _ => names_tools = true,
            }
        }
        !names_tools
    }
}

fn published(prompt: &prompts::Prompt) -> Prompt {
    let argument = |one: &prompts::Argument| {
        PromptArgument::new(&one.name)
            .with_description(&one.description)
            .with_required(one.required)
    };
    let arguments: Vec<_> = prompt.arguments().iter().map(argument).collect();
    let arguments = (!arguments.is_empty()).then_some(arguments);
    Prompt::new(prompt.name(), Some(prompt.description()), arguments).with_title(prompt.title())
}
