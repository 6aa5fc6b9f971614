//! The HTTP server in this process, for any MCP handler.

use std::net::SocketAddr;

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

pub(crate) async fn serve_http<H: DirectCallHandler + Clone>(handler: H) -> String {
    serve_routes(routes(handler).await).await
}

pub(crate) async fn serve_routes(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{listen}/mcp")
}

async fn server_parts() -> HttpServerParts {
    let Arguments { options, http } = Arguments::parse_from(["http", "--sandbox"]);
    let settings = http.settings(&options, false).unwrap();
    let app = options.app_settings().unwrap();
    HttpServerParts::build(app, settings).await.unwrap()
}

/// Returns the routes to a handler, as in `portkey-mcp http`.
pub(crate) async fn routes<H: DirectCallHandler + Clone>(handler: H) -> Router {
    let HttpServerParts {
        auth,
        settings,
        shared,
        ..
    } = server_parts().await;
    router(
        handler,
        auth,
        &settings,
        &shared,
        &ShutdownTokens::default(),
    )
}

/// Returns the routes for callers with another authentication.
pub(crate) async fn routes_with_auth<H: DirectCallHandler + Clone>(
    handler: H,
    auth: Auth,
) -> Router {
    let HttpServerParts {
        settings, shared, ..
    } = server_parts().await;
    router(
        handler,
        auth,
        &settings,
        &shared,
        &ShutdownTokens::default(),
    )
}

/// Waits until this many clients listen. The server may not yet have processed a sent message.
pub(crate) async fn wait_for_listeners(hub: &ChangeNotifier, count: usize) {
    while hub.subscriber_count() != count {
        yield_now().await;
    }
}
