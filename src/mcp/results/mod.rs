//! Rendering of results: a small one whole; of a large one its beginning and a handle for the rest.

mod keep;
mod list;
mod part;
mod preview;
mod project;
mod warnings;

use std::{sync::Arc, time::Duration};

use portkey_concurrency::worker_pool::{MAX_INLINE_BYTES, WorkerPool};
use portkey_file_watch::WatchedValue;
use portkey_operation::JsonMap;
use portkey_store::Store;
use serde::Serialize;
use serde_json::{Value, json};

use self::{keep::Keep, preview::Cut};
use crate::{
    auth::principal::Principal,
    mcp::resources::result_uri,
    security::{encrypted_store::EncryptedStore, signed_state::Keyring},
};

pub(crate) use self::list::ALL;
pub use self::{
    keep::{MOST_OF_PRINCIPAL, ResultError},
    list::{Gathered, Listing, MOST_ITEMS, MOST_PAGES, Wishes},
    part::{Part, Request},
    warnings::{WARNINGS, add_warnings, annotate},
};

/// Default for the size above which a result is truncated, in bytes of compact JSON.
pub const USUAL_BYTES: usize = 24_000;
/// Minimum that can be configured, so that a preview and the truncation notice fit.
pub const LEAST_BYTES: usize = 1_024;
/// Default time for which a truncated result is stored.
pub const USUAL_TTL: Duration = Duration::from_secs(900);

/// Key of the truncation notice in a result.
const TRUNCATED: &str = "truncated";
/// Key for a value that is no object, because clients up to 2025-11-25 accept only objects.
pub const DATA: &str = "data";

/// Parts of a tool result that carry the JSON: clients differ in which one they pass to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Structured content and text, as the protocol recommends.
    #[default]
    Both,
    /// Text only.
    Text,
    /// Structured content only.
    Structured,
}

/// Settings for rendering results, and the store of truncated ones.
#[derive(Clone, Debug)]
pub struct Results {
    most: Option<usize>,
    content: Content,
    keep: Arc<Keep>,
    workers: WorkerPool,
}

/// A rendered result.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The result as an object.
    pub structured: Value,
    /// Compact JSON of the result; a list that is not truncated has no object around it.
    pub text: String,
}

/// Properties of a result beside its JSON.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// `true` if the result has untrusted content.
    pub untrusted: bool,
    /// `true` if the result may hold a one-time secret. Such a result is never stored.
    pub reveals: bool,
}

/// Notice in a truncated result.
#[derive(Serialize)]
struct Notice {
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
    cut: Vec<Cut>,
}

impl Default for Results {
    fn default() -> Self {
        Self::new(Some(USUAL_BYTES), Content::default(), USUAL_TTL)
    }
}

impl Results {
    /// Truncates results above `most` bytes, if given, and stores the whole in memory for `ttl`.
    pub fn new(most: Option<usize>, content: Content, ttl: Duration) -> Self {
        let most = most.map(|most| most.max(LEAST_BYTES));
        let keep = Arc::new(Keep::new(EncryptedStore::in_memory(), ttl));
        Self {
            most,
            content,
            keep,
            workers: WorkerPool::shared(),
        }
    }

    /// Uses the store that replicas share, encrypted, if there is one.
    pub fn sharing(self, store: &Store, keys: &Arc<WatchedValue<Keyring>>) -> Self {
        // A full memory store removes values, and results must not displace the values of other
        // features.
        let Store::Redis(_) = store else { return self };
        let store = EncryptedStore::new(store.clone(), keys.clone());
        Self {
            keep: Arc::new(Keep::new(store, self.keep.ttl())),
            ..self
        }
    }

    /// Returns the size above which a result is truncated, in bytes, if there is one.
    pub const fn most(&self) -> Option<usize> {
        self.most
    }

    /// Sets the workers that process large results.
    #[must_use]
    pub fn with_workers(self, workers: WorkerPool) -> Self {
        Self { workers, ..self }
    }

    /// Returns the parts of a tool result that carry the JSON.
    pub const fn content(&self) -> Content {
        self.content
    }

    /// Renders a result for a caller within the size limit: whole, or truncated with a handle for
    /// the rest.
    pub async fn bound(&self, principal: &Principal, answer: Value, origin: Origin) -> Shown {
        self.bound_if(principal, answer, origin, std::future::ready(true))
            .await
    }

    /// Renders a result like [`Self::bound`], but stores the whole only if `may_keep` yields
    /// `true`.
    ///
    /// The future is polled only if the result has to be stored.
    pub async fn bound_if(
        &self,
        principal: &Principal,
        answer: Value,
        origin: Origin,
        may_keep: impl Future<Output = bool>,
    ) -> Shown {
        match preview::text(&answer, MAX_INLINE_BYTES) {
            Some(text) => {
                self.bound_text(principal, answer, text, origin, may_keep)
                    .await
            }
            // Boxed, so that the small future of most results does not need its space.
            None => Box::pin(self.bound_large(principal, answer, origin, may_keep)).await,
        }
    }

