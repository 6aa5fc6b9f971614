//! Serves `/metrics` at an address of its own, because the main address may be open to the
//! internet.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::{Router, routing::get};
use http::{StatusCode, header};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    observability::metrics::{CONTENT_TYPE, Metrics},
    transport::auxiliary::{self, ConnectionLimits},
};

/// Limits on connections. Anyone may read metrics, so no connection is authenticated.
const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits {
    max_unauthenticated: 64,
    max_authenticated: 0,
    head_timeout: Duration::from_secs(5),
    timeout: Duration::from_secs(10),
};

/// Binds the listener.
pub(super) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    crate::transport::listen(address, "--metrics-listen")
}

/// Serves the metrics to anyone who can connect.
pub(super) async fn serve(listener: TcpListener, metrics: Metrics) {
    if let Ok(address) = listener.local_addr() {
        info!("serving metrics at http://{address}/metrics");
    }
    let render = async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render());
    let router = Router::new()
        .route("/metrics", get(render))
        .fallback(async || (StatusCode::NOT_FOUND, "metrics are served at /metrics\n"));
    // Never cancelled, so that metrics of the shutdown can be read.
    let ended = CancellationToken::new();
    if let Err(error) = auxiliary::serve(listener, router, CONNECTION_LIMITS, ended).await {
        error!(%error, "metrics are no longer served");
    }
}
