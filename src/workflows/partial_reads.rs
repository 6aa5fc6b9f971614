//! Reads of a report that goes on without what it may not see, bounded in number.

use portkey_operation::JsonMap;
use serde_json::Value;

use super::Steps;
use crate::pipeline::CallError;

/// Maximum number of notes in an answer, and length of one in characters.
const MAX_NOTES: usize = 8;
const MAX_NOTE_CHARS: usize = 240;
/// Maximum number of pages that are read of one list.
const MAX_PAGES: u64 = 8;
/// HTTP status with which lists that need a workspace refuse a key of the organisation.
const FORBIDDEN: u16 = 403;

/// Reads with their bound, and what they did not show.
pub(super) struct PartialReads<'a> {
    steps: &'a Steps,
    left: usize,
    calls: usize,
    missing: Vec<String>,
}

/// Items of a list, and whether they are all of them.
pub(super) struct PartialList {
    pub(super) items: Vec<Value>,
    pub(super) is_complete: bool,
}

impl<'a> PartialReads<'a> {
    pub(super) const fn new(steps: &'a Steps, max_calls: usize) -> Self {
        Self {
            steps,
            left: max_calls,
            calls: 0,
            missing: Vec::new(),
        }
    }

    /// Returns the number of calls that were made.
    pub(super) const fn calls(&self) -> usize {
        self.calls
    }

    /// Counts calls that were made elsewhere.
    pub(super) const fn count_calls(&mut self, calls: usize) {
        self.calls += calls;
        self.left = self.left.saturating_sub(calls);
    }

    /// Returns the number of calls that are left.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Notes what is missing, and why.
    pub(super) fn miss(&mut self, part: &str, reason: &dyn std::fmt::Display) {
        let note = format!("{part}: {reason}");
        let note = match note.char_indices().nth(MAX_NOTE_CHARS) {
            Some((end, _)) => format!("{}…", &note[..end]),
            None => note,
        };
        if !self.missing.contains(&note) {
            self.missing.push(note);
        }
    }

    /// Returns the notes; null if nothing is missing.
    pub(super) fn into_missing(self) -> Value {
        let mut notes = self.missing;
        let more = notes.len().saturating_sub(MAX_NOTES);
        if more > 0 {
            notes.truncate(MAX_NOTES);
            notes.push(format!("and {more} more"));
        }
        match notes.is_empty() {
            true => Value::Null,
            false => notes.into(),
        }
    }

    /// Calls an operation; `None` if no call is left.
    async fn call(
        &mut self,
        operation: &'static str,
        args: JsonMap,
    ) -> Option<Result<Value, CallError>> {
        self.left = self.left.checked_sub(1)?;
        self.calls += 1;
        Some(self.steps.read(operation, args).await)
    }

    /// Calls an operation. Returns `None`, and notes it, if there is no answer.
    pub(super) async fn read(
        &mut self,
        part: &str,
        operation: &'static str,
        args: JsonMap,
    ) -> Option<Value> {
        match self.call(operation, args).await {
            Some(Ok(answer)) => Some(answer),
            Some(Err(error)) => {
                self.miss(part, &error);
                None
            }
            None => {
                self.miss(part, &"the bound of calls is reached");
                None
            }
        }
    }

    /// Reads the pages of a list. Returns `None`, and notes it, if the first page has no answer.
    pub(super) async fn list(
        &mut self,
        part: &str,
        operation: &'static str,
        args: JsonMap,
    ) -> Option<PartialList> {
        match self.pages(part, operation, args).await {
            Ok(list) => Some(list),
            Err(error) => {
                self.miss(part, &error);
                None
            }
        }
    }

    /// Reads a list of all workspaces: at once, or workspace by workspace if the key has to name one.
    pub(super) async fn list_everywhere(
        &mut self,
        part: &str,
        operation: &'static str,
        args: JsonMap,
        workspaces: &[String],
    ) -> Option<PartialList> {
        let error = match self.pages(part, operation, args.clone()).await {
            Ok(list) => return Some(list),
            Err(error) => error,
        };
        let needs_workspace = matches!(&error, CallError::Upstream(_, refusal) if refusal.status.as_u16() == FORBIDDEN)
            && !args.contains_key("workspace_id");
        if !needs_workspace || workspaces.is_empty() {
            self.miss(part, &error);
            return None;
        }
        let mut all = PartialList {
            items: Vec::new(),
            is_complete: true,
        };
        let mut is_seen = false;
        for workspace in workspaces {
            let mut args = args.clone();
            args.insert("workspace_id".to_owned(), workspace.as_str().into());
            match self.list(part, operation, args).await {
                Some(list) => {
                    is_seen = true;
                    all.is_complete &= list.is_complete;
                    all.items.extend(list.items);
                }
                None => all.is_complete = false,
            }
        }
        is_seen.then_some(all)
    }

    async fn pages(
        &mut self,
        part: &str,
        operation: &'static str,
        mut args: JsonMap,
    ) -> Result<PartialList, CallError> {
        let (page_argument, size_argument) = page_arguments(operation);
        let Some(first) = self.call(operation, args.clone()).await else {
            self.miss(part, &"the bound of calls is reached");
            return Ok(PartialList {
                items: Vec::new(),
                is_complete: false,
            });
        };
        let (mut items, total) = items_of(first?);
        args.insert(size_argument.to_owned(), items.len().into());
        for number in 1..MAX_PAGES {
            if items.is_empty() || total.is_none_or(|total| total <= items.len()) {
                break;
            }
            args.insert(page_argument.to_owned(), number.into());
            let page = match self.call(operation, args.clone()).await {
                Some(Ok(page)) => items_of(page).0,
                Some(Err(error)) => {
                    self.miss(part, &error);
                    break;
                }
                None => break,
            };
            // An upstream without pages returns the first one again.
            if page.is_empty() || page.first() == items.first() {
                break;
            }
            items.extend(page);
        }
        let is_complete = total.is_none_or(|total| total <= items.len());
        if !is_complete {
            let total = total.unwrap_or_default();
            self.miss(part, &format_args!("{} of {total} were read", items.len()));
        }
        Ok(PartialList { items, is_complete })
    }
}

/// Returns the names of the arguments of a list that select its page and the size of one.
fn page_arguments(operation: &str) -> (&'static str, &'static str) {
    match operation {
        "list-users" | "list-all-invites" => ("currentPage", "pageSize"),
        _ => ("current_page", "page_size"),
    }
}

/// Returns the items of an answer, and how many there are according to the upstream.
fn items_of(mut answer: Value) -> (Vec<Value>, Option<usize>) {
    let total = answer.get("total").and_then(Value::as_u64);
    let total = total.and_then(|total| usize::try_from(total).ok());
    let field = ["data", "records"]
        .into_iter()
        .find(|field| answer.get(field).is_some());
    // Portkey's specification shows some lists bare.
    let items = match field.and_then(|field| answer.get_mut(field)) {
        Some(items) => items.take(),
        None => answer,
    };
    match items {
        Value::Array(items) => (items, total),
        _ => (Vec::new(), total),
    }
}
