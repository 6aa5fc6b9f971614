//! Reading of stored results: any part by JSON Pointer (RFC 6901), a page of it, or a search.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use aho_corasick::AhoCorasick;
use portkey_operation::JsonMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    ResultError,
    preview::{self, Truncation},
};
/// Maximum number of matches per page.
const MAX_MATCHES: usize = 50;
/// Number of characters shown on either side of a match.
const EXCERPT_CONTEXT_CHARS: usize = 60;
/// Maximum duration of a search.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of values between two checks of the deadline.
const DEADLINE_CHECK_INTERVAL: usize = 1_024;
/// Maximum number of keys that an error names.
const MAX_ERROR_KEYS: usize = 20;
/// Maximum number of characters of a key or a pointer that an error repeats.
const MAX_ERROR_CHARS: usize = 200;

/// Selects the part of a stored result to read.
#[derive(Clone, Debug, Default)]
pub struct PartRequest {
    /// JSON Pointer, such as `/data/0/name`; empty for the whole.
    pub pointer: String,
    /// Number of items, entries, characters or matches to skip.
    pub offset: usize,
    /// Maximum number to return; limited by size alone if absent.
    pub limit: Option<usize>,
    /// Text to search for in names and values below the pointer, ignoring case.
    pub search: Option<String>,
}

/// A part of a stored result.
#[derive(Clone, Debug)]
pub struct ResultPart {
    /// `data` with `kind`, `total`, `offset`, `returned` and `next`.
    ///
    /// `next` holds the arguments that continue, or null at the end. `cut` is present if an item is
    /// too large to return whole. A search returns `matches` instead of `data`.
    pub value: Value,
    /// `true` if the result has untrusted content.
    pub is_untrusted: bool,
}

/// A page with its position and the arguments to continue.
#[derive(Serialize)]
struct PartPage<'a> {
    kind: &'static str,
    total: usize,
    offset: usize,
    returned: usize,
    next: Option<NextArguments<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cut: Vec<Truncation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// Arguments that continue after a page.
#[derive(Clone, Serialize)]
struct NextArguments<'a> {
    handle: &'a str,
    pointer: &'a str,
    offset: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<&'a str>,
}

/// Reads the requested part in at most `max_bytes`.
///
/// # Errors
/// Returns [`ResultError::NoSuchPart`] if the pointer leads nowhere, and
/// [`ResultError::SearchTimeout`] if a search exceeds its time limit.
pub(super) fn read_part(
    whole: &Value,
    handle: &str,
    request: &PartRequest,
    max_bytes: usize,
) -> Result<Value, ResultError> {
    let PartRequest {
        pointer,
        offset,
        limit,
        search,
    } = request;
    let value = whole
        .pointer(pointer)
        .ok_or_else(|| no_such_part(whole, pointer))?;
    let search = search.as_deref().filter(|words| !words.is_empty());
    let next = NextArguments {
        handle,
        pointer,
        offset: usize::MAX,
        limit: *limit,
        search,
    };
    let (kind, total) = match value {
        _ if search.is_some() => ("matches", usize::MAX),
        Value::Array(items) => ("list", items.len()),
        Value::Object(map) => ("object", map.len()),
        Value::String(text) => ("text", text.chars().count()),
        _ => ("value", 1),
    };
    let mut page = PartPage {
        kind,
        total,
        offset: *offset,
        // The longest number, until the real one is known.
        returned: usize::MAX,
        next: Some(next),
        cut: Vec::new(),
        matches: None,
        data: Some(Value::Null),
    };
    let frame = preview::json_size_within(&page, max_bytes).unwrap_or(max_bytes);
    // An eighth is left for the truncation notes, beside the data.
    let mut room = PageBudget {
        bytes_left: max_bytes.saturating_sub(frame + max_bytes / 8),
        entries_left: limit.unwrap_or(usize::MAX).max(1),
    };
    page.data = None;
    if let Some(words) = search {
        let mut found = TextSearch {
            pattern: SearchPattern::new(words),
            total: 0,
            offset: *offset,
            matches: Vec::new(),
            budget: room,
            path: Vec::new(),
            visited: 0,
            deadline: Instant::now() + SEARCH_TIMEOUT,
        };
        found.budget.entries_left = found.budget.entries_left.min(MAX_MATCHES);
        found.search(value, pointer)?;
        page.total = found.total;
        page.returned = found.matches.len();
        page.matches = Some(found.matches);
    } else {
        let (data, returned) = match value {
            Value::Array(items) => room.take_items(items, *offset, pointer, &mut page.cut),
            Value::Object(map) => room.take_entries(map, *offset, pointer, &mut page.cut),
            Value::String(text) => room.take_characters(text, *offset),
            // Numbers and smaller values always fit.
            scalar if *offset == 0 => (scalar.clone(), 1),
            _ => (Value::Null, 0),
        };
        page.returned = returned;
        page.data = Some(data);
    }
    let end = offset.saturating_add(page.returned);
    page.next = page.next.filter(|_| page.returned > 0 && end < page.total);
    if let Some(next) = &mut page.next {
        next.offset = end;
    }
    // Truncation notes are dropped if the page would be too large.
    while !page.cut.is_empty() && preview::json_size_within(&page, max_bytes).is_none() {
        page.cut.pop();
    }
    Ok(json!(page))
}

