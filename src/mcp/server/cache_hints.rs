//! Caching hints of results. The protocol has them since 2026-07-28.

use rmcp::{
    RoleServer,
    model::{
        ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        ProtocolVersion, ReadResourceResult,
    },
    service::RequestContext,
};

/// A result that a client may cache.
pub(super) trait CacheableResult: Sized {
    /// Removes the caching hints.
    fn without_hints(self) -> Self;

    /// Removes the caching hints if the client's revision has none. rmcp removes `resultType` likewise.
    fn for_client_of(self, context: &RequestContext<RoleServer>) -> Self {
        let has_hints = context
            .protocol_version()
            .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
        match has_hints {
            true => self,
            false => self.without_hints(),
        }
    }
}

macro_rules! cacheable_results {
    ($($result:ty),*) => {
        $(impl CacheableResult for $result {
            fn without_hints(mut self) -> Self {
                self.ttl_ms = None;
                self.cache_scope = None;
                self
            }
        })*
    };
}

cacheable_results!(
    ListPromptsResult,
    ListResourceTemplatesResult,
    ListResourcesResult,
    ListToolsResult,
    ReadResourceResult
);
