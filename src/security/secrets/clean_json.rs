//! JSON of an upstream in which nothing has to change, found out in one pass over its text.
//!
//! Such a text is what reading it as a document, sanitizing, masking and writing that document would
//! yield, byte for byte. A document takes ten times the memory of its text and several passes, and
//! most responses need none of it. The pass is therefore strict: a text that is not found to be
//! clean may be so, and takes the way through a document. It also notes where the fields and the
//! items of lists are, so that a list can be shown without reading its items.
//!
//! **Invariant:** [`CleanJson`] exists only for texts that [`scan`] accepts.
//!
//! **Benchmark:** part `list` of `cargo bench --bench load`, whole calls; see `benchmarks/README.md`.
//!
//! **Differential test:** `clean_text_is_what_the_document_would_be_written_as` in
//! `pipeline/response.rs`, with the way through a document as its oracle.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};
use portkey_operation::Operation;
use serde_json::{Number, Value};

use super::{
    CallSecrets, mask, scan as keys,
    verbatim::{DeclaredField, Place, declared_fields},
};
use crate::security::sanitize;

/// Maximum number of objects and lists within each other. `serde_json` reads 127.
const MAX_DEPTH: usize = 100;
/// Maximum number of different names in a text.
const MAX_NAMES: usize = 128;
/// Number of places in which a name is looked up.
const NAME_SLOTS: usize = 256;
/// Maximum number of digits of an integer that is certain to be written as it was read.
const MAX_PLAIN_DIGITS: usize = 18;

/// Bit of a text with a control character, which may be whitespace between values.
const HAS_CONTROL: u8 = 1;
/// Bit of a text with a backslash.
const HAS_ESCAPE: u8 = 2;
/// Bit of a text that is not ASCII.
const HAS_NON_ASCII: u8 = 4;

/// Role of the name `value` in an object.
const VALUE_ROLE: u8 = 1;
/// Role of a name whose field may name the setting in `value`.
const PAIR_NAME_ROLE: u8 = 2;

/// An object or a list as compact JSON in which nothing has to be sanitized or masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanJson {
    text: String,
    layout: Layout,
}

/// Places of the fields of an object, or of the items of a list, and of the items in its lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Fields of the object; empty for a list.
    fields: Vec<FieldSpan>,
    /// Ends of the items of the list, or of each list in a field, one list after the other.
    item_ends: Vec<usize>,
}

/// Place of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldSpan {
    /// The name without its quotation marks.
    name: Range<usize>,
    value: Range<usize>,
    /// Place of the value's items in [`Layout::item_ends`]; `None` if the value is no list.
    items: Option<Range<usize>>,
}

/// A field of a [`CleanJson`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanField<'a> {
    /// Name of the field.
    pub name: &'a str,
    /// JSON of the value.
    pub value: &'a str,
    /// True if the value is a list.
    pub is_list: bool,
}

/// A list of a [`CleanJson`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanList {
    json: CleanJson,
    span: Range<usize>,
    items: Range<usize>,
}

impl CleanJson {
    /// Returns the JSON of a response if nothing in it has to change.
    pub(crate) fn from_response(
        operation: &Operation,
        fetched: &CallSecrets,
        body: &[u8],
    ) -> Option<Self> {
        let text = str::from_utf8(body).ok()?;
        let layout = scan(operation, fetched, text)?;
        Some(Self {
            text: text.to_owned(),
            layout,
        })
    }

    /// Returns the JSON.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the JSON as an owned text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Returns true for an object, and false for a list.
    pub fn is_object(&self) -> bool {
        self.text.starts_with('{')
    }

    /// Returns the document.
    pub fn into_document(self) -> Value {
        // The scan has accepted the text, so it is read.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Returns the fields of an object, in their order.
    pub fn fields(&self) -> impl Iterator<Item = CleanField<'_>> {
        self.layout.fields.iter().map(|field| CleanField {
            name: slice(&self.text, &field.name),
            value: slice(&self.text, &field.value),
            is_list: field.items.is_some(),
        })
    }

    /// Returns the list of a field, or the whole if it is a list and no field is named.
    ///
    /// # Errors
    /// Returns the whole if there is no such list.
    pub fn into_list(self, name: Option<&str>) -> Result<CleanList, Self> {
        let found = match name {
            None if self.is_object() => None,
            None => Some((0..self.text.len(), 0..self.layout.item_ends.len())),
            Some(name) => self.layout.fields.iter().find_map(|field| {
                let items = field.items.clone()?;
                (slice(&self.text, &field.name) == name).then(|| (field.value.clone(), items))
            }),
        };
        match found {
            Some((span, items)) => Ok(CleanList {
                json: self,
                span,
                items,
            }),
            None => Err(self),
        }
    }
}

impl CleanList {
    /// Returns the JSON of the list.
    pub fn as_str(&self) -> &str {
        slice(&self.json.text, &self.span)
    }

