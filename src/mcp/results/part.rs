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
    preview::{self, Cut},
};
/// Maximum number of matches per page.
const MOST_MATCHES: usize = 50;
/// Number of characters shown on either side of a match.
const AROUND: usize = 60;
/// Maximum duration of a search.
const MAX_SEARCH: Duration = Duration::from_secs(2);
/// Number of values between two checks of the deadline.
const CHECK_EVERY: usize = 1_024;
/// Maximum number of keys that an error names.
const MOST_KEYS: usize = 20;
/// Maximum number of characters of a key or a pointer that an error repeats.
const MOST_CHARACTERS: usize = 200;

/// Selects the part of a stored result to read.
#[derive(Clone, Debug, Default)]
pub struct Request {
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
pub struct Part {
    /// `data` with `kind`, `total`, `offset`, `returned` and `next`.
    ///
    /// `next` holds the arguments that continue, or null at the end. `cut` is present if an item is
    /// too large to return whole. A search returns `matches` instead of `data`.
    pub value: Value,
    /// `true` if the result has untrusted content.
    pub untrusted: bool,
}

/// A page with its position and the arguments to continue.
#[derive(Serialize)]
struct Page<'a> {
    kind: &'static str,
    total: usize,
    offset: usize,
    returned: usize,
    next: Option<Next<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cut: Vec<Cut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// Arguments that continue after a page.
#[derive(Clone, Serialize)]
struct Next<'a> {
    handle: &'a str,
    pointer: &'a str,
    offset: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<&'a str>,
}

