//! Rendering of results: a small one whole; of a large one its beginning and a handle for the rest.

mod list;
mod part;
mod preview;
mod project;
mod store;
mod text;
mod warnings;
mod workspaces;

use std::{sync::Arc, time::Duration};

use portkey_concurrency::worker_pool::{MAX_INLINE_BYTES, WorkerPool};
use portkey_file_watch::WatchedValue;
use portkey_operation::{JsonMap, ToolNames};
use portkey_store::Store;
use serde::Serialize;
use serde_json::{Value, json};

use self::{preview::Truncation, store::ResultStore, text::push_field};
use crate::{
    auth::principal::Principal,
    mcp::{resources::result_uri, tool_names::spell_in_text},
    security::{encrypted_store::EncryptedStore, signed_state::Keyring},
};

pub(crate) use self::list::{ALL_ARGUMENT, ALL_WORKSPACES_ARGUMENT, WORKSPACE_ARGUMENT};
pub use self::{
    list::{ListOptions, Listing, MAX_LIST_ITEMS, MAX_LIST_PAGES, PageCollector},
    part::{PartRequest, ResultPart},
    store::{MAX_BYTES_PER_CALLER, ResultError},
    text::{TextList, ToolAnswer},
    warnings::{WARNINGS_KEY, add_warnings, annotate},
    workspaces::{ListedWorkspace, MAX_LIST_WORKSPACES, MAX_WORKSPACE_CALLS, WorkspaceCollector},
};

/// Default for the size above which a result is truncated, in bytes of compact JSON.
pub const DEFAULT_RESULT_BYTES: usize = 24_000;
/// Minimum that can be configured, so that a preview and the truncation notice fit.
pub const MIN_RESULT_BYTES: usize = 1_024;
/// Default time for which a truncated result is stored.
pub const DEFAULT_RESULT_TTL: Duration = Duration::from_secs(900);

/// Size of the braces and the key around a value that is no object.
const MAX_WRAPPER_BYTES: usize = DATA_KEY.len() + 5;

/// Key of the truncation notice in a result.
const TRUNCATED_KEY: &str = "truncated";
/// Key for a value that is no object, because clients up to 2025-11-25 accept only objects.
pub const DATA_KEY: &str = "data";

/// Parts of a tool result that carry the JSON: clients differ in which one they pass to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultContent {
    /// Structured content and text, as the protocol recommends.
    #[default]
    Both,
    /// Text only.
    Text,
    /// Structured content only.
    Structured,
    /// Structured content, and a short text that says so.
    Brief,
}

/// Settings for rendering results, and the store of truncated ones.
#[derive(Clone, Debug)]
pub struct Results {
    max_bytes: Option<usize>,
    content: ResultContent,
    /// Clients that are known to give structured content to the model get no text beside it.
    is_brief_for_readers: bool,
    store: Arc<ResultStore>,
    workers: WorkerPool,
    tool_names: ToolNames,
}

/// A rendered result.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedResult {
    /// The result as an object.
    pub structured: Value,
    /// Compact JSON of the result; a list that is not truncated has no object around it.
    pub text: String,
}

/// A result as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum ShownResult {
    /// A document with its text.
    Document(RenderedResult),
    /// Only the text: compact JSON that was never a document. The structured content of a text that
    /// is no object has it under `data`.
    Text(String),
}

impl ShownResult {
    /// Returns the result with its document.
    pub fn into_rendered(self) -> RenderedResult {
        match self {
            Self::Document(rendered) => rendered,
            Self::Text(text) => {
                // Texts are written from JSON, so they are read.
                let document = serde_json::from_str(&text).unwrap_or_default();
                SerializedResult::new(document, text).into_rendered()
            }
        }
    }
}

/// Properties of a result beside its JSON.
#[derive(Clone, Copy, Debug)]
pub struct ResultFlags {
    /// `true` if the result has untrusted content.
    pub is_untrusted: bool,
    /// `true` if the result may hold a one-time secret. Such a result is never stored.
    pub returns_secret: bool,
}

/// Notice in a truncated result.
#[derive(Serialize)]
struct TruncationNotice {
    /// Size of the whole as compact JSON.
    bytes: usize,
    /// Handle of the whole, valid for this caller and a limited time.
    handle: Option<String>,
    /// URI under which the result can be read as a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    /// Instructions for reading the rest.
    read: String,
    /// Truncated values, the outermost first.
    cut: Vec<Truncation>,
}

