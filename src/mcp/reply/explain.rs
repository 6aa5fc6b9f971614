//! Explains upstream errors: the upstream's message, its usual meaning and the next step.
//!
//! A cause that the upstream names comes first, and then no other is suggested.

use std::fmt::Write;

use http::StatusCode;
use portkey_operation::{Effect, Operation, Plan, Upstream};

use crate::upstream::{KeyHolder, UpstreamError, UpstreamErrorKind, is_generic};

/// Quotation marks around a name in a message.
const QUOTES: [&str; 3] = ["`", "'", "\""];

/// Describes an upstream error in full.
pub(super) fn explain_upstream_error(operation: &Operation, refusal: &UpstreamError) -> String {
    let us = operation.base().upstream();
    let status = refusal.status.as_u16();
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
    for detail in &refusal.details {
        _ = write!(text, "\n- {detail}");
    }
    if refusal.more_details > 0 {
        _ = write!(text, "\n- and {} more", refusal.more_details);
    }
    if let Some(meaning) = explain_meaning(operation, refusal) {
        _ = write!(text, "\n{meaning}");
    }
    let doubt = refusal.call.retry_safety;
    if doubt.writes && refusal.may_have_taken_effect() {
        _ = write!(text, "\n{doubt}.");
    }
    for warning in &refusal.call.warnings {
        _ = write!(text, "\nWarning: {warning}");
    }
    text
}

/// Explains the meaning of an upstream error and the next step; `None` if the upstream's message is
/// sufficient.
fn explain_meaning(operation: &Operation, refusal: &UpstreamError) -> Option<String> {
    let upstream = operation.base().upstream();
    let status = refusal.status;
    // These mean the same from any server, and proxies often send them.
    if let Some(text) =
        explain_intermediary_status(upstream, status, refusal.call.retry_safety.writes)
    {
        return Some(text);
    }
    let text = match refusal.kind {
        UpstreamErrorKind::NoSuchRoute => {
            "This base URL has no such endpoint. Check --base-url (PORTKEY_BASE_URL): it ends in /v1, \
             and a self-hosted control plane has its own address."
                .to_owned()
        }
        UpstreamErrorKind::UnrecognizedResponse => {
            let then = if refusal.call.retry_safety.writes { "" } else { ", then call again" };
            format!(
                "That is not how {upstream} answers; a proxy or another server did. Check {} and the \
                 network{then}.",
                upstream.address_settings()
            )
        }
        UpstreamErrorKind::FailureInBody => {
            "The request arrived and was carried out; its result is the failure above.".to_owned()
        }
        UpstreamErrorKind::ErrorStatus if status.is_redirection() => format!(
            "Redirects are not followed, so that the key goes nowhere else. Set {} to the final \
             address.",
            upstream.address_settings()
        ),
        UpstreamErrorKind::ErrorStatus => return explain_status(operation, refusal),
    };
    Some(text)
}

/// Explains a status code, unless the upstream has named a cause.
fn explain_status(operation: &Operation, refusal: &UpstreamError) -> Option<String> {
    let upstream = operation.base().upstream();
    let cause = !refusal.details.is_empty() || !is_generic(&refusal.message);
    match (refusal.status, upstream) {
        (StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY, _) => {
            Some(explain_invalid_request(refusal, cause))
        }
        (StatusCode::UNAUTHORIZED, _) => Some(explain_unauthorized(operation, refusal, cause)),
        (StatusCode::FORBIDDEN | StatusCode::CONFLICT, _) if cause => None,
        (StatusCode::FORBIDDEN, Upstream::Portkey) => Some(explain_forbidden(operation, refusal)),
        (status, Upstream::Portkey) => Some(explain_portkey_status(operation, status).to_owned()),
        (status, Upstream::Enkrypt) => Some(explain_enkrypt_status(status).to_owned()),
    }
}

/// Explains how to correct an invalid request, by the argument that the upstream names if there is
/// one.
fn explain_invalid_request(refusal: &UpstreamError, cause: bool) -> String {
    const AGAIN: &str = "the same arguments will be refused again";
    match (find_named_argument(refusal), cause) {
        (Some(name), _) => format!("Change `{name}` and call again; {AGAIN}."),
        (None, true) => format!("Change what it names; {AGAIN}."),
        (None, false) => format!(
            "It does not say which argument is wrong. Check each against the description of the tool; \
             {AGAIN}."
        ),
    }
}

/// Returns the argument that the upstream error is about.
fn find_named_argument(refusal: &UpstreamError) -> Option<&str> {
    let names = &refusal.call.argument_names;
    let known = |word: &str| {
        names
            .iter()
            .find(|name| name.eq_ignore_ascii_case(word))
            .map(String::as_str)
    };
    let step = |place: &str| place.split(['.', '[', ']']).rev().find_map(known);
    let placed = refusal.details.iter().find_map(|detail| step(&detail.path));
    let texts = || {
        let details = refusal.details.iter().map(|detail| &*detail.text);
        [&*refusal.message].into_iter().chain(details)
    };
    placed.or_else(|| texts().find_map(|text| argument_candidates(text).find_map(known)))
}

/// Returns the words of a text that may be names of arguments.
///
/// Every word that looks like an identifier counts. An English word counts only if it is quoted or
/// is the subject of the text.
fn argument_candidates(text: &str) -> impl Iterator<Item = &str> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut end = 0;
    text.split(move |c: char| !is_letter(c))
        .filter(move |word| {
            let start = end;
            end = start + word.len() + 1;
            let before = text.get(..start).unwrap_or_default();
            let after = text.get(start + word.len()..).unwrap_or_default();
            let is_quoted = QUOTES
                .iter()
                .any(|mark| before.ends_with(mark) && after.starts_with(mark));
            let is_subject = start == 0;
            let is_name = word.contains('_')
                || word.chars().skip(1).any(|c| c.is_ascii_uppercase())
                    && word.chars().any(|c| c.is_ascii_lowercase());
            !word.is_empty() && (is_quoted || is_subject || is_name)
        })
}

