//! The HTTP server: binds its listeners, and serves until the process is asked to stop.

use anyhow::bail;
use futures_util::FutureExt;
use tracing::{info, warn};

use super::{
    HttpSettings, SharedParts, listener, metrics_listener,
    routes::{ListenerRoutes, build_routes},
    shutdown::{ConnectionShutdown, PhaseDurations, ShutdownSequence, ShutdownTokens},
};
use crate::{
    auth::Auth,
    mcp::server::Server,
    transport::{listen, wait_for_shutdown_signal},
};

/// Serves until interrupted, then lets calls in flight finish.
///
/// # Errors
/// Returns an error if the address is not allowed or not free, or if serving fails.
pub async fn serve(
    server: Server,
    auth: Auth,
    settings: HttpSettings,
    shared: SharedParts,
) -> anyhow::Result<()> {
    check_exposure(&auth, &settings)?;
    let listener = listen(settings.listen, "--listen")?;
    let address = listener.local_addr()?;
    let rest_address = settings.rest.and_then(|rest| rest.listen);
    let rest_listener = rest_address
        .map(|address| listen(address, "--rest-listen"))
        .transpose()?;
    let metrics_listener = settings
        .metrics_listen
        .map(metrics_listener::bind)
        .transpose()?;
    let tokens = ShutdownTokens::default();
    let durations = PhaseDurations::from_settings(&settings);
    let routes = build_routes(server.clone(), auth, &settings, &shared, &tokens);
    let ListenerRoutes { main, rest } = routes;
    let face = shared.rest;
    let metrics = shared.metrics;
    let connections = ConnectionShutdown::default();
    let serving = tokio::spawn({
        let tls = settings.tls;
        let bounds = settings.connections;
        let shutdown = connections.clone();
        let metrics = metrics.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let prefix = settings.path_prefix;
        info!("serving MCP at {scheme}://{address}{prefix}/mcp");
        let rest = rest_listener.zip(rest);
        if face.is_some() {
            let address = match &rest {
                Some((listener, _)) => listener.local_addr()?,
                None => address,
            };
            info!("serving the API at {scheme}://{address}{prefix}/v1");
        }
        async move {
            let serve = |listener, routes| {
                let bounds = bounds.clone();
                let metrics = metrics.clone();
                listener::serve(
                    listener,
                    routes,
                    bounds,
                    metrics,
                    tls.as_ref(),
                    shutdown.clone(),
                )
            };
            match rest {
                None => serve(listener, main).await,
                // Both end with the shutdown, or with the first that fails.
                Some((rest_listener, routes)) => {
                    tokio::try_join!(serve(listener, main), serve(rest_listener, routes))
                        .map(|_| ())
                }
            }
        }
    });
    if let Some(scraped) = metrics_listener {
        // Runs until the end, so that metrics of the shutdown can be read.
        tokio::spawn(metrics_listener::serve(scraped, metrics));
    }
    wait_for_shutdown_signal().await?;
    let shutdown = ShutdownSequence {
        durations,
        tokens,
        connections,
        interrupted: wait_for_shutdown_signal().boxed(),
        calls_finished: async move {
            server.drain().await;
            if let Some(face) = face {
                face.drain().await;
            }
        }
        .boxed(),
        connections_closed: async move { Ok(serving.await??) }.boxed(),
    };
    shutdown.run().await
}

/// Checks that an address beyond loopback is served only with authentication, or with the
/// operator's consent.
///
/// # Errors
/// Returns what to choose from otherwise.
fn check_exposure(auth: &Auth, settings: &HttpSettings) -> anyhow::Result<()> {
    let rest = settings.rest.and_then(|rest| rest.listen);
    let exposed = [Some(settings.listen), rest]
        .into_iter()
        .flatten()
        .find(|address| !address.ip().is_loopback());
    if let (Auth::None(_), Some(listen)) = (auth, exposed) {
        if !settings.allow_unauthenticated {
            bail!(
                "{listen} can be reached from other machines, and this server does not authenticate its \
                 clients: whoever connects could administer Portkey with the configured key. Choose a \
                 way with --auth key, token or oauth, listen on 127.0.0.1 behind a proxy that \
                 authenticates, or accept the risk with --allow-unauthenticated"
            );
        }
        warn!(%listen, "listening beyond loopback WITHOUT AUTHENTICATION");
    }
    Ok(())
}
