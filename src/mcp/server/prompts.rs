//! Prompt requests of MCP.

use std::sync::Arc;

use portkey_api::catalog::ToolLookupError;
use portkey_file_watch::WatchedValue;
use portkey_policy::PolicyTarget;
use rmcp::{
    ErrorData, RoleServer,
    model::{
        CacheScope, GetPromptRequestParams, GetPromptResult, ListPromptsResult,
        PaginatedRequestParams, Prompt, PromptArgument, PromptMessage, Role,
    },
    service::RequestContext,
};

use super::{LIST_TTL_MS, Server, reject_cursor, request_info::request_info};
use crate::{
    auth::principal::Principal,
    mcp::prompts::{self, PromptError, PromptLibrary},
};

impl Server {
    /// Returns the current prompts.
    pub(super) fn prompt_library(&self) -> Arc<PromptLibrary> {
        let fixed = || WatchedValue::fixed(PromptLibrary::built_in());
        Arc::clone(&self.prompts.get_or_init(fixed).get())
    }

    /// Lists the prompts that a caller can use.
    pub(super) fn visible_prompts(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
    ) -> Result<ListPromptsResult, ErrorData> {
        reject_cursor(request)?;
        let library = self.prompt_library();
        let seen = library
            .iter()
            .filter(|prompt| self.is_prompt_visible(principal, prompt));
        Ok(
            ListPromptsResult::with_all_items(seen.map(build_prompt).collect())
                .with_ttl_ms(self.cache_ttl_ms(principal, LIST_TTL_MS))
                .with_cache_scope(CacheScope::Private),
        )
    }

    /// Renders a prompt with its arguments, if the policies permit it.
    pub(super) async fn render_prompt(
        &self,
        request: &GetPromptRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<GetPromptResult, ErrorData> {
        let principal = self.caller(context)?;
        let invalid_params =
            |error: PromptError| ErrorData::invalid_params(error.to_string(), None);
        let library = self.prompt_library();
        let prompt = library.find(&request.name).map_err(invalid_params)?;
        if !self.has_available_tool(principal, prompt) {
            return Err(invalid_params(PromptError::Unknown));
        }
        let given = request.arguments.clone().unwrap_or_default();
        let caller = (&**principal, &request_info(context));
        let target = PolicyTarget::Prompt(prompt.name());
        self.authorize_item(caller, target, &given, false).await?;
        let text = prompt
            .render(&given, self.tool_names())
            .map_err(invalid_params)?;
        let message = PromptMessage::new_text(Role::User, text);
        Ok(GetPromptResult::new(vec![message]).with_description(prompt.description()))
    }

    /// Finds a prompt that the caller may use.
    pub(super) fn find_visible_prompt<'a>(
        &self,
        library: &'a PromptLibrary,
        principal: &Principal,
        name: &str,
    ) -> Result<&'a prompts::PromptTemplate, PromptError> {
        let prompt = library.find(name)?;
        match self.is_prompt_visible(principal, prompt) {
            true => Ok(prompt),
            false => Err(PromptError::Unknown),
        }
    }

    /// Returns `true` if the policies can permit the prompt, and a tool that it names is available.
    fn is_prompt_visible(&self, principal: &Principal, prompt: &prompts::PromptTemplate) -> bool {
        let target = PolicyTarget::Prompt(prompt.name());
        self.dispatcher.can_see_item(principal, &target)
            && self.has_available_tool(principal, prompt)
    }

    /// Returns `true` if the prompt names no tools, or at least one that the caller may call.
    fn has_available_tool(&self, principal: &Principal, prompt: &prompts::PromptTemplate) -> bool {
        let mut names_tools = false;
        for name in prompt.mentioned_tools() {
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

fn build_prompt(prompt: &prompts::PromptTemplate) -> Prompt {
    let argument = |one: &prompts::TemplateArgument| {
        PromptArgument::new(&one.name)
            .with_description(&one.description)
            .with_required(one.required)
    };
    let arguments: Vec<_> = prompt.arguments().iter().map(argument).collect();
    let arguments = (!arguments.is_empty()).then_some(arguments);
    Prompt::new(prompt.name(), Some(prompt.description()), arguments).with_title(prompt.title())
}
