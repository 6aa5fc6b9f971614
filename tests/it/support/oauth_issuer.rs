//! A simulated authorization server on a loopback address.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The default path of the JWK set.
pub(crate) const KEYS_PATH: &str = "/keys";
pub(crate) const OAUTH_METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
pub(crate) const OPENID_METADATA_PATH: &str = "/.well-known/openid-configuration";

/// The response to a path.
#[derive(Clone)]
pub(crate) enum IssuerResponse {
    Json(Value),
    Status(u16),
    RedirectTo(String),
    /// A JSON document with a field of so many bytes.
    Bytes(usize),
    /// No response, ever.
    Never,
}

/// A recorded request.
pub(crate) struct IssuerRequest {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Default)]
struct IssuerState {
    responses: Mutex<HashMap<String, IssuerResponse>>,
    requests: Mutex<Vec<IssuerRequest>>,
}

/// The simulated server.
pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<IssuerState>,
}

impl Issuer {
    /// Starts a server that responds 404 to every path.
    pub(crate) async fn new() -> Self {
        let shared = Arc::<IssuerState>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(respond).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// Starts a server with metadata and these keys.
    pub(crate) async fn with_keys(keys: &[Value]) -> Self {
        let issuer = Self::new().await;
        let jwks_uri = format!("{}{KEYS_PATH}", issuer.url);
        issuer.set_response(
            OAUTH_METADATA_PATH,
            IssuerResponse::Json(json!({ "issuer": issuer.url, "jwks_uri": jwks_uri })),
        );
        issuer.publish_keys(keys);
        issuer
    }

    pub(crate) fn publish_keys(&self, keys: &[Value]) {
        self.set_response(KEYS_PATH, IssuerResponse::Json(json!({ "keys": keys })));
    }

    pub(crate) fn set_response(&self, path: &str, what: IssuerResponse) {
        self.shared
            .responses
            .lock()
            .unwrap()
            .insert(path.to_owned(), what);
    }

    /// Returns the number of requests for a path.
    pub(crate) fn request_count(&self, path: &str) -> usize {
        self.shared
            .requests
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| asked.path == path)
            .count()
    }

    /// Waits until a path was requested this many times.
    pub(crate) async fn wait_for_requests(&self, path: &str, times: usize) {
        while self.request_count(path) < times {
            tokio::task::yield_now().await;
        }
    }

    /// Takes all recorded requests.
    pub(crate) fn take_requests(&self) -> Vec<IssuerRequest> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }
}

async fn respond(State(shared): State<Arc<IssuerState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    shared.requests.lock().unwrap().push(IssuerRequest {
        path: path.clone(),
        headers: parts.headers,
        body,
    });
    let says = shared.responses.lock().unwrap().get(&path).cloned();
    match says.unwrap_or(IssuerResponse::Status(404)) {
        IssuerResponse::Json(value) => axum::Json(value).into_response(),
        IssuerResponse::Status(code) => StatusCode::from_u16(code).unwrap().into_response(),
        IssuerResponse::RedirectTo(place) => {
            (StatusCode::FOUND, [("location", place)]).into_response()
        }
        IssuerResponse::Bytes(count) => {
            format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(count)).into_response()
        }
        IssuerResponse::Never => pending().await,
    }
}
