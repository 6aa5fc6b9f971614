//! HTTP layer of the sandbox: keys, faults, bodies, and the error format of each API.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::Value;

use super::{
    api_error::ApiError,
    call::{ApiCall, parse_query},
    caller::Caller,
    connection::ConnectionHandle,
    crud::ApiResult,
    domains::audit_logs,
    faults::{Faults, InjectedFault},
    route::{ApiVersion, Routes},
    store::{Item, Store, estimate_fields_bytes, estimate_value_bytes},
};

/// Maximum size of a request body in bytes.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// Maximum number of items in a list body.
const MAX_LIST_ITEMS: usize = 1_000;

/// Response of a proxy in front of Portkey when Portkey does not respond.
const PROXY_PAGE: &str = "<html><body><h1>The service is not available</h1></body></html>\n";

/// State shared by all requests.
pub(crate) struct SandboxService {
    /// Routes of all domains.
    pub(crate) routes: Routes,
    /// Stored items.
    pub(crate) store: Mutex<Store>,
    /// Faults to inject.
    pub(crate) faults: Faults,
    /// Number of requests so far.
    pub(crate) request_count: AtomicU64,
}

/// Handles one request.
pub(crate) async fn handle_request(
    State(service): State<Arc<SandboxService>>,
    ConnectInfo(line): ConnectInfo<ConnectionHandle>,
    request: Request,
) -> Response {
    let count = service.request_count.fetch_add(1, Ordering::Relaxed);
    let enkrypt = ApiVersion::from_path(request.uri().path()) == Some(ApiVersion::Enkrypt);
    if !service.faults.latency().is_zero() {
        tokio::time::sleep(service.faults.latency()).await;
    }
    let fault = service.faults.fault_for_request(count);
    let outcome = match fault {
        Some(InjectedFault::Error(answer)) => Err(ApiError::InjectedFault(answer.status)),
        Some(InjectedFault::ConnectionReset) => {
            line.abort();
            // The response never arrives, but the abort only takes effect on the next write.
            Err(ApiError::InjectedFault(StatusCode::BAD_GATEWAY))
        }
        Some(InjectedFault::ResponseLost) => {
            let outcome = service.execute(request, &format_request_id(count)).await;
            line.abort();
            outcome
        }
        None => service.execute(request, &format_request_id(count)).await,
    };
    tracing::trace!(count, refused = outcome.is_err(), "sandbox answered");
    let mut response = render_response(outcome, enkrypt);
    let headers = response.headers_mut();
    if !enkrypt && let Ok(id) = HeaderValue::try_from(format_request_id(count)) {
        headers.insert("x-portkey-request-id", id);
    }
    if let Some(InjectedFault::Error(answer)) = fault
        && let Some(seconds) = answer.retry_after
    {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

impl SandboxService {
    async fn execute(&self, request: Request, id: &str) -> ApiResult {
        let (head, body) = request.into_parts();
        let enkrypt = ApiVersion::from_path(head.uri.path()) == Some(ApiVersion::Enkrypt);
        let key = match enkrypt {
            true => check_enkrypt_key(&head.headers).map(|()| None)?,
            false if self.routes.is_public(&head.method, head.uri.path()) => None,
            false => Some(api_key(&head.headers)?),
        };
        let found = self.routes.find(&head.method, head.uri.path());
        let (action, path) = found.ok_or(match enkrypt {
            true => ApiError::NoSuchEnkryptRoute,
            false => ApiError::NoSuchRoute,
        })?;
        let rule = action.body_rule();
        let (body, list) = match read_body(&head, body, rule.required).await? {
            Value::Object(body) => (body, None),
            Value::Array(list) if rule.allows_list => (Item::new(), Some(list)),
            _ => {
                return Err(ApiError::Invalid(
                    "The body is not a JSON object".to_owned(),
                ));
            }
        };
        let query = parse_query(head.uri.query().unwrap_or_default());
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if head.method != Method::GET {
            let brings = list
                .iter()
                .flatten()
                .map(estimate_value_bytes)
                .sum::<usize>()
                + estimate_fields_bytes(&body);
            store.check_limits(head.method == Method::DELETE, brings)?;
            if list
                .as_ref()
                .is_some_and(|list| list.len() > MAX_LIST_ITEMS)
            {
                let message = format!("The sandbox takes at most {MAX_LIST_ITEMS} items at once");
                return Err(ApiError::Invalid(message));
            }
        }
        let caller = key.map_or_else(|| Ok(Caller::default()), |key| Caller::new(&store, key))?;
        let headers = head.headers.clone();
        let mut call = ApiCall {
            caller: caller.clone(),
            path,
            headers,
            query,
            body,
            list,
        };
        caller.confine_to_workspace(&mut call, action);
        let path = ApiVersion::strip_version(head.uri.path());
        let outcome = caller
            .authorize(&head.method, path)
            .and_then(|()| caller.authorize_item(&store, &head.method, path, &call))
            .and_then(|()| call.check_scope(&store))
            .and_then(|()| action.run(&mut store, &call));
        // Portkey's audit log does not contain calls to Enkrypt AI.
        if head.method != Method::GET && !enkrypt {
            let status = outcome
                .as_ref()
                .map_or_else(ApiError::status, |_| StatusCode::OK);
            audit_logs::record(&mut store, &head, &call, status, id);
        }
        store.update_usage();
        if head.method != Method::GET && outcome.is_ok() {
            store.clock.tick();
        }
        outcome
    }
}

/// Formats the id of a request for its response and the audit log.
fn format_request_id(count: u64) -> String {
    format!("sandbox-{count:08}")
}

/// Returns the key of a request. Any key is valid, but there must be one.
fn api_key(headers: &HeaderMap) -> Result<&str, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let keys = [text("x-portkey-api-key"), bearer].into_iter().flatten();
    let mut keys = keys.map(str::trim).filter(|key| !key.is_empty());
    keys.next().ok_or(ApiError::MissingKey(
        "x-portkey-api-key or as a bearer token",
    ))
}

/// Checks that a key for Enkrypt AI is present. Any key is valid, but Portkey's header does not
/// count.
fn check_enkrypt_key(headers: &HeaderMap) -> Result<(), ApiError> {
    let key = headers.get("apikey").and_then(|value| value.to_str().ok());
    match key.is_some_and(|key| !key.trim().is_empty()) {
        true => Ok(()),
        false => Err(ApiError::MissingKey("apikey")),
    }
}

/// Parses the body as JSON; an empty object if there is none and none is required.
async fn read_body(head: &Parts, body: Body, required: bool) -> ApiResult {
    if head.method == Method::GET {
        return Ok(Value::Object(Item::new()));
    }
    let bytes = to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| ApiError::BodyTooLarge)?;
    if bytes.is_empty() {
        return match required {
            true => Err(ApiError::Invalid("The request has no body".to_owned())),
            false => Ok(Value::Object(Item::new())),
        };
    }
    let written = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    // The API ignores a body that is not declared as JSON.
    if !written.is_some_and(|media| media.trim_start().starts_with("application/json")) {
        return Err(ApiError::Invalid(
            "The body must be sent as application/json".to_owned(),
        ));
    }
    let mut value = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::Invalid(format!("The body is not JSON: {error}")))?;
    normalise_integers(&mut value);
    Ok(value)
}

/// Converts integral floats to integers, because the API is written in JavaScript, where `2.0` is
/// `2`.
fn normalise_integers(value: &mut Value) {
    /// Largest float up to which all integers are exact.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            if float.fract() == 0.0 && float.abs() <= MAX_EXACT {
                *value = (float as i64).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalise_integers),
        Value::Object(fields) => fields.values_mut().for_each(normalise_integers),
        _ => {}
    }
}

fn render_response(outcome: ApiResult, enkrypt: bool) -> Response {
    let (status, body) = match outcome {
        Ok(answer) => (StatusCode::OK, Some(answer)),
        Err(refusal) if enkrypt => (refusal.status(), refusal.enkrypt_body()),
        Err(refusal) => (refusal.status(), refusal.portkey_body()),
    };
    let (media, bytes) = match body {
        // No route of the APIs answers with a text; files do.
        Some(Value::String(file)) => ("application/jsonl", file.into()),
        Some(body) => ("application/json", to_json(&body)),
        None => ("text/html", Bytes::from_static(PROXY_PAGE.as_bytes())),
    };
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn to_json(value: &Value) -> Bytes {
    // Serialising a `Value` cannot fail.
    serde_json::to_vec(value).unwrap_or_default().into()
}
