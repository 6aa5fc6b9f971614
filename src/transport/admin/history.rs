//! The history of changes: the journal with filters, each change with its differences, and undoing
//! one by a call that passes through the pipeline like any write.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path as Segments, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use portkey_journal::{Change, ChangeDetail, ChangeFilter, ChangeOutcome, ChangeScope, Journal};
use portkey_merge_patch::Diff;
use portkey_operation::JsonMap;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::{
    ServerState,
    call::ChangeRow,
    guard::{RequestAccess, SignedIn},
    pages::{self, Frame},
};
use crate::{
    auth::principal::Principal,
    changes::{CHANGE_ARGUMENT, ChangeContext, change_diff},
    mcp::server::Server,
    observability::request::RequestInfo,
    pipeline::approval::{DetailChange, escape_untrusted},
    security::secrets::mask_text,
};

/// Number of changes on a page.
const PAGE_CHANGES: usize = 50;
/// Maximum number of differences on the page of a change.
const MAX_DIFFERENCES: usize = 100;
/// Maximum number of undone changes that are under way, with those that wait for approval.
const MAX_UNDONE: usize = 8;
/// Tool that undoes a change.
const UNDO_TOOL: &str = "undo-change";

/// The journal, and the parts that undo its changes.
#[derive(Debug)]
pub(super) struct History {
    server: Server,
    principal: Option<Arc<Principal>>,
    under_way: Arc<Semaphore>,
}

impl History {
    /// Returns `None` for a server without a journal.
    pub(super) fn new(server: &Server, principal: Option<Arc<Principal>>) -> Option<Self> {
        server.dispatcher().journal()?;
        Some(Self {
            server: server.clone(),
            principal,
            under_way: Arc::new(Semaphore::new(MAX_UNDONE)),
        })
    }

    fn journal(&self) -> Option<&Journal> {
        self.server.dispatcher().journal()
    }

    /// Returns the title of a change, such as `Update a config: pc-support-fallback`.
    fn sentence(&self, change: &Change) -> String {
        let entry = self
            .server
            .dispatcher()
            .catalog()
            .find(&change.head.operation);
        let title = entry.map(|entry| entry.compiled().title());
        let title = title
            .unwrap_or(&change.head.operation)
            .trim_end_matches('.');
        let created = change.result.created.values();
        let ids: Vec<_> = change.head.target.values().chain(created).collect();
        match ids.last() {
            Some(id) => format!("{title}: {}", format_text(id)),
            None => title.to_owned(),
        }
    }
}

#[derive(Template)]
#[template(path = "changes.html")]
struct ChangesPage {
    frame: Frame,
    changes: Vec<ChangeSummary>,
    filter: ChangeQuery,
    is_filtered: bool,
    outcomes: Vec<(&'static str, bool)>,
    /// Query of the next page.
    next: Option<String>,
}

struct ChangeSummary {
    id: String,
    effect: String,
    outcome: &'static str,
    sentence: String,
    fields: String,
    caller: String,
    time: String,
    undoes: Option<String>,
    undone_by: Option<String>,
}

#[derive(Template)]
#[template(path = "change.html")]
struct ChangePage<'a> {
    frame: Frame,
    summary: ChangeSummary,
    changes: Vec<ChangeRow<'a>>,
    more: usize,
    operation: &'a str,
    upstream: Option<String>,
    client: Option<String>,
    status: Option<u16>,
    error: Option<String>,
    unknown_reason: Option<String>,
    token: String,
    /// Reason why the console does not offer to undo the change.
    obstacle: Option<&'static str>,
}

/// Filter of the list. Empty fields count as absent.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ChangeQuery {
    caller: String,
    tool: String,
    target: String,
    outcome: String,
    before: String,
}

#[derive(Deserialize)]
pub(super) struct UndoForm {
    token: String,
}

