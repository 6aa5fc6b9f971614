//! Answers that are shown as the upstream's own text: whole, or as a list with this server's fields
//! around the items. The items of a list are never read as documents.
//!
//! **Differential test:** `list_as_text_is_rendered_like_the_document`, below.

use std::fmt::Write;

use portkey_operation::JsonMap;
use serde_json::Value;

use super::{
    DATA_KEY,
    list::{ITEM_KEYS, ListOptions, Listing, PageCollector},
    warnings::annotate,
};
use crate::{
    pipeline::Answer,
    security::secrets::{CleanJson, CleanList},
};

/// The answer of a tool call, before it is truncated.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolAnswer {
    /// A document.
    Document(Value),
    /// The upstream's text.
    Clean(Box<CleanJson>),
    /// A list whose items are the upstream's text.
    List(Box<TextList>),
}

/// A list whose items are the upstream's text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextList {
    /// Fields of the list, with `null` in the place of the items.
    pub(super) envelope: JsonMap,
    pub(super) items_key: String,
    pub(super) items: CleanList,
}

impl ToolAnswer {
    /// Returns the list that is a page with its common fields. Its items stay text if the whole page
    /// is requested and nothing in it had to change.
    ///
    /// # Errors
    /// Returns the page as a document if its items have to be read.
    pub fn from_page(
        listing: &Listing,
        options: &ListOptions,
        args: &JsonMap,
        page: Answer,
    ) -> Result<Self, Value> {
        let json = match page {
            Answer::Clean(json) if options.wants_page_as_received() => json,
            page => return Err(page.into_document()),
        };
        let (envelope, key, items) = split_envelope(*json)?;
        let page = (Vec::new(), items.len());
        let page =
            PageCollector::from_page(listing, options, args, envelope, Some(key.to_owned()), page);
        let Value::Object(envelope) = page.finish_with(Value::Null, &[]) else {
            // It is an object, because it has a key for the items.
            return Err(Value::Null);
        };
        Ok(Self::List(Box::new(TextList {
            envelope,
            items_key: key.to_owned(),
            items,
        })))
    }

    /// Adds the notes about a call as [`annotate`] does.
    pub fn annotate(self, warnings: Vec<String>, times: Vec<(String, String)>) -> Self {
        if warnings.is_empty() && times.is_empty() {
            return self;
        }
        match self {
            Self::List(mut list) => {
                let envelope = std::mem::take(&mut list.envelope);
                match annotate(Value::Object(envelope), warnings, times) {
                    Value::Object(envelope) => list.envelope = envelope,
                    // An object stays one.
                    other => return Self::Document(other),
                }
                Self::List(list)
            }
            other => Self::Document(annotate(other.into_document(), warnings, times)),
        }
    }

    /// Returns the size of a text, approximately; zero for a document.
    pub(super) fn text_len(&self) -> usize {
        match self {
            Self::Document(_) => 0,
            Self::Clean(json) => json.as_str().len(),
            Self::List(list) => list.items.as_str().len(),
        }
    }

    /// Returns the answer as a document.
    pub fn into_document(self) -> Value {
        match self {
            Self::Document(document) => document,
            Self::Clean(json) => json.into_document(),
            // What was written is read again.
            Self::List(list) => serde_json::from_str(&list.to_text()).unwrap_or_default(),
        }
    }
}

impl From<Answer> for ToolAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Document(document) => Self::Document(document),
            Answer::Clean(json) => Self::Clean(json),
        }
    }
}

impl From<Value> for ToolAnswer {
    fn from(document: Value) -> Self {
        Self::Document(document)
    }
}

impl TextList {
    /// Returns the JSON of the list.
    pub fn to_text(&self) -> String {
        let items = self.items.as_str();
        let mut text = String::with_capacity(items.len() + 256);
        let mut separator = '{';
        for (name, value) in &self.envelope {
            text.push(separator);
            separator = ',';
            match *name == self.items_key {
                true => push_field(&mut text, name, items),
                false => push_field(&mut text, name, value),
            }
        }
        text.push('}');
        text
    }
}

/// Appends a field whose value is written as it is displayed.
pub(super) fn push_field(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    _ = write!(text, "{}:{value}", Value::from(name));
}

