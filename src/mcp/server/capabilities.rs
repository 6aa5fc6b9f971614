//! Capabilities that the server declares to clients.

use rmcp::model::ServerCapabilities;

/// Lists that can change while the server runs, beside that of tools. Clients are told, and can
/// subscribe to them.
///
/// Prompts change with their folder, and with the access of a caller, because a prompt whose tools
/// are all unavailable is not listed. Resource templates change likewise; the protocol has no
/// notification for them but that for resources. The guides in `resources/list` never change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ChangingLists {
    pub(super) prompts: bool,
    pub(super) resources: bool,
}

impl ChangingLists {
    /// Returns the lists that change with the access of callers.
    pub(super) const fn for_changing_access() -> Self {
        Self {
            prompts: true,
            resources: true,
        }
    }

    /// Returns the capabilities of the server.
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
