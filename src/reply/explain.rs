//! An upstream's refusals in words: what it said, what that usually means, what to do next.
//!
//! The causes are those of errors.md §2 and §3, and of enkrypt.md §4.

use std::fmt::Write;

use http::StatusCode;

use crate::{
    operation::{Operation, Plan, Upstream},
    portkey::{Kind, Refusal},
};

/// One refusal, told in full.
pub(super) fn refusal(operation: &Operation, refusal: &Refusal) -> String {
    let (us, status) = (operation.base().upstream(), refusal.status.as_u16());
    let mut text = format!("{us} answered `{}` with {status}", operation.name());
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
    for warning in &refusal.warnings {
        _ = write!(text, "\nWarning: {warning}");
    }
    text
}

fn meaning(operation: &Operation, refusal: &Refusal) -> String {
    let (upstream, status) = (operation.base().upstream(), refusal.status);
    // These say the same whoever answers, and proxies often do.
    if let Some(text) = from_in_between(operation, status) {
        return text;
    }
    match refusal.kind {
        Kind::NoSuchRoute => {
            "This base URL has no such endpoint. Check --base-url (PORTKEY_BASE_URL): it ends in /v1, \
             and a self-hosted control plane has its own address."
                .to_owned()
        }
        Kind::Stranger => format!(
            "That is not how {upstream} answers; a proxy or another server did. Check {} and the \
             network, then call again.",
            upstream.address_settings()
        ),
        Kind::InBody => {
            "The request arrived and was carried out; its result is the failure above. Mend the cause \
             it names, then call again."
                .to_owned()
        }
        Kind::Plain if status.is_redirection() => format!(
            "Redirects are not followed, so that the key goes nowhere else. Set {} to the final \
             address.",
            upstream.address_settings()
        ),
        Kind::Plain => match upstream {
            Upstream::Portkey => from_portkey(operation, status),
            Upstream::Enkrypt => from_enkrypt(status).to_owned(),
        },
    }
}

fn from_in_between(operation: &Operation, status: StatusCode) -> Option<String> {
    let upstream = operation.base().upstream();
    let text = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            format!("The request is too large for {upstream}. Send less at once.")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            "Too many requests for now. Wait a while before calling again, and ask for more per page."
                .to_owned()
        }
        status if status.is_server_error() && operation.repeatable() => format!(
            "The fault is {upstream}'s or lies in between. Call again in a while; if it stays, quote \
             the request id to {upstream}."
        ),
        status if status.is_server_error() => format!(
            "The fault is {upstream}'s or lies in between, and the call may have taken effect: look \
             before making it again."
        ),
        _ => return None,
    };
    Some(text)
}

fn from_portkey(operation: &Operation, status: StatusCode) -> String {
    let fixed = match status {
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
        _ => "Look at Portkey's message above; calling again unchanged will hardly help.",
    };
    fixed.to_owned()
}

/// The statuses of enkrypt.md §4.
const fn from_enkrypt(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            "Enkrypt AI found a name too long or a field wrong. Change the argument its message names; \
             the same arguments will be refused again."
        }
        StatusCode::UNAUTHORIZED => {
            "The Enkrypt AI key is wrong or revoked. Check ENKRYPT_API_KEY, which is another key than \
             Portkey's; calling again will not help."
        }
        StatusCode::FORBIDDEN => {
            "The Enkrypt AI key is good, but not for this: it belongs to another project or \
             organisation. Check `project`, then the key."
        }
        StatusCode::NOT_FOUND => {
            "Nothing has this name, this version and this project all at once. Check the saved name; \
             give the version if it is not `v1`, and the project if it is not the key's own."
        }
        _ => "Look at Enkrypt AI's message above; calling again unchanged will hardly help.",
    }
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
