//! Many clients over streamable HTTP, in both protocol generations, at `/mcp`.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService,
        session::local::{LocalSessionManager, SessionConfig},
    },
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::server::Server;

/// How a session may idle before it is forgotten. Some clients never come back from that, so it is
/// long; it costs some 50 kB of memory.
const SESSION_IDLE: Duration = Duration::from_secs(3600);

/// Up to which size a request that is too large is read all the same: a client that is still sending
/// when the connection closes never sees why.
const READ_TO_REFUSE: usize = 64 << 20;

const TOO_LARGE: &str = "the request is larger than --max-request-bytes allows";

/// What the operator can set about the HTTP front.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Host names clients may use beside the loopback ones and the address itself.
    pub allowed_hosts: Vec<String>,
    /// Browser origins that may call; none unless named.
    pub allowed_origins: Vec<String>,
    /// Bound on a request body, in bytes.
    pub max_request_bytes: usize,
    /// Listen on other than loopback although anyone who can connect can then administer.
    pub allow_unauthenticated: bool,
    /// How long calls under way may take to finish once we are asked to stop.
    pub grace: Duration,
}

/// The two steps of stopping: first nothing new, then nothing at all.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    drain: CancellationToken,
    end: CancellationToken,
}

/// Serves until interrupted, then lets calls under way finish.
///
/// # Errors
/// The address is not allowed or not free, or serving fails.
pub async fn serve(server: Server, settings: Settings) -> anyhow::Result<()> {
    if !settings.listen.ip().is_loopback() {
        if !settings.allow_unauthenticated {
            bail!(
                "{} can be reached from other machines, and this server does not authenticate its \
                 clients: whoever connects could administer Portkey with the configured key. Listen on \
                 127.0.0.1 behind a proxy that authenticates, or accept the risk with \
                 --allow-unauthenticated",
                settings.listen
            );
        }
        warn!(listen = %settings.listen, "listening beyond loopback without authentication");
    }
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr()?;
    // Answers go out in several small writes; without this each would wait for an acknowledgement.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    let stop = Stop::default();
    let router = router(server.clone(), &settings, &stop);
    let drain = stop.drain.clone().cancelled_owned();
    let serving =
        tokio::spawn(
            async move { axum::serve(listener, router).with_graceful_shutdown(drain).await },
        );
    info!("serving MCP at http://{address}/mcp");
    super::interrupted().await?;
    info!("stopping; calls under way may finish");
    stop.drain.cancel();
    if tokio::time::timeout(settings.grace, server.idle()).await.is_err() {
        warn!("calls still under way were cut off");
    }
    // Open streams never end by themselves, and the last answers still have to leave.
    let ended = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.end.cancel();
        serving.await
    });
    match tokio::time::timeout(Duration::from_secs(3), ended).await {
        Ok(joined) => joined???,
        Err(_) => warn!("connections still open were cut off"),
    }
    Ok(())
}

/// The routes: `/mcp`, `/healthz`, `/readyz`.
pub fn router<H: ServerHandler + Clone>(handler: H, settings: &Settings, stop: &Stop) -> Router {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    hosts.extend(host_of(settings.listen.ip()));
    hosts.extend(settings.allowed_hosts.iter().cloned());
    // Both flags: sessions for clients up to 2025-11-25, plain JSON without one for those after.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(true)
        .with_json_response(true)
        .with_allowed_hosts(hosts)
        .with_allowed_origins(settings.allowed_origins.iter().cloned())
        .enforce_origin_validation()
        .with_max_request_body_bytes(settings.max_request_bytes)
        .with_cancellation_token(stop.end.clone());
    let mut sessions = LocalSessionManager::default();
    let mut session = SessionConfig::default();
    session.keep_alive = Some(SESSION_IDLE);
    sessions.session_config = session;
    let mcp = StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(sessions), config);
    let draining = stop.drain.clone();
    let ready = move || {
        let ready = !draining.is_cancelled();
        async move {
            if ready {
                (StatusCode::OK, "ready\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            }
        }
    };
    Router::new()
        .route_service("/mcp", mcp)
        .layer(middleware::from_fn_with_state(settings.max_request_bytes, speak_json_rpc))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(async || (StatusCode::NOT_FOUND, "MCP is served at /mcp\n"))
}

fn host_of(ip: IpAddr) -> Option<String> {
    (!ip.is_unspecified() && !ip.is_loopback()).then(|| ip.to_string())
}

/// Answers as MCP clients expect it: refusals in plain text from the layers below become JSON-RPC
/// errors, which they can show to a human.
async fn speak_json_rpc(State(most): State<usize>, request: Request, next: Next) -> Response {
    if let Some(length) = declared_length(request.headers()).filter(|length| *length > most) {
        // Who asked whether to send has sent nothing yet, and reading would tell it to.
        let asks_first = request.headers().contains_key(header::EXPECT);
        let mut body = request.into_body().into_data_stream();
        if length <= READ_TO_REFUSE && !asks_first {
            while let Some(Ok(_)) = body.next().await {}
        }
        return refusal(HeaderMap::new(), StatusCode::PAYLOAD_TOO_LARGE, -32600, TOO_LARGE);
    }
    let ends_session = request.method() == Method::DELETE;
    let mut response = next.run(request).await;
    if ends_session && response.status() == StatusCode::ACCEPTED {
        // It has been ended, not merely accepted, and some clients warn of anything but 200 and 204.
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("application/json")));
    if !(status.is_client_error() || status.is_server_error()) || is_json {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, 64 * 1024).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match status {
        // rmcp reports JSON it cannot read as a wrong media type.
        StatusCode::UNSUPPORTED_MEDIA_TYPE if text.starts_with("fail to deserialize") => refusal(
            parts.headers,
            StatusCode::BAD_REQUEST,
            -32700,
            "the body is no JSON-RPC message",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => refusal(parts.headers, status, -32600, TOO_LARGE),
        _ => refusal(parts.headers, status, -32600, text.trim()),
    }
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An answer that is an error, with what the headers said besides.
fn refusal(mut headers: HeaderMap, status: StatusCode, code: i32, message: &str) -> Response {
    let body =
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } });
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, headers, body.to_string()).into_response()
}