impl Default for Results {
    fn default() -> Self {
        Self::new(
            Some(DEFAULT_RESULT_BYTES),
            ResultContent::default(),
            DEFAULT_RESULT_TTL,
        )
    }
}

impl Results {
    /// Truncates results above `max_bytes`, if given, and stores the whole in memory for `ttl`.
    pub fn new(max_bytes: Option<usize>, content: ResultContent, ttl: Duration) -> Self {
        let max_bytes = max_bytes.map(|max| max.max(MIN_RESULT_BYTES));
        let store = Arc::new(ResultStore::new(EncryptedStore::in_memory(), ttl));
        Self {
            max_bytes,
            content,
            is_brief_for_readers: false,
            store,
            workers: WorkerPool::shared(),
            tool_names: ToolNames::default(),
        }
    }

    /// Sets the spelling of tool names in notices.
    pub fn with_tool_names(self, tool_names: ToolNames) -> Self {
        Self { tool_names, ..self }
    }

    /// Uses the store that replicas share, encrypted, if there is one.
    pub fn with_shared_store(self, store: &Store, keys: &Arc<WatchedValue<Keyring>>) -> Self {
        // A full memory store removes values, and results must not displace the values of other
        // features.
        let Store::Redis(_) = store else { return self };
        let store = EncryptedStore::new(store.clone(), keys.clone());
        Self {
            store: Arc::new(ResultStore::new(store, self.store.ttl())),
            ..self
        }
    }

    /// Returns the size above which a result is truncated, in bytes, if there is one.
    pub const fn max_bytes(&self) -> Option<usize> {
        self.max_bytes
    }

    /// Sets the workers that process large results.
    #[must_use]
    pub fn with_workers(self, workers: WorkerPool) -> Self {
        Self { workers, ..self }
    }

    /// Leaves the text out for clients that are known to give structured content to the model.
    #[must_use]
    pub fn with_brief_for_readers(self) -> Self {
        Self {
            is_brief_for_readers: true,
            ..self
        }
    }

    /// Returns the parts of a tool result that carry the JSON, for a client that is known or not
    /// known to give structured content to the model.
    pub const fn content_for(&self, reads_structured: bool) -> ResultContent {
        match self.is_brief_for_readers && reads_structured {
            true => ResultContent::Brief,
            false => self.content,
        }
    }

    /// Renders a result for a caller within the size limit: whole, or truncated with a handle for
    /// the rest.
    pub async fn render(
        &self,
        principal: &Principal,
        answer: Value,
        origin: ResultFlags,
    ) -> RenderedResult {
        self.render_if(principal, answer, origin, std::future::ready(true))
            .await
    }

    /// Renders a result like [`Self::render`], but stores the whole only if `may_keep` yields
    /// `true`.
    ///
    /// The future is polled only if the result has to be stored.
    pub async fn render_if(
        &self,
        principal: &Principal,
        answer: Value,
        origin: ResultFlags,
        may_keep: impl Future<Output = bool>,
    ) -> RenderedResult {
        match preview::json_text_within(&answer, MAX_INLINE_BYTES) {
            Some(text) => {
                self.render_small(principal, answer, text, origin, may_keep)
                    .await
            }
            // Boxed, so that the small future of most results does not need its space.
            None => Box::pin(self.render_large(principal, answer, origin, may_keep)).await,
        }
    }

    /// Renders the answer of a tool call like [`Self::render_if`]. What is text stays text.
    pub async fn render_answer(
        &self,
        principal: &Principal,
        answer: ToolAnswer,
        origin: ResultFlags,
        may_keep: impl Future<Output = bool>,
    ) -> ShownResult {
        let fits = |bytes: usize| self.max_bytes.is_none_or(|max| bytes <= max);
        let document = match answer {
            ToolAnswer::Document(document) => document,
            ToolAnswer::Clean(json) if fits(json.as_str().len() + MAX_WRAPPER_BYTES) => {
                return ShownResult::Text(json.into_text());
            }
            ToolAnswer::List(list) if list.items.as_str().len() <= MAX_INLINE_BYTES => {
                let list = self.render_list(principal, *list, origin, may_keep);
                return Box::pin(list).await;
            }
            answer if answer.text_len() <= MAX_INLINE_BYTES => answer.into_document(),
            answer => {
                let read = move || answer.into_document();
                self.workers.run_finishing(read).await
            }
        };
        ShownResult::Document(self.render_if(principal, document, origin, may_keep).await)
    }

