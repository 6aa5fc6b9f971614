//! What clients are told that this server can do.

use rmcp::model::ServerCapabilities;

/// Which lists can change while the server runs, beside that of tools: clients are told, and can listen for those.
///
/// Prompts change with their folder, and with what a caller may see, as one without any of its tools is not
/// listed. So do the templates of resources, for which there is no announcement but that of resources. The
/// guides, which `resources/list` has, never change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changing {
    pub(super) prompts: bool,
    pub(super) resources: bool,
}

impl Changing {
    /// Those that change with what callers may see.
    pub(super) const fn with_what_is_seen() -> Self {
        Self {
            prompts: true,
            resources: true,
        }
    }

    /// What this server can do.
    pub(super) fn capabilities(self) -> ServerCapabilities {
        let mut capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_prompts()
            .enable_resources()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        if let Some(prompts) = capabilities.prompts.as_mut().filter(|_| self.prompts) {
            prompts.list_changed = Some(true);
        }
        if let Some(resources) = capabilities.resources.as_mut().filter(|_| self.resources) {
            resources.list_changed = Some(true);
        }
        capabilities
    }
}