    async fn bound_text(
        &self,
        principal: &Principal,
        answer: Value,
        text: String,
        origin: Origin,
        may_keep: impl Future<Output = bool>,
    ) -> Shown {
        let whole = Whole::of(answer, text);
        let Some(most) = self.most.filter(|most| whole.bytes > *most) else {
            return whole.shown();
        };
        let Whole {
            structured,
            text,
            bytes,
        } = whole.into_object();
        let notice = self.keep(principal, text, bytes, origin, may_keep).await;
        let structured = cut_to(most, &structured, notice);
        Shown {
            text: structured.to_string(),
            structured,
        }
    }

    /// Renders a result that takes long to serialize, to truncate and to drop.
    async fn bound_large(
        &self,
        principal: &Principal,
        answer: Value,
        origin: Origin,
        may_keep: impl Future<Output = bool>,
    ) -> Shown {
        let most = self.most;
        let written = move || {
            let text = serde_json::to_string(&answer).unwrap_or_default();
            let whole = Whole::of(answer, text);
            if most.is_none_or(|most| whole.bytes <= most) {
                whole
            } else {
                whole.into_object()
            }
        };
        let whole = self.workers.run_finishing(written).await;
        let Some(most) = most.filter(|most| whole.bytes > *most) else {
            return whole.shown();
        };
        let Whole {
            structured,
            text,
            bytes,
        } = whole;
        let notice = self.keep(principal, text, bytes, origin, may_keep).await;
        let cut = move || {
            let structured = cut_to(most, &structured, notice);
            Shown {
                text: structured.to_string(),
                structured,
            }
        };
        self.workers.run_finishing(cut).await
    }

    /// Stores a result if that is permitted, and returns the notice about it.
    async fn keep(
        &self,
        principal: &Principal,
        text: String,
        bytes: usize,
        origin: Origin,
        may_keep: impl Future<Output = bool>,
    ) -> Notice {
        if origin.reveals {
            return Notice::without(bytes, "it may hold a secret, and secrets are not kept");
        }
        if !may_keep.await {
            return Notice::without(bytes, "nothing is kept for a key that Portkey may not know");
        }
        match self
            .keep
            .put(principal, text.into(), origin.untrusted)
            .await
        {
            Ok(handle) => Notice::with(bytes, handle),
            Err(why) => Notice::without(bytes, why),
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
        request: &Request,
    ) -> Result<Part, ResultError> {
        let kept = self.keep.get(principal, handle).await?;
        let (untrusted, most) = (kept.untrusted, self.most.unwrap_or(USUAL_BYTES));
        let value = if kept.bytes() <= MAX_INLINE_BYTES {
            part::read(&kept.parse()?, handle, request, most)?
        } else {
            let (handle, request) = (handle.to_owned(), request.clone());
            let read = move || part::read(&kept.parse()?, &handle, &request, most);
            self.workers.run(&principal.name, read).await??
        };
        Ok(Part { value, untrusted })
    }
}

/// A result with its compact JSON.
struct Whole {
    /// The result as an object.
    structured: Value,
    /// JSON of the result, which may be no object.
    text: String,
    /// Size of the object as JSON.
    bytes: usize,
}

impl Whole {
    fn of(answer: Value, text: String) -> Self {
        let is_object = answer.is_object();
        // Adds the braces and the key around a value that is no object.
        let bytes = text.len() + if is_object { 0 } else { DATA.len() + 5 };
        let structured = if is_object {
            answer
        } else {
            json!({ DATA: answer })
        };
        Self {
            structured,
            text,
            bytes,
        }
    }

    fn shown(self) -> Shown {
        Shown {
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

impl Notice {
    fn with(bytes: usize, handle: String) -> Self {
        let read = "call `read-result` with this `handle`, a `pointer` and, to go on behind what was \
                    returned, an `offset`; or with `search`";
        let resource = Some(result_uri(&handle));
        Self {
            bytes,
            handle: Some(handle),
            resource,
            read: read.to_owned(),
            cut: Vec::new(),
        }
    }

    fn without(bytes: usize, why: &str) -> Self {
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

/// Truncates an object, and puts a notice in front.
fn cut_to(most: usize, whole: &Value, mut notice: Notice) -> Value {
    let size = |value: &Value| preview::size(value, most).unwrap_or(most);
    let base = size(&json!({ TRUNCATED: notice }));
    let for_cuts = most / 8;
    let mut cuts = Vec::new();
    let room = most.saturating_sub(base + for_cuts);
    let (head, used) = preview::head(whole, room, "", &mut cuts)
        .unwrap_or_else(|| (Value::Object(JsonMap::new()), 2));
    let mut left = most.saturating_sub(base + used);
    for cut in cuts {
        let Some(rest) = left.checked_sub(size(&json!(cut)) + 1) else {
            break;
        };
        left = rest;
        notice.cut.push(cut);
    }
    let mut shown = JsonMap::new();
    shown.insert(TRUNCATED.to_owned(), json!(notice));
    if let Value::Object(head) = head {
        // The notice comes first, and is not replaced by a field of that name.
        shown.extend(head.into_iter().filter(|(name, _)| name != TRUNCATED));
    }
    Value::Object(shown)
}