    /// Renders a list whose items are text.
    async fn render_list(
        &self,
        principal: &Principal,
        list: TextList,
        origin: ResultFlags,
        may_keep: impl Future<Output = bool>,
    ) -> ShownResult {
        let text = list.to_text();
        let bytes = text.len();
        let Some(max_bytes) = self.max_bytes.filter(|max| bytes > *max) else {
            return ShownResult::Text(text);
        };
        let notice = self
            .store_result(principal, text, bytes, origin, may_keep)
            .await;
        ShownResult::Text(truncate_list(max_bytes, &list, notice))
    }

    async fn render_small(
        &self,
        principal: &Principal,
        answer: Value,
        text: String,
        origin: ResultFlags,
        may_keep: impl Future<Output = bool>,
    ) -> RenderedResult {
        let whole = SerializedResult::new(answer, text);
        let Some(max_bytes) = self.max_bytes.filter(|max| whole.bytes > *max) else {
            return whole.into_rendered();
        };
        let SerializedResult {
            structured,
            text,
            bytes,
        } = whole.into_object();
        let notice = self
            .store_result(principal, text, bytes, origin, may_keep)
            .await;
        let structured = truncate_object(max_bytes, &structured, notice);
        RenderedResult {
            text: structured.to_string(),
            structured,
        }
    }

    /// Renders a result that takes long to serialize, to truncate and to drop.
    async fn render_large(
        &self,
        principal: &Principal,
        answer: Value,
        origin: ResultFlags,
        may_keep: impl Future<Output = bool>,
    ) -> RenderedResult {
        let max_bytes = self.max_bytes;
        let serialize = move || {
            let text = serde_json::to_string(&answer).unwrap_or_default();
            let whole = SerializedResult::new(answer, text);
            if max_bytes.is_none_or(|max| whole.bytes <= max) {
                whole
            } else {
                whole.into_object()
            }
        };
        let whole = self.workers.run_finishing(serialize).await;
        let Some(max_bytes) = max_bytes.filter(|max| whole.bytes > *max) else {
            return whole.into_rendered();
        };
        let SerializedResult {
            structured,
            text,
            bytes,
        } = whole;
        let notice = self
            .store_result(principal, text, bytes, origin, may_keep)
            .await;
        let truncate = move || {
            let structured = truncate_object(max_bytes, &structured, notice);
            RenderedResult {
                text: structured.to_string(),
                structured,
            }
        };
        self.workers.run_finishing(truncate).await
    }

    /// Stores a result if that is permitted, and returns the notice about it.
    async fn store_result(
        &self,
        principal: &Principal,
        text: String,
        bytes: usize,
        origin: ResultFlags,
        may_keep: impl Future<Output = bool>,
    ) -> TruncationNotice {
        if origin.returns_secret {
            return TruncationNotice::without_handle(
                bytes,
                "it may hold a secret, and secrets are not kept",
            );
        }
        if !may_keep.await {
            return TruncationNotice::without_handle(
                bytes,
                "nothing is kept for a key that Portkey may not know",
            );
        }
        match self
            .store
            .put(principal, text.into(), origin.is_untrusted)
            .await
        {
            Ok(handle) => TruncationNotice::with_handle(bytes, handle, self.tool_names),
            Err(why) => TruncationNotice::without_handle(bytes, why),
        }
    }

    /// Reads a part of a caller's stored result. The part is within the size limit, and says what
    /// is left and with which arguments to continue.
    ///
    /// # Errors
    /// Returns an error if the caller has no such handle, the result has no such part, or the store
    /// is unavailable.
    pub async fn read(
        &self,
        principal: &Principal,
        handle: &str,
        request: &PartRequest,
    ) -> Result<ResultPart, ResultError> {
        let stored = self.store.get(principal, handle).await?;
        let (untrusted, max_bytes) = (
            stored.is_untrusted,
            self.max_bytes.unwrap_or(DEFAULT_RESULT_BYTES),
        );
        let value = if stored.byte_len() <= MAX_INLINE_BYTES {
            part::read_part(&stored.parse()?, handle, request, max_bytes)?
        } else {
            let handle = handle.to_owned();
            let request = request.clone();
            let read = move || part::read_part(&stored.parse()?, &handle, &request, max_bytes);
            self.workers.run(&principal.name, read).await??
        };
        Ok(ResultPart {
            value,
            is_untrusted: untrusted,
        })
    }
}

