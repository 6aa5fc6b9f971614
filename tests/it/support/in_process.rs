//! The HTTP server in this process, for any MCP handler.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::Router;
use clap::Parser;
use portkey_mcp::{
    app::HttpServerParts,
    auth::Auth,
    cli::{HttpOptions, Options},
    mcp::notifications::ChangeNotifier,
    transport::http::{DirectCallHandler, ShutdownTokens, router},
};
use tokio::{net::TcpListener, task::yield_now};

/// The arguments of `portkey-mcp http`.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    http: HttpOptions,
}

/// A server in this process, with the routes of `portkey-mcp http`.
pub(crate) struct InProcessServer<H> {
    handler: H,
    auth: Option<Auth>,
}

impl<H: DirectCallHandler + Clone> InProcessServer<H> {
    /// Returns a server that authenticates callers as the sandbox does.
    pub(crate) fn new(handler: H) -> Self {
        Self {
            handler,
            auth: None,
        }
    }

    pub(crate) fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Returns the routes, for requests without a connection.
    pub(crate) async fn routes(self) -> Router {
        let Arguments { options, http } = Arguments::parse_from(["http", "--sandbox"]);
        let settings = http.settings(&options, false).unwrap();
        let app = options.app_settings().unwrap();
        let HttpServerParts {
            auth,
            settings,
            shared,
            ..
        } = HttpServerParts::build(app, settings).await.unwrap();
        router(
            self.handler,
            self.auth.unwrap_or(auth),
            &settings,
            &shared,
            &ShutdownTokens::default(),
        )
    }

    /// Serves a free port and returns the URL of the MCP endpoint.
    pub(crate) async fn serve(self) -> String {
        let routes = self.routes().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = routes.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        format!("http://{address}/mcp")
    }
}

/// Time after which a wait has failed.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Waits until this many clients listen. The server may not yet have processed a sent message.
pub(crate) async fn wait_for_listeners(notifier: &ChangeNotifier, count: usize) {
    // Of the system, because the time of the runtime may be paused.
    let start = Instant::now();
    while notifier.subscriber_count() != count {
        let listening = notifier.subscriber_count();
        assert!(
            start.elapsed() < MAX_WAIT,
            "{listening} listen, not {count}"
        );
        yield_now().await;
    }
}