/// Space left on a page, in bytes and in entries.
struct PageBudget {
    bytes_left: usize,
    entries_left: usize,
}

impl PageBudget {
    /// Reserves space for a value and a comma. Returns `false` if it does not fit.
    fn try_reserve(&mut self, bytes: Option<usize>) -> bool {
        let left = bytes.and_then(|bytes| self.bytes_left.checked_sub(bytes + 1));
        if let (Some(left), Some(at_all)) = (left, self.entries_left.checked_sub(1)) {
            (self.bytes_left, self.entries_left) = (left, at_all);
            return true;
        }
        false
    }

    /// Takes a page of a list. An item that fits on no page is returned truncated and alone.
    fn take_items(
        &mut self,
        all: &[Value],
        offset: usize,
        at: &str,
        cut: &mut Vec<Truncation>,
    ) -> (Value, usize) {
        let mut taken = Vec::new();
        for (i, item) in all.iter().enumerate().skip(offset) {
            if self.try_reserve(preview::json_size_within(item, self.bytes_left)) {
                taken.push(item.clone());
                continue;
            }
            if taken.is_empty() && self.entries_left > 0 {
                taken.push(self.truncate_value(item, &format!("{at}/{i}"), cut));
            }
            break;
        }
        let returned = taken.len();
        (taken.into(), returned)
    }

    /// Takes a page of an object's entries, in their order.
    fn take_entries(
        &mut self,
        all: &JsonMap,
        offset: usize,
        at: &str,
        cut: &mut Vec<Truncation>,
    ) -> (Value, usize) {
        let mut taken = JsonMap::new();
        for (name, value) in all.iter().skip(offset) {
            let sizes = [
                preview::json_size_within(name, self.bytes_left),
                preview::json_size_within(value, self.bytes_left),
            ];
            if self.try_reserve(
                sizes
                    .into_iter()
                    .sum::<Option<usize>>()
                    .map(|bytes| bytes + 1),
            ) {
                taken.insert(name.clone(), value.clone());
                continue;
            }
            if taken.is_empty() && self.entries_left > 0 {
                let name_takes = preview::json_size_within(name, self.bytes_left)
                    .map_or(self.bytes_left, |bytes| bytes + 1);
                self.bytes_left -= name_takes.min(self.bytes_left);
                let pointer = format!("{at}/{}", escape_segment(name));
                taken.insert(name.clone(), self.truncate_value(value, &pointer, cut));
            }
            break;
        }
        let returned = taken.len();
        (taken.into(), returned)
    }

    fn take_characters(&self, text: &str, offset: usize) -> (Value, usize) {
        let start = text
            .char_indices()
            .nth(offset)
            .map_or(text.len(), |(at, _)| at);
        let rest = text.get(start..).unwrap_or_default();
        let (end, fitting) = preview::fitting_prefix(rest, self.bytes_left);
        let (end, returned) = match rest.char_indices().nth(self.entries_left) {
            Some((at, _)) if self.entries_left < fitting => (at, self.entries_left),
            _ => (end, fitting),
        };
        (rest.get(..end).unwrap_or_default().into(), returned)
    }

    /// Truncates a value to the space left. Returns null if nothing fits, so that reading can
    /// continue.
    fn truncate_value(&self, value: &Value, at: &str, cut: &mut Vec<Truncation>) -> Value {
        match preview::preview_value(value, self.bytes_left, at, cut) {
            Some((part, _)) => part,
            None => {
                cut.push(Truncation {
                    pointer: at.to_owned(),
                    returned: 0,
                    of: 1,
                });
                Value::Null
            }
        }
    }
}

/// A search in document order.
struct TextSearch<'a> {
    pattern: SearchPattern,
    total: usize,
    offset: usize,
    matches: Vec<Value>,
    budget: PageBudget,
    /// Path of the current value, from where the search began.
    path: Vec<PathStep<'a>>,
    /// Number of values visited.
    visited: usize,
    deadline: Instant,
}

/// A step down in a document.
#[derive(Clone, Copy)]
enum PathStep<'a> {
    Item(usize),
    Field(&'a str),
}

