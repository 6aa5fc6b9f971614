//! Portkey's refusals in words: what it said, what that usually means, what to do next.
//!
//! The causes are those of errors.md §2 and §3.

use std::fmt::Write;

use http::StatusCode;

use crate::{
    operation::{Operation, Plan},
    portkey::{Kind, Refusal},
};

/// One refusal, told in full.
pub(super) fn refusal(operation: &Operation, refusal: &Refusal) -> String {
    let mut text =
        format!("Portkey answered `{}` with {}", operation.name(), refusal.status.as_u16());
    // Writing to a string cannot fail.
    if let Some(code) = &refusal.code {
        _ = write!(text, " {code}");
    }
    _ = write!(text, ": {}", refusal.message);
    if let Some(id) = &refusal.request_id {
        _ = write!(text, " (request id {id})");
    }
    if refusal.attempts > 1 {
        _ = write!(text, ", after {} attempts", refusal.attempts);
    }
    _ = write!(text, "\n{}", meaning(operation, refusal));
    text
}

fn meaning(operation: &Operation, refusal: &Refusal) -> String {
    // These say the same whoever answers, and proxies often do.
    let plain = refusal.status == StatusCode::PAYLOAD_TOO_LARGE
        || refusal.status == StatusCode::TOO_MANY_REQUESTS
        || refusal.status.is_server_error();
    match refusal.kind {
        _ if plain => {}
        Kind::NoSuchRoute => {
            return "This base URL has no such endpoint. Check --base-url (PORTKEY_BASE_URL): it ends \
                    in /v1, and a self-hosted control plane has its own address."
                .to_owned();
        }
        Kind::NotPortkey => {
            return "That is not how Portkey answers; a proxy or another server did. Check \
                    --base-url and the network, then call again."
                .to_owned();
        }
        Kind::InBody => {
            return "The request arrived and was carried out; its result is the failure above. Mend \
                    the cause it names, then call again."
                .to_owned();
        }
        Kind::Plain => {}
    }
    let fixed = match refusal.status {
        StatusCode::FORBIDDEN => return forbidden(operation),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            "Portkey found a field missing or wrong. Change the argument it names and call again; \
             the same arguments will be refused again."
        }
        StatusCode::UNAUTHORIZED => {
            "The key is wrong, revoked or meant for another Portkey. Check PORTKEY_API_KEY and that \
             it belongs to this base URL; calling again will not help."
        }
        StatusCode::PAYMENT_REQUIRED => {
            "The Portkey subscription is exhausted. Someone with access to billing has to renew it."
        }
        StatusCode::NOT_FOUND => {
            "There is no such resource for this key. List the resources to find the right id or slug."
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            "This Portkey does not offer the operation; it may be older than the API described here."
        }
        StatusCode::CONFLICT => {
            "Something of that name or slug exists, or something else still depends on this one. \
             Choose another slug, or remove what depends on it first."
        }
        StatusCode::PRECONDITION_FAILED => {
            "A budget is exhausted: of the key, the provider or the workspace. Raise it, or wait for \
             its reset."
        }
        StatusCode::PAYLOAD_TOO_LARGE => "The request is too large for Portkey. Send less at once.",
        StatusCode::TOO_MANY_REQUESTS => {
            "Too many requests for now. Wait a while before calling again, and ask for more per page."
        }
        status if status.is_redirection() => {
            "Redirects are not followed, so that the key goes nowhere else. Set --base-url \
             (PORTKEY_BASE_URL) to the final address."
        }
        status if status.is_server_error() && operation.repeatable() => {
            "The fault is Portkey's or lies in between. Call again in a while; if it stays, quote \
             the request id to Portkey."
        }
        status if status.is_server_error() => {
            "The fault is Portkey's or lies in between, and the call may have taken effect: look \
             before making it again."
        }
        _ => "Look at Portkey's message above; calling again unchanged will hardly help.",
    };
    fixed.to_owned()
}

/// One body for five causes (errors.md §3).
fn forbidden(operation: &Operation) -> String {
    let scopes = match operation.needs_scopes() {
        [] => String::new(),
        [only] => format!(" (it needs `{only}`)"),
        several => format!(" (it needs `{}`)", several.join("` or `")),
    };
    let plan = match operation.plan() {
        Plan::Any => "the plan does not include it",
        Plan::Enterprise => "the plan is below Enterprise, which this operation needs",
    };
    format!(
        "It means one of five things: the key lacks the scope{scopes}; an Admin key named no \
         `workspace_id`, or another workspace's; {plan}; a security setting of the organisation hides \
         it; or the resource does not exist. Check the id first, then the key."
    )
}