/// Reads the requested part in at most `most` bytes.
///
/// # Errors
/// Returns [`ResultError::NoSuchPart`] if the pointer leads nowhere, and [`ResultError::TooLong`]
/// if a search exceeds its time limit.
pub(super) fn read(
    whole: &Value,
    handle: &str,
    request: &Request,
    most: usize,
) -> Result<Value, ResultError> {
    let Request {
        pointer,
        offset,
        limit,
        search,
    } = request;
    let value = whole
        .pointer(pointer)
        .ok_or_else(|| no_such_part(whole, pointer))?;
    let search = search.as_deref().filter(|words| !words.is_empty());
    let next = Next {
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
    let mut page = Page {
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
    let frame = preview::size(&page, most).unwrap_or(most);
    // An eighth is left for the truncation notes, beside the data.
    let mut room = Room {
        left: most.saturating_sub(frame + most / 8),
        at_all: limit.unwrap_or(usize::MAX).max(1),
    };
    page.data = None;
    if let Some(words) = search {
        let mut found = Found {
            words: Words::new(words),
            total: 0,
            offset: *offset,
            matches: Vec::new(),
            room,
            path: Vec::new(),
            looked_at: 0,
            until: Instant::now() + MAX_SEARCH,
        };
        found.room.at_all = found.room.at_all.min(MOST_MATCHES);
        found.look(value, pointer)?;
        page.total = found.total;
        page.returned = found.matches.len();
        page.matches = Some(found.matches);
    } else {
        let (data, returned) = match value {
            Value::Array(items) => room.items(items, *offset, pointer, &mut page.cut),
            Value::Object(map) => room.entries(map, *offset, pointer, &mut page.cut),
            Value::String(text) => room.characters(text, *offset),
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
    while !page.cut.is_empty() && preview::size(&page, most).is_none() {
        page.cut.pop();
    }
    Ok(json!(page))
}

/// Space left on a page, in bytes and in entries.
struct Room {
    left: usize,
    at_all: usize,
}

impl Room {
    /// Reserves space for a value and a comma. Returns `false` if it does not fit.
    fn takes(&mut self, bytes: Option<usize>) -> bool {
        let left = bytes.and_then(|bytes| self.left.checked_sub(bytes + 1));
        if let (Some(left), Some(at_all)) = (left, self.at_all.checked_sub(1)) {
            (self.left, self.at_all) = (left, at_all);
            return true;
        }
        false
    }

    /// Takes a page of a list. An item that fits on no page is returned truncated and alone.
    fn items(
        &mut self,
        all: &[Value],
        offset: usize,
        at: &str,
        cut: &mut Vec<Cut>,
    ) -> (Value, usize) {
        let mut kept = Vec::new();
        for (i, item) in all.iter().enumerate().skip(offset) {
            if self.takes(preview::size(item, self.left)) {
                kept.push(item.clone());
                continue;
            }
            if kept.is_empty() && self.at_all > 0 {
                kept.push(self.beginning(item, &format!("{at}/{i}"), cut));
            }
            break;
        }
        let returned = kept.len();
        (kept.into(), returned)
    }

    /// Takes a page of an object's entries, in their order.
    fn entries(
        &mut self,
        all: &JsonMap,
        offset: usize,
        at: &str,
        cut: &mut Vec<Cut>,
    ) -> (Value, usize) {
        let mut kept = JsonMap::new();
        for (name, value) in all.iter().skip(offset) {
            let sizes = [
                preview::size(name, self.left),
                preview::size(value, self.left),
            ];
            if self.takes(
                sizes
                    .into_iter()
                    .sum::<Option<usize>>()
                    .map(|bytes| bytes + 1),
            ) {
                kept.insert(name.clone(), value.clone());
                continue;
            }
            if kept.is_empty() && self.at_all > 0 {
                let name_takes =
                    preview::size(name, self.left).map_or(self.left, |bytes| bytes + 1);
                self.left -= name_takes.min(self.left);
                let pointer = format!("{at}/{}", escape(name));
                kept.insert(name.clone(), self.beginning(value, &pointer, cut));
            }
            break;
        }
        let returned = kept.len();
        (kept.into(), returned)
    }

    fn characters(&self, text: &str, offset: usize) -> (Value, usize) {
        let start = text
            .char_indices()
            .nth(offset)
            .map_or(text.len(), |(at, _)| at);
        let rest = text.get(start..).unwrap_or_default();
        let (end, fitting) = preview::fitting(rest, self.left);
        let (end, returned) = match rest.char_indices().nth(self.at_all) {
            Some((at, _)) if self.at_all < fitting => (at, self.at_all),
            _ => (end, fitting),
        };
        (rest.get(..end).unwrap_or_default().into(), returned)
    }

    /// Truncates a value to the space left. Returns null if nothing fits, so that reading can
    /// continue.
    fn beginning(&self, value: &Value, at: &str, cut: &mut Vec<Cut>) -> Value {
        match preview::head(value, self.left, at, cut) {
            Some((part, _)) => part,
            None => {
                cut.push(Cut {
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
struct Found<'a> {
    words: Words,
    total: usize,
    offset: usize,
    matches: Vec<Value>,
    room: Room,
    /// Path of the current value, from where the search began.
    path: Vec<Step<'a>>,
    /// Number of values visited.
    looked_at: usize,
    until: Instant,
}

/// A step down in a document.
#[derive(Clone, Copy)]
enum Step<'a> {
    Item(usize),
    Field(&'a str),
}

impl<'a> Found<'a> {
    /// Searches a value at the pointer `start`.
    fn look(&mut self, value: &'a Value, start: &str) -> Result<(), ResultError> {
        match value {
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.path.push(Step::Item(i));
                    self.look(item, start)?;
                    self.path.pop();
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    self.path.push(Step::Field(name));
                    match value {
                        Value::Array(_) | Value::Object(_) => {
                            self.weigh(name, start, None)?;
                            self.look(value, start)?;
                        }
                        // Name and value count as one match.
                        scalar => self.weigh(name, start, Some(scalar))?,
                    }
                    self.path.pop();
                }
            }
            scalar => self.weigh("", start, Some(scalar))?,
        }
        Ok(())
    }

    fn weigh(&mut self, name: &str, start: &str, value: Option<&Value>) -> Result<(), ResultError> {
        self.looked_at += 1;
        if self.looked_at.is_multiple_of(CHECK_EVERY) && Instant::now() > self.until {
            return Err(ResultError::TooLong);
        }
        let text = match value {
            Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
            Some(other) => Cow::Owned(other.to_string()),
            None => Cow::Borrowed(""),
        };
        let at = self.words.find(&text);
        if at.is_none() && self.words.find(name).is_none() {
            return Ok(());
        }
        self.total += 1;
        if self.total <= self.offset || self.room.at_all == 0 {
            return Ok(());
        }
        let excerpt: String = match at {
            Some(before) => {
                let length = self.words.characters + 2 * AROUND;
                text.chars()
                    .skip(before.saturating_sub(AROUND))
                    .take(length)
                    .collect()
            }
            None => text.chars().take(2 * AROUND).collect(),
        };
        let found = json!({ "pointer": self.pointer(start), "excerpt": excerpt });
        if self.room.takes(preview::size(&found, self.room.left)) {
            self.matches.push(found);
            return Ok(());
        }
        if self.matches.is_empty() {
            let part = preview::head(&found, self.room.left, "", &mut Vec::new());
            self.matches
                .push(part.map_or(Value::Null, |(part, _)| part));
        }
        // Later matches belong to the next page, even smaller ones.
        self.room.at_all = 0;
        Ok(())
    }

    /// Returns the pointer to the current value.
    fn pointer(&self, start: &str) -> String {
        let mut pointer = start.to_owned();
        for step in &self.path {
            match step {
                Step::Item(i) => pointer.push_str(&format!("/{i}")),
                Step::Field(name) => pointer.push_str(&format!("/{}", escape(name))),
            }
        }
        pointer
    }
}

/// A text to search for, ignoring case.
struct Words {
    /// Text in lower case.
    lower: String,
    characters: usize,
    /// Matcher for ASCII texts, whose time grows with the length of the text only.
    ascii: Option<AhoCorasick>,
}

impl Words {
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
            characters: words.chars().count(),
            ascii,
            lower,
        }
    }

    /// Returns the number of characters before the first match.
    fn find(&self, text: &str) -> Option<usize> {
        if text.is_ascii() {
            return Some(self.ascii.as_ref()?.find(text)?.start());
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
    let short = |text: &str| text.chars().take(MOST_CHARACTERS).collect::<String>();
    let told = |near: String| ResultError::NoSuchPart {
        pointer: short(pointer),
        near,
    };
    if !pointer.starts_with('/') {
        return told("a pointer begins with `/`, such as `/data/0`, or is empty".to_owned());
    }
    let mut at = pointer;
    let (mut parent, mut value) = ("", whole);
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
        format!("`{}`", short(parent))
    };
    told(match value {
        Value::Array(items) => format!("{place} is a list of {} items, from 0 up", items.len()),
        Value::Object(map) => {
            let keys: Vec<_> = map
                .keys()
                .take(MOST_KEYS)
                .map(|key| format!("`{}`", short(&escape(key))))
                .collect();
            let more = match map.len().saturating_sub(MOST_KEYS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{place} has {}{more}", keys.join(", "))
        }
        _ => format!("{place} is a single value"),
    })
}

/// Escapes a name for a JSON Pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