    /// Returns the whole that holds the list.
    pub fn into_json(self) -> CleanJson {
        self.json
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns true if there are no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the JSON of each item.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let ends = self.json.layout.item_ends.get(self.items.clone());
        let mut start = self.span.start + 1;
        ends.unwrap_or_default().iter().map(move |end| {
            let item = slice(&self.json.text, &(start..*end));
            // A comma follows each item but the last.
            start = end + 1;
            item
        })
    }
}

fn slice<'t>(text: &'t str, span: &Range<usize>) -> &'t str {
    text.get(span.clone()).unwrap_or_default()
}

/// Reads a response, and returns its layout if nothing in it has to change. `text` is the whole
/// body.
///
/// Accepts an object or a list:
/// - written as `serde_json` writes it: without whitespace, with numbers and escapes in their
///   shortest form, and no name twice in an object;
/// - of visible characters, line breaks and tabs;
/// - without a secret by the rules of [`mask`], or stricter ones where that is simpler;
/// - that reports no failure.
pub(crate) fn scan(operation: &Operation, fetched: &CallSecrets, text: &str) -> Option<Layout> {
    let flags = text.bytes().fold(0, |found, byte| {
        found
            | (u8::from(byte < b' ' || byte == 0x7f) * HAS_CONTROL)
            | (u8::from(byte == b'\\') * HAS_ESCAPE)
            | (u8::from(byte >= 0x80) * HAS_NON_ASCII)
    });
    let is_visible = || flags & HAS_NON_ASCII == 0 || text.chars().all(sanitize::is_visible);
    if flags & HAS_CONTROL != 0
        || !operation.one_time_secrets().is_empty()
        || !is_visible()
        || has_secret_text(fetched, text)
    {
        return None;
    }
    let declared = declared_fields(operation);
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: 0,
        has_escapes: flags & HAS_ESCAPE != 0,
        names: NameTable::new(&declared),
        layout: Layout::default(),
        is_object: text.starts_with('{'),
    };
    if !text.starts_with(['{', '[']) {
        return None;
    }
    scanner.read_value(Place::Ordinary, 0)?;
    (scanner.at == text.len()).then_some(scanner.layout)
}

/// Returns true if a JSON text may hold a key.
///
/// Each text in it stands there as it is, except that quotation marks, backslashes, line breaks and
/// tabs are escaped. Secrets of this process and of the call are known in that spelling, too. A
/// pattern of a key matches none of these characters, except between the two lines around a private
/// key, where it matches anything.
fn has_secret_text(fetched: &CallSecrets, text: &str) -> bool {
    fetched
        .texts()
        .any(|secret| memmem::find(text.as_bytes(), secret.as_bytes()).is_some())
        || keys::matches_key(text)
}

/// Reads a text and notes its layout. Each function returns `None` as soon as something is found
/// that may have to change, or that is no JSON.
struct Scanner<'t, 'd> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    has_escapes: bool,
    names: NameTable<'t, 'd>,
    layout: Layout,
    /// True if the whole is an object.
    is_object: bool,
}

impl Scanner<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn read_value(&mut self, place: Place, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.read_text(place),
            b'{' => self.read_object(place, depth),
            b'[' => self.read_list(place, depth),
            b't' => self.skip_word(b"true"),
            b'f' => self.skip_word(b"false"),
            b'n' => self.skip_word(b"null"),
            b'-' | b'0'..=b'9' => self.read_number(place),
            _ => None,
        }
    }

    fn skip_word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.strip_prefix(word)?;
        self.at += word.len();
        Some(())
    }

    /// Reads a text, and returns its place without the quotation marks, and whether it has escapes.
    fn read_quoted(&mut self) -> Option<(Range<usize>, bool)> {
        let start = self.at + 1;
        let mut end = start;
        let mut is_escaped = false;
        if !self.has_escapes {
            end += memchr(b'"', self.bytes.get(start..)?)?;
        } else {
            loop {
                end += memchr2(b'"', b'\\', self.bytes.get(end..)?)?;
                if self.bytes.get(end) == Some(&b'"') {
                    break;
                }
                // Others are written otherwise, or stand for a character that is removed.
                if !matches!(self.bytes.get(end + 1)?, b'"' | b'\\' | b'n' | b't') {
                    return None;
                }
                is_escaped = true;
                end += 2;
            }
        }
        self.at = end + 1;
        Some((start..end, is_escaped))
    }

    fn read_text(&mut self, place: Place) -> Option<()> {
        let (span, is_escaped) = self.read_quoted()?;
        // Elsewhere the text itself is looked at, and it is not the one in the JSON.
        let is_shown =
            place == Place::Ordinary || !is_escaped && place.shows_text(self.text.get(span)?);
        is_shown.then_some(())
    }

    fn read_number(&mut self, place: Place) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest
            .iter()
            .position(|byte| !is_part(byte))
            .unwrap_or(rest.len());
        let number = self.text.get(self.at..self.at + length)?;
        self.at += length;
        (place.shows_number() && is_canonical(number)).then_some(())
    }

    fn read_list(&mut self, place: Place, depth: usize) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let is_noted = depth == usize::from(self.is_object);
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.read_value(place, depth + 1)?;
            if is_noted {
                self.layout.item_ends.push(self.at);
            }
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn read_object(&mut self, place: Place, depth: usize) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        // Of a secret, any field may be one.
        if place == Place::Secret {
            return None;
        }
        let mut found = 0_u128;
        let mut roles = 0;
        loop {
            if self.peek()? != b'"' {
                return None;
            }
            let (name, is_escaped) = self.read_quoted()?;
            if is_escaped {
                return None;
            }
            let index = self.names.find(self.text.get(name.clone())?)?;
            let bit = 1 << index;
            if found & bit != 0 {
                return None;
            }
            found |= bit;
            let (inner, role) = self.names.place_in(index, place)?;
            roles |= role;
            self.skip(b':')?;
            match depth {
                0 => self.read_field(name, inner)?,
                _ => self.read_value(inner, depth + 1)?,
            }
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        // The name of a setting is told by another field.
        (roles != VALUE_ROLE | PAIR_NAME_ROLE).then_some(())
    }

    /// Reads a field of the whole object, and notes its place.
    fn read_field(&mut self, name: Range<usize>, place: Place) -> Option<()> {
        let start = self.at;
        let first = self.layout.item_ends.len();
        let kind = self.peek()?;
        // These report a failure.
        let is_failure = match self.text.get(name.clone())? {
            "success" => kind == b'f',
            "error" => kind == b'{',
            _ => false,
        };
        if is_failure {
            return None;
        }
        self.read_value(place, 1)?;
        self.layout.fields.push(FieldSpan {
            name,
            value: start..self.at,
            items: (kind == b'[').then_some(first..self.layout.item_ends.len()),
        });
        Some(())
    }
}