impl<'a> TextSearch<'a> {
    /// Searches a value at the pointer `start`.
    fn search(&mut self, value: &'a Value, start: &str) -> Result<(), ResultError> {
        match value {
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.path.push(PathStep::Item(i));
                    self.search(item, start)?;
                    self.path.pop();
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    self.path.push(PathStep::Field(name));
                    match value {
                        Value::Array(_) | Value::Object(_) => {
                            self.match_entry(name, start, None)?;
                            self.search(value, start)?;
                        }
                        // Name and value count as one match.
                        scalar => self.match_entry(name, start, Some(scalar))?,
                    }
                    self.path.pop();
                }
            }
            scalar => self.match_entry("", start, Some(scalar))?,
        }
        Ok(())
    }

    fn match_entry(
        &mut self,
        name: &str,
        start: &str,
        value: Option<&Value>,
    ) -> Result<(), ResultError> {
        self.visited += 1;
        if self.visited.is_multiple_of(DEADLINE_CHECK_INTERVAL) && Instant::now() > self.deadline {
            return Err(ResultError::SearchTimeout);
        }
        let text = match value {
            Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
            Some(other) => Cow::Owned(other.to_string()),
            None => Cow::Borrowed(""),
        };
        let at = self.pattern.find(&text);
        if at.is_none() && self.pattern.find(name).is_none() {
            return Ok(());
        }
        self.total += 1;
        if self.total <= self.offset || self.budget.entries_left == 0 {
            return Ok(());
        }
        let excerpt: String = match at {
            Some(before) => {
                let length = self.pattern.char_count + 2 * EXCERPT_CONTEXT_CHARS;
                text.chars()
                    .skip(before.saturating_sub(EXCERPT_CONTEXT_CHARS))
                    .take(length)
                    .collect()
            }
            None => text.chars().take(2 * EXCERPT_CONTEXT_CHARS).collect(),
        };
        let found = json!({ "pointer": self.pointer(start), "excerpt": excerpt });
        if self
            .budget
            .try_reserve(preview::json_size_within(&found, self.budget.bytes_left))
        {
            self.matches.push(found);
            return Ok(());
        }
        if self.matches.is_empty() {
            let part = preview::preview_value(&found, self.budget.bytes_left, "", &mut Vec::new());
            self.matches
                .push(part.map_or(Value::Null, |(part, _)| part));
        }
        // Later matches belong to the next page, even smaller ones.
        self.budget.entries_left = 0;
        Ok(())
    }

    /// Returns the pointer to the current value.
    fn pointer(&self, start: &str) -> String {
        let mut pointer = start.to_owned();
        for step in &self.path {
            match step {
                PathStep::Item(i) => pointer.push_str(&format!("/{i}")),
                PathStep::Field(name) => pointer.push_str(&format!("/{}", escape_segment(name))),
            }
        }
        pointer
    }
}

/// A text to search for, ignoring case.
struct SearchPattern {
    /// Text in lower case.
    lower: String,
    char_count: usize,
    /// Matcher for ASCII texts, whose time grows with the length of the text only.
    ascii_matcher: Option<AhoCorasick>,
}

impl SearchPattern {
    fn new(words: &str) -> Self {
        let lower = words.to_lowercase();
        let finder = || {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build([&lower])
                .ok()
        };
        let ascii = if lower.is_ascii() { finder() } else { None };
        Self {
            char_count: words.chars().count(),
            ascii_matcher: ascii,
            lower,
        }
    }

    /// Returns the number of characters before the first match.
    fn find(&self, text: &str) -> Option<usize> {
        if text.is_ascii() {
            return Some(self.ascii_matcher.as_ref()?.find(text)?.start());
        }
        let lower = text.to_lowercase();
        let at = lower.find(&self.lower)?;
        // Lower case may change lengths: the number of characters is about the same, that of bytes
        // is not.
        Some(lower.get(..at)?.chars().count())
    }
}

/// Builds the error for a pointer that leads nowhere, with a hint from the deepest value that
/// exists.
fn no_such_part(whole: &Value, pointer: &str) -> ResultError {
    let truncate = |text: &str| text.chars().take(MAX_ERROR_CHARS).collect::<String>();
    let with_hint = |near: String| ResultError::NoSuchPart {
        pointer: truncate(pointer),
        near,
    };
    if !pointer.starts_with('/') {
        return with_hint("a pointer begins with `/`, such as `/data/0`, or is empty".to_owned());
    }
    let mut at = pointer;
    let mut parent = "";
    let mut value = whole;
    while let Some((before, _)) = at.rsplit_once('/') {
        if let Some(found) = whole.pointer(before) {
            (parent, value) = (before, found);
            break;
        }
        at = before;
    }
    let place = if parent.is_empty() {
        "the whole".to_owned()
    } else {
        format!("`{}`", truncate(parent))
    };
    with_hint(match value {
        Value::Array(items) => format!("{place} is a list of {} items, from 0 up", items.len()),
        Value::Object(map) => {
            let keys: Vec<_> = map
                .keys()
                .take(MAX_ERROR_KEYS)
                .map(|key| format!("`{}`", truncate(&escape_segment(key))))
                .collect();
            let more = match map.len().saturating_sub(MAX_ERROR_KEYS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{place} has {}{more}", keys.join(", "))
        }
        _ => format!("{place} is a single value"),
    })
}

/// Escapes a name for a JSON Pointer.
fn escape_segment(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
