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
    call::{Call, parse_query},
    caller::Caller,
    crud::Outcome,
    domains::audit_logs,
    faults::{Fault, Faults},
    line::Line,
    refusal::Refusal,
    route::{Routes, Version},
    store::{Item, Store, weigh, weigh_fields},
};

/// Maximum size of a request body in bytes.
const LARGEST_BODY: usize = 8 * 1024 * 1024;

/// Maximum number of items in a list body.
const LONGEST_LIST: usize = 1_000;

/// Response of a proxy in front of Portkey when Portkey does not respond.
const PROXY_PAGE: &str = "<html><body><h1>The service is not available</h1></body></html>\n";

/// State shared by all requests.
pub(crate) struct Service {
    /// Routes of all domains.
    pub(crate) routes: Routes,
    /// Stored items.
    pub(crate) store: Mutex<Store>,
    /// Faults to inject.
    pub(crate) faults: Faults,
    /// Number of requests so far.
    pub(crate) count: AtomicU64,
}

/// Handles one request.
pub(crate) async fn answer(
    State(service): State<Arc<Service>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let count = service.count.fetch_add(1, Ordering::Relaxed);
    let enkrypt = Version::of(request.uri().path()) == Some(Version::Enkrypt);
    if !service.faults.latency().is_zero() {
        tokio::time::sleep(service.faults.latency()).await;
    }
    let fault = service.faults.strike(count);
    let outcome = match fault {
        Some(Fault::Answer(answer)) => Err(Refusal::Fault(answer.status)),
        Some(Fault::Reset) => {
            line.cut();
            // The response never arrives, but the abort only takes effect on the next write.
            Err(Refusal::Fault(StatusCode::BAD_GATEWAY))
        }
        Some(Fault::Lost) => {
            let outcome = service.carry_out(request, &request_id(count)).await;
            line.cut();
            outcome
        }
        None => service.carry_out(request, &request_id(count)).await,
    };
    tracing::trace!(count, refused = outcome.is_err(), "sandbox answered");
    let mut response = render(outcome, enkrypt);
    let headers = response.headers_mut();
    if !enkrypt && let Ok(id) = HeaderValue::try_from(request_id(count)) {
        headers.insert("x-portkey-request-id", id);
    }
    if let Some(Fault::Answer(answer)) = fault
        && let Some(seconds) = answer.retry_after
    {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

impl Service {
    async fn carry_out(&self, request: Request, id: &str) -> Outcome {
        let (head, body) = request.into_parts();
        let enkrypt = Version::of(head.uri.path()) == Some(Version::Enkrypt);
        let key = match enkrypt {
            true => check_enkrypt_key(&head.headers).map(|()| None)?,
            false if self.routes.is_public(&head.method, head.uri.path()) => None,
            false => Some(key(&head.headers)?),
        };
        let found = self.routes.find(&head.method, head.uri.path());
        let (action, path) = found.ok_or(match enkrypt {
            true => Refusal::NotFound("Endpoint"),
            false => Refusal::NoSuchRoute,
        })?;
        let rule = action.body();
        let (body, list) = match read_body(&head, body, rule.required).await? {
            Value::Object(body) => (body, None),
            Value::Array(list) if rule.takes_list => (Item::new(), Some(list)),
            _ => return Err(Refusal::Invalid("The body is not a JSON object".to_owned())),
        };
        let query = parse_query(head.uri.query().unwrap_or_default());
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if head.method != Method::GET {
            let brings = list.iter().flatten().map(weigh).sum::<usize>() + weigh_fields(&body);
            store.check_bounds(head.method == Method::DELETE, brings)?;
            if list.as_ref().is_some_and(|list| list.len() > LONGEST_LIST) {
                let told = format!("The sandbox takes at most {LONGEST_LIST} items at once");
                return Err(Refusal::Invalid(told));
            }
        }
        let caller = key.map_or_else(|| Ok(Caller::default()), |key| Caller::new(&store, key))?;
        let headers = head.headers.clone();
        let mut call = Call {
            caller: caller.clone(),
            path,
            headers,
            query,
            body,
            list,
        };
        caller.confine(&mut call, action);
        let path = Version::strip(head.uri.path());
        let outcome = caller
            .authorize(&head.method, path)
            .and_then(|()| caller.check_item(&store, &head.method, path, &call))
            .and_then(|()| call.check_place(&store))
            .and_then(|()| action.run(&mut store, &call));
        // Portkey's audit log does not contain calls to Enkrypt AI.
        if head.method != Method::GET && !enkrypt {
            let status = outcome
                .as_ref()
                .map_or_else(Refusal::status, |_| StatusCode::OK);
            audit_logs::record(&mut store, &head, &call, status, id);
        }
        store.settle();
        if head.method != Method::GET && outcome.is_ok() {
            store.clock.tick();
        }
        outcome
    }
}

/// Formats the id of a request for its response and the audit log.
fn request_id(count: u64) -> String {
    format!("sandbox-{count:08}")
}

/// Returns the key of a request. Any key is valid, but there must be one.
fn key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let keys = [text("x-portkey-api-key"), bearer].into_iter().flatten();
    let mut keys = keys.map(str::trim).filter(|key| !key.is_empty());
    keys.next().ok_or(Refusal::Unauthorised(
        "x-portkey-api-key or as a bearer token",
    ))
}

/// Checks that a key for Enkrypt AI is present. Any key is valid, but Portkey's header does not
/// count.
fn check_enkrypt_key(headers: &HeaderMap) -> Result<(), Refusal> {
    let key = headers.get("apikey").and_then(|value| value.to_str().ok());
    match key.is_some_and(|key| !key.trim().is_empty()) {
        true => Ok(()),
        false => Err(Refusal::Unauthorised("apikey")),
    }
}

/// Parses the body as JSON; an empty object if there is none and none is required.
async fn read_body(head: &Parts, body: Body, required: bool) -> Outcome {
    if head.method == Method::GET {
        return Ok(Value::Object(Item::new()));
    }
    let bytes = to_bytes(body, LARGEST_BODY)
        .await
        .map_err(|_| Refusal::TooLarge)?;
    if bytes.is_empty() {
        return match required {
            true => Err(Refusal::Invalid("The request has no body".to_owned())),
            false => Ok(Value::Object(Item::new())),
        };
    }
    let written = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    // The API ignores a body that is not declared as JSON.
    if !written.is_some_and(|media| media.trim_start().starts_with("application/json")) {
        return Err(Refusal::Invalid(
            "The body must be sent as application/json".to_owned(),
        ));
    }
    let mut value = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::Invalid(format!("The body is not JSON: {error}")))?;
    make_whole(&mut value);
    Ok(value)
}

/// Converts integral floats to integers, because the API is written in JavaScript, where `2.0` is
/// `2`.
fn make_whole(value: &mut Value) {
    /// Largest float up to which all integers are exact.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            if float.fract() == 0.0 && float.abs() <= MAX_EXACT {
                *value = (float as i64).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        _ => {}
    }
}

fn render(outcome: Outcome, enkrypt: bool) -> Response {
    let (status, body) = match outcome {
        Ok(answer) => (StatusCode::OK, Some(answer)),
        Err(refusal) if enkrypt => (refusal.status(), refusal.enkrypt_body()),
        Err(refusal) => (refusal.status(), refusal.body()),
    };
    let (media, bytes) = match body {
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