/// Returns true if a number is written as `serde_json` writes it.
fn is_canonical(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.len() <= MAX_PLAIN_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return !digits.is_empty() && (!digits.starts_with('0') || number == "0");
    }
    let read: Result<Number, _> = serde_json::from_str(number);
    read.is_ok_and(|read| read.to_string() == number)
}

/// The names in a text, each with its meaning, which is found out once: items of a list have the
/// same names.
struct NameTable<'t, 'd> {
    names: Vec<KnownName<'t>>,
    /// Number of a name, plus one, by its hash; zero for none.
    slots: [u8; NAME_SLOTS],
    declared: &'d [DeclaredField],
}

struct KnownName<'t> {
    name: &'t str,
    role: u8,
    /// Place that the name opens in an ordinary place.
    ordinary: Option<Place>,
    /// Place that the name opens where credentials are kept.
    strict: Option<Place>,
}

impl<'t, 'd> NameTable<'t, 'd> {
    fn new(declared: &'d [DeclaredField]) -> Self {
        Self {
            names: Vec::with_capacity(32),
            slots: [0; NAME_SLOTS],
            declared,
        }
    }

    /// Returns the number of a name; `None` if there are too many.
    fn find(&mut self, name: &'t str) -> Option<usize> {
        let mut slot = hash(name.as_bytes());
        loop {
            let place = self.slots.get_mut(slot % NAME_SLOTS)?;
            let Some(index) = place.checked_sub(1).map(usize::from) else {
                let index = self.names.len();
                if index == MAX_NAMES {
                    return None;
                }
                *place = u8::try_from(index + 1).ok()?;
                let role = match name {
                    "value" => VALUE_ROLE,
                    name if mask::PAIR_NAMES.contains(&name) => PAIR_NAME_ROLE,
                    _ => 0,
                };
                self.names.push(KnownName {
                    name,
                    role,
                    ordinary: None,
                    strict: None,
                });
                return Some(index);
            };
            if self.names.get(index)?.name == name {
                return Some(index);
            }
            // At most half of the slots are taken.
            slot += 1;
        }
    }

    /// Returns the place that a name opens, and its role.
    fn place_in(&mut self, index: usize, outer: Place) -> Option<(Place, u8)> {
        let known = self.names.get_mut(index)?;
        let name = known.name;
        let cached = match outer {
            Place::Ordinary | Place::Secret => &mut known.ordinary,
            Place::Strict | Place::Declared => &mut known.strict,
        };
        let place = *cached.get_or_insert_with(|| outer.of_field(name, self.declared));
        Some((place, known.role))
    }
}

/// Hashes a name by its length and four of its bytes. Names of one document differ in these.
fn hash(name: &[u8]) -> usize {
    let byte = |at: usize| usize::from(name.get(at).copied().unwrap_or_default());
    let length = name.len();
    let ends = byte(0) + 7 * byte(length.wrapping_sub(1));
    let middle = 13 * byte(length / 2) + 29 * byte(length / 3);
    ends + middle + 59 * length
}