/// A result with its compact JSON.
struct SerializedResult {
    /// The result as an object.
    structured: Value,
    /// JSON of the result, which may be no object.
    text: String,
    /// Size of the object as JSON.
    bytes: usize,
}

impl SerializedResult {
    fn new(answer: Value, text: String) -> Self {
        let is_object = answer.is_object();
        // Adds the braces and the key around a value that is no object.
        let bytes = text.len() + if is_object { 0 } else { MAX_WRAPPER_BYTES };
        let structured = if is_object {
            answer
        } else {
            json!({ DATA_KEY: answer })
        };
        Self {
            structured,
            text,
            bytes,
        }
    }

    fn into_rendered(self) -> RenderedResult {
        RenderedResult {
            structured: self.structured,
            text: self.text,
        }
    }

    /// Makes `text` the JSON of the object.
    fn into_object(self) -> Self {
        let Self {
            structured,
            text,
            bytes,
        } = self;
        let text = if text.len() == bytes {
            text
        } else {
            structured.to_string()
        };
        Self {
            structured,
            text,
            bytes,
        }
    }
}

impl TruncationNotice {
    fn with_handle(bytes: usize, handle: String, names: ToolNames) -> Self {
        let read = "call `read-result` with this `handle`, a `pointer` and, to go on behind what was \
                    returned, an `offset`; or with `search`";
        let resource = Some(result_uri(&handle));
        Self {
            bytes,
            handle: Some(handle),
            resource,
            read: spell_in_text(names, read).into_owned(),
            cut: Vec::new(),
        }
    }

    fn without_handle(bytes: usize, why: &str) -> Self {
        let read = format!(
            "the whole was not kept: {why}. Ask for less: fewer `fields` or smaller pages of a list, a \
             narrower filter"
        );
        Self {
            bytes,
            handle: None,
            resource: None,
            read,
            cut: Vec::new(),
        }
    }
}

/// Truncates a value within the space that a notice leaves, and notes what was truncated.
///
/// `preview` truncates to the given size, and returns what is shown with its size.
fn truncate_beside_notice<T>(
    max_bytes: usize,
    notice: &mut TruncationNotice,
    preview: impl FnOnce(usize, &mut Vec<Truncation>) -> Option<(T, usize)>,
) -> Option<T> {
    let size = |value: &Value| preview::json_size_within(value, max_bytes).unwrap_or(max_bytes);
    let base = size(&json!({ TRUNCATED_KEY: notice }));
    let for_cuts = max_bytes / 8;
    let mut cuts = Vec::new();
    let room = max_bytes.saturating_sub(base + for_cuts);
    let (head, used) =
        preview(room, &mut cuts).map_or((None, 2), |(head, used)| (Some(head), used));
    let mut left = max_bytes.saturating_sub(base + used);
    for cut in cuts {
        let Some(rest) = left.checked_sub(size(&json!(cut)) + 1) else {
            break;
        };
        left = rest;
        notice.cut.push(cut);
    }
    head
}

/// Truncates a list whose items are text, and puts a notice in front. Returns its JSON.
fn truncate_list(max_bytes: usize, whole: &TextList, mut notice: TruncationNotice) -> String {
    let preview = |room, cuts: &mut Vec<_>| preview::preview_text_list(whole, room, cuts);
    let head = truncate_beside_notice(max_bytes, &mut notice, preview).unwrap_or_default();
    let mut text = "{".to_owned();
    push_field(&mut text, TRUNCATED_KEY, json!(notice));
    for (name, value) in head {
        if name != TRUNCATED_KEY {
            text.push(',');
            push_field(&mut text, name, value);
        }
    }
    text.push('}');
    text
}

/// Truncates an object, and puts a notice in front.
fn truncate_object(max_bytes: usize, whole: &Value, mut notice: TruncationNotice) -> Value {
    let preview = |room, cuts: &mut Vec<_>| preview::preview_value(whole, room, "", cuts);
    let head = truncate_beside_notice(max_bytes, &mut notice, preview);
    let mut shown = JsonMap::new();
    shown.insert(TRUNCATED_KEY.to_owned(), json!(notice));
    if let Some(Value::Object(head)) = head {
        // The notice comes first, and is not replaced by a field of that name.
        shown.extend(head.into_iter().filter(|(name, _)| name != TRUNCATED_KEY));
    }
    Value::Object(shown)
}