/// Explains a rejected key by its owner, and names other possible causes.
fn explain_unauthorized(operation: &Operation, refusal: &UpstreamError, cause: bool) -> String {
    let upstream = operation.base().upstream();
    let call = &refusal.call;
    // Reported of the live API in demisto/content#45228.
    if call.has_organisation && operation.path() == "/audit-logs" {
        return "Leave out `organisation_id` and call again: Portkey answers audit logs that name it as if \
                the key were wrong, and it knows the organisation by the key."
            .to_owned();
    }
    let why = match (cause, upstream) {
        (true, _) => String::new(),
        (false, Upstream::Portkey) => {
            "The key is wrong, revoked, expired or meant for another Portkey. ".to_owned()
        }
        (false, Upstream::Enkrypt) => {
            "The Enkrypt AI key is wrong or revoked; it is another key than Portkey's. ".to_owned()
        }
    };
    let key = upstream.key_settings();
    let address = upstream.address_settings();
    match call.key_holder {
        KeyHolder::Local if cause => {
            format!("The key is that of {key}; calling again with it will not help.")
        }
        KeyHolder::Local => format!(
            "{why}Check {key}, and that the key belongs to the address of {address}; calling again will \
             not help."
        ),
        KeyHolder::Request => format!(
            "{why}The key came with this request: send a {upstream} key that is valid; calling again with \
             the same one will not help."
        ),
        KeyHolder::Operator => format!(
            "{why}The key is one that this server holds for you: tell its operator, who sets {key}; \
             calling again will not help."
        ),
    }
}

fn explain_intermediary_status(
    upstream: Upstream,
    status: StatusCode,
    writes: bool,
) -> Option<String> {
    let text = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            format!("The request is too large for {upstream}. Send less at once.")
        }
        StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => format!(
            "The arguments make the address of the request too long for {upstream}. Pass fewer or shorter \
             values, in several calls if need be."
        ),
        StatusCode::TOO_MANY_REQUESTS => {
            "Too many requests for now. Wait a while before calling again, and ask for more per page."
                .to_owned()
        }
        status if status.is_server_error() && writes => {
            format!("The fault is {upstream}'s or lies in between.")
        }
        status if status.is_server_error() => format!(
            "The fault is {upstream}'s or lies in between. Call again in a while; if it stays, quote \
             the request id to {upstream}."
        ),
        _ => return None,
    };
    Some(text)
}

/// Explains a status code of Portkey.
fn explain_portkey_status(operation: &Operation, status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYMENT_REQUIRED => {
            "The Portkey subscription is exhausted. Someone with access to billing has to renew it."
        }
        StatusCode::NOT_FOUND => {
            "There is no such resource for this key. List the resources to find the right id or slug."
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            "This Portkey does not offer the operation; it may be older than the API described here."
        }
        StatusCode::CONFLICT => match operation.effect() {
            Effect::Delete => "Something still depends on it. Remove that first, then call again.",
            Effect::Create => "Something of that name or slug exists. Choose another slug or name.",
            Effect::Read | Effect::Update => {
                "Something of that name or slug exists, or something else still depends on this one. \
                 Choose another slug, or remove what depends on it first."
            }
        },
        StatusCode::PRECONDITION_FAILED => {
            "A budget is exhausted: of the key, the provider or the workspace. Raise it, or wait for \
             its reset."
        }
        _ => "Look at Portkey's message above; calling again unchanged will hardly help.",
    }
}

/// Explains a status code of Enkrypt AI.
const fn explain_enkrypt_status(status: StatusCode) -> &'static str {
    match status {
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

/// Lists the causes for which Portkey sends one and the same 403 body, without those that the call
/// excludes.
fn explain_forbidden(operation: &Operation, refusal: &UpstreamError) -> String {
    let call = &refusal.call;
    let mut causes = Vec::new();
    causes.push(match operation.required_scopes() {
        [] => "the key lacks the scope".to_owned(),
        [only] => format!("the key lacks the scope (it needs `{only}`)"),
        several => format!(
            "the key lacks the scope (it needs `{}`)",
            several.join("` or `")
        ),
    });
    let takes_workspace = call
        .argument_names
        .iter()
        .any(|name| name == "workspace_id");
    causes.push(match (call.has_workspace, takes_workspace) {
        (true, _) => {
            "the key is of another workspace than the `workspace_id` of the call".to_owned()
        }
        (false, true) => "it is an Admin key, and the call named no `workspace_id`".to_owned(),
        (false, false) => "the key is of another workspace".to_owned(),
    });
    if operation.plan() == Plan::Enterprise {
        causes.push("the plan is below Enterprise, which this operation needs".to_owned());
    }
    causes.push("a security setting of the organisation hides it".to_owned());
    let has_target = operation.placeholders().next().is_some();
    if has_target {
        causes.push("the resource does not exist".to_owned());
    }
    let first = if has_target {
        "the id"
    } else {
        "the arguments"
    };
    let count = match causes.len() {
        3 => "three",
        4 => "four",
        _ => "five",
    };
    let last = causes.pop().unwrap_or_default();
    let others = causes.join("; ");
    format!(
        "It means one of {count} things: {others}; or {last}. Check {first} first, then the key."
    )
}