/// Splits a list into its other fields, the key of its items and the items, as for documents.
///
/// # Errors
/// Returns the whole as a document if it is no list.
fn split_envelope(json: CleanJson) -> Result<(JsonMap, &'static str, CleanList), Value> {
    if !json.is_object() {
        let items = json.into_list(None).map_err(CleanJson::into_document)?;
        return Ok((JsonMap::new(), DATA_KEY, items));
    }
    let is_list = |key: &&str| {
        json.fields()
            .any(|field| field.is_list && field.name == *key)
    };
    let Some(key) = ITEM_KEYS.into_iter().find(is_list) else {
        return Err(json.into_document());
    };
    let others = json.fields().filter(|field| field.name != key);
    let envelope = others
        .map(|field| {
            Some((
                field.name.to_owned(),
                serde_json::from_str(field.value).ok()?,
            ))
        })
        .collect::<Option<JsonMap>>();
    match (envelope, json.into_list(Some(key))) {
        (Some(envelope), Ok(items)) => Ok((envelope, key, items)),
        // The scan has accepted each field, so they are read.
        (_, Err(json)) => Err(json.into_document()),
        (None, Ok(items)) => Err(items.into_json().into_document()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures_util::FutureExt;
    use portkey_api::catalog::Catalog;
    use proptest::{prelude::*, sample::select};
    use serde_json::json;

    use super::*;
    use crate::{
        auth::principal::{Credentials, MissingKey, Principal},
        mcp::results::{DEFAULT_RESULT_TTL, RenderedResult, ResultContent, ResultFlags, Results},
        security::secrets::CallSecrets,
    };

    const KEYS: [&str; 4] = ["data", "models", "workspaces", "items"];
    const TOOLS: [&str; 3] = [
        "list-all-integrations",
        "list-all-api-keys",
        "list-mcp-servers",
    ];

    fn item() -> impl Strategy<Value = Value> {
        let text = || prop_oneof![Just(0_usize), 1..40_usize, 200..900_usize];
        prop_oneof![
            text().prop_map(|length| json!({ "id": "a", "text": "x\"\u{e9}".repeat(length) })),
            text().prop_map(|length| json!("word ".repeat(length))),
            Just(json!([1, [2, null], { "deep": [{}] }])),
            any::<u16>().prop_map(Value::from),
        ]
    }

    fn list() -> impl Strategy<Value = Value> {
        let other = prop_oneof![
            Just(json!({})),
            (0..60_u32).prop_map(|total| json!({ "total": total, "object": "list" })),
            Just(json!({ "warnings": ["earlier"], "has_more": true, "next": "theirs" })),
            Just(json!({ "notes": vec!["something long"; 40], "truncated": 1, "a/b~c": [1, 2] })),
        ];
        let items = prop::collection::vec(item(), 0..30);
        (
            items,
            other,
            select(KEYS.as_slice()),
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(|(items, other, key, is_first, is_bare)| {
                if is_bare {
                    return items.into();
                }
                let mut list = JsonMap::new();
                if is_first {
                    list.insert(key.to_owned(), items.clone().into());
                }
                list.extend(other.as_object().unwrap().clone());
                list.entry(key).or_insert(items.into());
                list.into()
            })
    }

    fn caller() -> Principal {
        Principal::local(Credentials {
            portkey: None,
            enkrypt: None,
            missing_key: MissingKey::Server,
        })
    }

    /// Replaces the handle in a result, which is random.
    fn without_handle(shown: RenderedResult) -> String {
        let handle = shown.structured.pointer("/truncated/handle").cloned();
        let text = shown.text.clone();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            match text.starts_with('{') {
                true => shown.structured,
                false => shown.structured[DATA_KEY].clone(),
            }
        );
        match handle.as_ref().and_then(Value::as_str) {
            Some(handle) => text.replace(handle, "handle"),
            None => text,
        }
    }

    #[test]
    fn list_as_text_is_rendered_like_the_document() {
        let catalog = Catalog::full();
        let notes = || {
            prop_oneof![
                Just((Vec::new(), Vec::new())),
                Just((
                    vec!["a warning".to_owned(), "earlier".to_owned()],
                    vec![("time".to_owned(), "2026-01-01T00:00:00Z".to_owned())]
                )),
            ]
        };
        let cases = (
            list(),
            select(TOOLS.as_slice()),
            1_024..9_000_usize,
            notes(),
            0..4_u32,
        );
        let config = ProptestConfig {
            cases: 2_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        proptest!(config, |((list, name, max_bytes, notes, page) in cases)| {
            let entry = catalog.find(name).unwrap();
            let listing = Listing::for_operation(entry.compiled()).unwrap();
            let args = json!({ "current_page": page, "page_size": 7 });
            let args = args.as_object().unwrap();
            let options = ListOptions::default();
            let secrets = CallSecrets::default();
            let text = list.to_string();
            let json = CleanJson::from_response(entry.operation, &secrets, text.as_bytes());
            let json = json.unwrap();
            let flags = ResultFlags { is_untrusted: false, returns_secret: false };
            let results = Results::new(Some(max_bytes), ResultContent::Both, DEFAULT_RESULT_TTL);

            let document = PageCollector::new(&listing, &options, args, list.clone()).finish();
            let document = annotate(document, notes.0.clone(), notes.1.clone());
            let rendered = results.render(&caller(), document, flags).now_or_never().unwrap();

            let page = ToolAnswer::from_page(&listing, &options, args, Answer::Clean(Box::new(json)));
            let answer = match page {
                Ok(list) => list,
                Err(document) => {
                    prop_assert_eq!(&document, &list);
                    return Ok(());
                }
            };
            let answer = answer.annotate(notes.0, notes.1);
            let caller = caller();
            let shown = results.render_answer(&caller, answer, flags, std::future::ready(true));
            let shown = shown.now_or_never().unwrap().into_rendered();
            prop_assert_eq!(without_handle(shown), without_handle(rendered));
        });
    }
}
