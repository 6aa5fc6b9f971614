//! What of an answer a caller is shown at once: all of a small one; of a large one its beginning, and a
//! handle for the rest.

mod keep;
mod list;
mod part;
mod preview;
mod project;
mod warnings;

use std::{sync::Arc, time::Duration};

use portkey_concurrency::worker_pool::{INLINE_BYTES, Workers};
use portkey_file_watch::Watched;
use portkey_operation::JsonMap;
use portkey_store::Store;
use serde::Serialize;
use serde_json::{Value, json};

use self::{keep::Keep, preview::Cut};
use crate::{
    auth::principal::Principal,
    mcp::resources::result_uri,
    security::{encrypted_store::SealedStore, signed_state::Keyring},
};

pub(crate) use self::list::ALL;
pub use self::{
    keep::{MOST_OF_PRINCIPAL, ResultError},
    list::{Gathered, Listing, MOST_ITEMS, MOST_PAGES, Wishes},
    part::{Part, Request},
    warnings::{WARNINGS, add_warnings, annotate},
};

/// The size beyond which an answer is shown in part, in bytes of compact JSON.
pub const USUAL_BYTES: usize = 24_000;
/// The least that can be set, so that a beginning and the note about it have room.
pub const LEAST_BYTES: usize = 1_024;
/// For how long an answer is kept.
pub const USUAL_TTL: Duration = Duration::from_secs(900);

/// What a preview is called in its answer.
const TRUNCATED: &str = "truncated";
/// What a value that is no object stands under, since clients up to 2025-11-25 take objects only.
pub const DATA: &str = "data";

/// What an answer carries: clients differ in what they hand to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// The JSON as structured content and as text, as the protocol advises.
    #[default]
    Both,
    /// Text alone.
    Text,
    /// Structured content alone.
    Structured,
}

/// How answers are shown, and where those are kept that are shown in part.
#[derive(Clone, Debug)]
pub struct Results {
    most: Option<usize>,
    content: Content,
    keep: Arc<Keep>,
    workers: Workers,
}

/// An answer as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// An object.
    pub structured: Value,
    /// The same as compact JSON; a list that is whole stands without its object.
    pub text: String,
}

/// What is known of an answer beside its JSON.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Whether strangers wrote some of it.
    pub untrusted: bool,
    /// Whether it may hold a secret that is shown only once, which is never kept.
    pub reveals: bool,
}

/// What a preview says of itself.
#[derive(Serialize)]
struct Notice {
    /// Size of the whole as compact JSON.
    bytes: usize,
    /// Names the whole, for this caller and a while.
    handle: Option<String>,
    /// Where the same begins as a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    /// How to get at the rest.
    read: String,
    /// What is cut, the outermost first.
    cut: Vec<Cut>,
}

impl Default for Results {
    fn default() -> Self {
        Self::new(Some(USUAL_BYTES), Content::default(), USUAL_TTL)
    }
}

impl Results {
    /// Shows answers in part beyond `most` bytes, if any; keeps the whole in memory for the time `ttl`.
    pub fn new(most: Option<usize>, content: Content, ttl: Duration) -> Self {
        let most = most.map(|most| most.max(LEAST_BYTES));
        let keep = Arc::new(Keep::new(SealedStore::memory(), ttl));
        Self {
            most,
            content,
            keep,
            workers: Workers::shared(),
        }
    }

    /// The same, with what is kept where all replicas find it, if they share anything, and encrypted there.
    pub fn sharing(self, store: &Store, keys: &Arc<Watched<Keyring>>) -> Self {
        // Memory that is full gives up values. Those of others shall not make room for ours.
        let Store::Redis(_) = store else { return self };
        let store = SealedStore::new(store.clone(), keys.clone());
        Self {
            keep: Arc::new(Keep::new(store, self.keep.ttl())),
            ..self
        }
    }

    /// The size beyond which an answer is shown in part, in bytes, if there is one.
    pub const fn most(&self) -> Option<usize> {
        self.most
    }

    /// The same, where what is large is worked on by these.
    #[must_use]
    pub fn with_workers(self, workers: Workers) -> Self {
        Self { workers, ..self }
    }

    /// What an answer carries.
    pub const fn content(&self) -> Content {
        self.content
    }

    /// An answer as it is shown to a caller: whole, or its beginning with a handle for the rest. Either
    /// way within the bound.
    pub async fn bound(&self, principal: &Principal, answer: Value, origin: Origin) -> Shown {
        self.bound_if(principal, answer, origin, std::future::ready(true))
            .await
    }

    /// The same, where the whole is kept only if `may_keep` says so, which is asked if it has to be.
    pub async fn bound_if(
        &self,
        principal: &Principal,
        answer: Value,
        origin: Origin,
        may_keep: impl Future<Output = bool>,
    ) -> Shown {
        match preview::text(&answer, INLINE_BYTES) {
            Some(text) => {
                self.bound_text(principal, answer, text, origin, may_keep)
                    .await
            }
            // In a box, as most answers need no room for it.
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

    /// The same of one that takes long to write, to cut and to drop.
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
        let whole = self.workers.run_to_end(written).await;
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
        self.workers.run_to_end(cut).await
    }

    /// Keeps an answer if it may be kept; the notice about it.
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

    /// A part of an answer that is kept for a caller: it is within the bound, and says what is left and
    /// with which arguments to go on.
    ///
    /// # Errors
    /// The caller has no such handle, the answer has no such part, or what is kept cannot be reached.
    pub async fn read(
        &self,
        principal: &Principal,
        handle: &str,
        request: &Request,
    ) -> Result<Part, ResultError> {
        let kept = self.keep.get(principal, handle).await?;
        let (untrusted, most) = (kept.untrusted, self.most.unwrap_or(USUAL_BYTES));
        let value = if kept.bytes() <= INLINE_BYTES {
            part::read(&kept.parse()?, handle, request, most)?
        } else {
            let (handle, request) = (handle.to_owned(), request.clone());
            let read = move || part::read(&kept.parse()?, &handle, &request, most);
            self.workers.run(&principal.name, read).await??
        };
        Ok(Part { value, untrusted })
    }
}

/// An answer with its compact JSON.
struct Whole {
    /// An object.
    structured: Value,
    /// The answer, which may be no object.
    text: String,
    /// The size of the object.
    bytes: usize,
}

impl Whole {
    fn of(answer: Value, text: String) -> Self {
        let is_object = answer.is_object();
        // The braces and the name come in addition.
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

    /// The same with the text of the object.
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

/// The beginning of an object, with a notice about it in front.
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
        // Ours comes first, and stays.
        shown.extend(head.into_iter().filter(|(name, _)| name != TRUNCATED));
    }
    Value::Object(shown)
}
