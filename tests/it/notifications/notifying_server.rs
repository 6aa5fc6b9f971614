//! A server that announces every kind of change.

use portkey_mcp::{
    mcp::notifications::{ChangeNotifier, SessionSubscription},
    transport::http::DirectCallHandler,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        ServerCapabilities, ServerConfig, SubscribeRequestParams, SubscriptionFilter,
        UnsubscribeRequestParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};

/// Sends every kind of change notification, like a server with prompts and resources.
#[derive(Clone, Debug, Default)]
pub(crate) struct NotifyingServer {
    pub(crate) notifier: ChangeNotifier,
    session: SessionSubscription,
}

impl NotifyingServer {
    fn capabilities() -> ServerCapabilities {
        ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .build()
    }
}

impl DirectCallHandler for NotifyingServer {}

impl ServerHandler for NotifyingServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(Self::capabilities())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.session
            .subscribe(&self.notifier, context.peer, &Self::capabilities());
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(ChangeNotifier::limit_filter(requested))
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        self.notifier.listen(subscription).await;
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let full = || ErrorData::invalid_params("too many", None);
        self.session
            .watch(request.uri)
            .then_some(())
            .ok_or_else(full)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.session.unwatch(&request.uri);
        Ok(())
    }
}
