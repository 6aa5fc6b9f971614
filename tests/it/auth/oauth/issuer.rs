//! An authorization server on loopback, as far as a resource server has to do with one.

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

/// Where it keeps its keys, unless a test says otherwise.
pub(crate) const KEYS: &str = "/keys";
pub(crate) const OAUTH_METADATA: &str = "/.well-known/oauth-authorization-server";
pub(crate) const OPENID_METADATA: &str = "/.well-known/openid-configuration";

/// What a path is answered with.
#[derive(Clone)]
pub(crate) enum Says {
    Json(Value),
    Status(u16),
    RedirectTo(String),
    /// So many bytes of JSON.
    Bytes(usize),
    /// Nothing, ever.
    Nothing,
}

/// A request it got.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Default)]
struct Shared {
    says: Mutex<HashMap<String, Says>>,
    asked: Mutex<Vec<Asked>>,
}

/// The server.
pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Issuer {
    /// One that says nothing yet.
    pub(crate) async fn silent() -> Self {
        let shared = Arc::<Shared>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// One with metadata and these keys.
    pub(crate) async fn with_keys(keys: &[Value]) -> Self {
        let issuer = Self::silent().await;
        let jwks_uri = format!("{}{KEYS}", issuer.url);
        issuer.says(
            OAUTH_METADATA,
            Says::Json(json!({ "issuer": issuer.url, "jwks_uri": jwks_uri })),
        );
        issuer.publishes(keys);
        issuer
    }

    pub(crate) fn publishes(&self, keys: &[Value]) {
        self.says(KEYS, Says::Json(json!({ "keys": keys })));
    }

    pub(crate) fn says(&self, path: &str, what: Says) {
        self.shared
            .says
            .lock()
            .unwrap()
            .insert(path.to_owned(), what);
    }

    /// How often it was asked for a path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.shared
            .asked
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| asked.path == path)
            .count()
    }

    /// Waits until it was asked for a path so often.
    pub(crate) async fn asked(&self, path: &str, times: usize) {
        while self.count(path) < times {
            tokio::task::yield_now().await;
        }
    }

    /// All it was asked.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    shared.asked.lock().unwrap().push(Asked {
        path: path.clone(),
        headers: parts.headers,
        body,
    });
    let says = shared.says.lock().unwrap().get(&path).cloned();
    match says.unwrap_or(Says::Status(404)) {
        Says::Json(value) => axum::Json(value).into_response(),
        Says::Status(code) => StatusCode::from_u16(code).unwrap().into_response(),
        Says::RedirectTo(place) => (StatusCode::FOUND, [("location", place)]).into_response(),
        Says::Bytes(count) => {
            format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(count)).into_response()
        }
        Says::Nothing => pending().await,
    }
}