impl ChangeQuery {
    fn filter(&self, upstreams: Vec<String>) -> ChangeFilter {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        ChangeFilter {
            scope: ChangeScope::Everybody,
            upstreams: Some(upstreams),
            operation: given(&self.tool),
            target: given(&self.target),
            caller: given(&self.caller),
            outcome: ChangeOutcome::from_value(&self.outcome),
            before: given(&self.before),
            limit: PAGE_CHANGES,
            ..ChangeFilter::default()
        }
    }

    /// Returns the query of the page after this change.
    fn next(&self, before: &str) -> String {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let fields = [
            ("caller", &*self.caller),
            ("tool", &self.tool),
            ("target", &self.target),
            ("outcome", &self.outcome),
            ("before", before),
        ];
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let pairs = given.map(|(name, value)| format!("{name}={}", encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

impl ChangeSummary {
    fn new(history: &History, change: &Change) -> Self {
        let head = &change.head;
        let time = change.time_text().replace('T', " ");
        Self {
            id: change.id.clone(),
            effect: format_text(&head.effect),
            outcome: change.outcome.as_str(),
            sentence: history.sentence(change),
            fields: format_text(&head.fields.join(", ")),
            caller: format_text(&head.caller.principal),
            time: time.get(..19).unwrap_or(&time).to_owned(),
            undoes: change.undoes.clone(),
            undone_by: change.undone_by.clone(),
        }
    }
}

/// Lists the changes of all callers.
pub(super) async fn list(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Query(query): Query<ChangeQuery>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    let (history, journal) = find_history(&server, signed_in).await?;
    let upstreams = history.server.dispatcher().upstreams();
    let page = match journal.list(query.filter(upstreams)).await {
        Ok(page) => page,
        Err(error) => {
            let text = format!("The history cannot be read: {error}.");
            return Err(unavailable(&server, signed_in, &text).await);
        }
    };
    let last = page.changes.last().filter(|_| page.has_more);
    let outcomes = ChangeOutcome::ALL.map(ChangeOutcome::as_str);
    let fields = [&query.caller, &query.tool, &query.target, &query.outcome];
    let page = ChangesPage {
        frame: Frame::signed_in(&server, signed_in, "Changes", "changes").await,
        next: last.map(|last| query.next(&last.id)),
        changes: page
            .changes
            .iter()
            .map(|change| ChangeSummary::new(history, change))
            .collect(),
        is_filtered: fields.iter().any(|field| !field.is_empty()),
        outcomes: outcomes
            .into_iter()
            .map(|outcome| (outcome, outcome == query.outcome))
            .collect(),
        filter: query,
    };
    Ok(pages::render(StatusCode::OK, &page))
}

/// Shows one change with its differences.
pub(super) async fn show(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Segments(id): Segments<String>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    let (history, journal) = find_history(&server, signed_in).await?;
    let mut change = find_change(&server, signed_in, journal, &id).await?;
    let dispatcher = history.server.dispatcher();
    match &history.principal {
        Some(principal) => {
            let request_info = RequestInfo::local();
            dispatcher
                .redact_change(principal, &request_info, &mut change)
                .await;
        }
        // There is no caller for whom the policy could be evaluated.
        None if dispatcher.has_policy() => {
            change.answer = None;
            change.detail = Some(ChangeDetail {
                unknown_reason: Some("a policy may hide it".to_owned()),
                ..ChangeDetail::default()
            });
        }
        None => {}
    }
    let diff = match &history.principal {
        Some(principal) => {
            let context = ChangeContext {
                dispatcher,
                principal,
                request_info: &RequestInfo::local(),
            };
            context.made_differences(&change).await
        }
        None => change_diff(&change, dispatcher.catalog()),
    };
    let (details, more) = differences(&change, &diff);
    let summary = ChangeSummary::new(history, &change);
    let page = ChangePage {
        frame: Frame::signed_in(&server, signed_in, &summary.sentence, "changes").await,
        changes: details.iter().map(ChangeRow::new).collect(),
        more,
        operation: &change.head.operation,
        upstream: change.upstream.as_deref().map(format_text),
        client: change.head.caller.client.as_deref().map(format_text),
        status: change.result.status,
        error: change.result.error.as_deref().map(format_text),
        unknown_reason: change
            .detail
            .as_ref()
            .and_then(|detail| detail.unknown_reason.as_deref().map(format_text)),
        token: signed_in.session.issue_form_token(),
        obstacle: obstacle(history, &change),
        summary,
    };
    Ok(pages::render(StatusCode::OK, &page))
}

/// Undoes a change. If that needs approval, it goes on once somebody has decided.
pub(super) async fn undo(
    State(server): State<Arc<ServerState>>,
    Extension(access): Extension<RequestAccess>,
    Segments(id): Segments<String>,
    Form(form): Form<UndoForm>,
) -> Result<Response, Response> {
    let signed_in = access.session().ok_or_else(pages::not_found)?;
    if !signed_in.session.use_form_token(&form.token) {
        let text = "Nothing was done: this form is not one of ours, or was sent before.";
        let status = StatusCode::FORBIDDEN;
        return Err(pages::signed_in_message(&server, signed_in, status, text).await);
    }
    let (history, journal) = find_history(&server, signed_in).await?;
    let change = find_change(&server, signed_in, journal, &id).await?;
    let (Some(principal), None) = (&history.principal, obstacle(history, &change)) else {
        let text = obstacle(history, &change).unwrap_or_default();
        let status = StatusCode::CONFLICT;
        return Err(pages::signed_in_message(&server, signed_in, status, text).await);
    };
    let Ok(permit) = history.under_way.clone().try_acquire_owned() else {
        let text = "Nothing was done: too many changes are being undone already.";
        return Err(unavailable(&server, signed_in, text).await);
    };
    let caller = history.server.clone();
    let principal = principal.clone();
    let person = signed_in.name.clone();
    let args = JsonMap::from_iter([(CHANGE_ARGUMENT.to_owned(), Value::from(id.as_str()))]);
    let (announce, announced) = oneshot::channel();
    // The call goes on while it waits for its approval, and when the browser is gone.
    let call = tokio::spawn(async move {
        let _permit = permit;
        let announce = std::sync::Mutex::new(Some(announce));
        let tell = |ticket: &str| {
            let sender = announce.lock().ok().and_then(|mut sender| sender.take());
            if let Some(sender) = sender {
                // The browser may be gone.
                _ = sender.send(ticket.to_owned());
            }
        };
        let called = caller.call_from_console(&principal, &person, UNDO_TOOL, args, tell);
        let outcome = called.await.map_err(|error| error.to_string());
        if let Err(error) = &outcome {
            tracing::warn!(error, "a change was not undone from the console");
        }
        outcome
    });
    let page = format!("/changes/{id}");
    if let Ok(ticket) = announced.await {
        let note = "To undo the change needs a decision, as any such write does. Once it is approved, the \
                    change is undone.";
        signed_in.session.set_message(note.to_owned());
        return Ok(Redirect::to(&format!("/calls/{ticket}")).into_response());
    }
    let note = match call.await {
        Ok(Ok(answer)) => undone_text(&answer),
        Ok(Err(error)) => format!(
            "The change was not undone: {}.",
            format_text(error.trim_end_matches('.'))
        ),
        Err(_) => "The change may not be undone: the call broke off.".to_owned(),
    };
    signed_in.session.set_message(note);
    Ok(Redirect::to(&page).into_response())
}

/// Returns what an answer of the undo tool says.
fn undone_text(answer: &Value) -> String {
    let texts = |name: &str| -> Vec<String> {
        let list = answer.get(name).and_then(Value::as_array);
        let texts = list.into_iter().flatten();
        texts.filter_map(Value::as_str).map(format_text).collect()
    };
    let mut text = match answer.get("would_undo") {
        Some(_) => "Nothing was sent: this server answers writes with a dry run.".to_owned(),
        None => "The change was undone.".to_owned(),
    };
    let not_restored = texts("not_restored");
    if !not_restored.is_empty() {
        text.push_str(&format!(" Not restored: {}.", not_restored.join(", ")));
    }
    for note in texts("notes") {
        text.push_str(&format!(" {note}"));
    }
    text
}

/// Returns the reason why a change is not undone from here.
fn obstacle(history: &History, change: &Change) -> Option<&'static str> {
    let Some(principal) = &history.principal else {
        return Some(
            "This server has no key of its own, so its callers undo their changes themselves, with undo-change.",
        );
    };
    let dispatcher = history.server.dispatcher();
    let operation = dispatcher.catalog().find(&change.head.operation);
    let upstream = operation
        .ok()
        .and_then(|entry| dispatcher.upstream_of(entry.operation));
    if change.upstream.is_none() {
        return Some(
            "A version made it that did not keep the address of Portkey. If it was this one, its caller can undo it \
             with undo-change and force.",
        );
    }
    if change.upstream != upstream {
        return Some("It was made at another address of Portkey than this server calls.");
    }
    if !change.outcome.may_have_taken_effect() {
        return Some("It changed nothing.");
    }
    if change.undone_by.is_some() {
        return Some("It was undone.");
    }
    match change.head.caller.principal == *principal.name {
        true => None,
        false => Some("It was made by another caller, who can undo it with undo-change."),
    }
}

/// Returns the differences that a change made, and the number of those that are left out.
fn differences(change: &Change, diff: &Diff) -> (Vec<DetailChange>, usize) {
    let detail = change.detail.as_ref();
    let arguments = detail.and_then(|detail| detail.arguments.as_ref());
    if diff.is_empty()
        && change.head.effect == "create"
        && let Some(arguments) = arguments
    {
        let set = arguments.iter().take(MAX_DIFFERENCES);
        let set =
            set.map(|(name, value)| DetailChange::from_values(name, (None, Some(value)), None));
        return (
            set.collect(),
            arguments.len().saturating_sub(MAX_DIFFERENCES),
        );
    }
    if diff.is_empty()
        && change.head.effect == "delete"
        && let Some(Value::Object(before)) = detail.and_then(|detail| detail.before.as_ref())
    {
        let gone = before.iter().filter(|(_, value)| !value.is_null());
        let gone: Vec<_> = gone
            .map(|(name, value)| DetailChange::from_values(name, (Some(value), None), None))
            .collect();
        return (gone, 0);
    }
    let listed = diff.changes.iter().take(MAX_DIFFERENCES).map(|change| {
        let values = (change.old.as_ref(), change.new.as_ref());
        let lines = change.line_diff();
        DetailChange::from_values(&change.path.to_string(), values, lines.as_deref())
    });
    let more = diff.changes.len().saturating_sub(MAX_DIFFERENCES) + diff.omitted;
    (listed.collect(), more)
}

async fn find_history<'a>(
    server: &'a ServerState,
    signed_in: &SignedIn,
) -> Result<(&'a History, &'a Journal), Response> {
    let found = server
        .history()
        .and_then(|history| Some((history, history.journal()?)));
    match found {
        Some(found) => Ok(found),
        None => {
            let text = "This server keeps no history of changes: give --journal FILE or --journal-url URL.";
            let status = StatusCode::NOT_FOUND;
            Err(pages::signed_in_message(server, signed_in, status, text).await)
        }
    }
}

async fn find_change(
    server: &ServerState,
    signed_in: &SignedIn,
    journal: &Journal,
    id: &str,
) -> Result<Change, Response> {
    match journal.get(id, ChangeScope::Everybody).await {
        Ok(Some(change)) => Ok(change),
        Ok(None) => {
            let text = "There is no such change, or not any more.";
            let status = StatusCode::NOT_FOUND;
            Err(pages::signed_in_message(server, signed_in, status, text).await)
        }
        Err(error) => {
            let text = format!("The history cannot be read: {error}.");
            Err(unavailable(server, signed_in, &text).await)
        }
    }
}

async fn unavailable(server: &ServerState, signed_in: &SignedIn, text: &str) -> Response {
    pages::signed_in_message(server, signed_in, StatusCode::SERVICE_UNAVAILABLE, text).await
}

/// Returns a text as it may be shown: without keys, on one line.
fn format_text(text: &str) -> String {
    escape_untrusted(&mask_text(text))
}
