//! Lists: paging, common fields of every list, and the options that every list accepts.
//!
//! Pages are numbered from zero, except that `page` begins at one if its schema says so. The MCP
//! registry uses a cursor.

use std::{
    hash::{DefaultHasher, Hasher},
    io,
};

use portkey_operation::{Effect, InputError, JsonMap, CompiledOperation};
use serde_json::{Value, json};

use super::{
    DATA,
    project::{Fields, MAX_FIELDS},
    warnings::{WARNINGS, add_warnings},
};
/// Maximum number of items that are collected from a list. The page that reaches it is the last.
pub const MOST_ITEMS: usize = 1_000;
/// Maximum number of pages that are collected from a list.
pub const MOST_PAGES: usize = 20;
/// Maximum size of the items that are collected from a list, in bytes.
const MOST_BYTES: usize = 8 << 20;

/// Argument that selects fields, accepted by every list beside its own arguments.
const FIELDS: &str = "fields";
/// Argument that requests the following pages too, accepted by every list beside its own arguments.
pub(crate) const ALL: &str = "all";
/// Keys that may hold the items of a list: the envelope differs between endpoints.
const ITEMS: [&str; 8] = [
    DATA,
    "models",
    "workspaces",
    "capabilities",
    "mappings",
    "records",
    "servers",
    "groups",
];
/// Arguments for the number of a page, each with the argument for its size.
const NUMBERED: [(&str, &str); 3] = [
    ("current_page", "page_size"),
    ("currentPage", "pageSize"),
    ("page", "page_size"),
];
const CURSOR: &str = "cursor";

/// Paging of an operation that lists something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    paging: Paging,
    /// `true` for `fields` and `all` if the operation declares arguments of these names itself.
    own: [bool; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Paging {
    /// All items in one response.
    Whole,
    Numbered {
        number: &'static str,
        first: u64,
        size: &'static str,
    },
    Cursor,
}

/// Options of a list call beside the operation's own arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    fields: Fields,
    all: bool,
}

/// Collects the pages of one list.
#[derive(Debug)]
pub struct Gathered<'a> {
    listing: &'a Listing,
    wishes: &'a Wishes,
    /// Last response without its items.
    envelope: JsonMap,
    /// Key that holds the items; `None` if the response has no list.
    at: Option<String>,
    items: Vec<Value>,
    pages: usize,
    bytes: usize,
    next: Option<JsonMap>,
    stopped: Option<String>,
    /// Number of the list's items before the first collected page.
    skipped: u64,
    /// Total according to the first page.
    first_total: Option<u64>,
    /// Hashes of the pages that were received, to recognize repeated ones.
    known: Vec<u64>,
    warnings: Vec<String>,
}

impl Listing {
    /// Returns the paging of an operation by its argument names and its own name; `None` if it does
    /// not list.
    pub fn of(published: &CompiledOperation) -> Option<Self> {
        let (operation, schema) = (published.operation(), published.full_schema());
        let arguments = schema.get("properties").and_then(Value::as_object);
        // Each call looks up five names, most of them absent: comparing is cheaper than hashing.
        let argument = |name: &str| {
            let named = arguments?.iter().find(|(argument, _)| *argument == name);
            named.map(|(_, schema)| schema)
        };
        let paging = NUMBERED.iter().find_map(|(number, size)| {
            let first = argument(number)?
                .get("minimum")
                .and_then(Value::as_u64)
                .unwrap_or(0);
            argument(size).map(|_| Paging::Numbered {
                number,
                first,
                size,
            })
        });
        let cursor = argument(CURSOR).map(|_| Paging::Cursor);
        let paging = paging.or(cursor);
        if operation.effect() != Effect::Read
            || (paging.is_none() && !operation.name().starts_with("list-"))
        {
            return None;
        }
        let own = [FIELDS, ALL].map(|name| argument(name).is_some());
        Some(Self {
            paging: paging.unwrap_or(Paging::Whole),
            own,
        })
    }

    /// Removes the list options from the arguments of a call.
    ///
    /// # Errors
    /// Returns an error if an option has an invalid value.
    pub fn take_wishes(&self, args: &mut JsonMap) -> Result<Wishes, InputError> {
        let [own_fields, own_all] = self.own;
        let mut wishes = Wishes::default();
        if !own_fields && let Some(value) = args.shift_remove(FIELDS) {
            let told = format!(
                "takes a list of up to {MAX_FIELDS} names of fields, such as [\"id\", \"limits.cost\"]"
            );
            wishes.fields = Fields::parse(&value).ok_or_else(|| InputError::new(FIELDS, told))?;
        }
        if !own_all && let Some(value) = args.shift_remove(ALL) {
            wishes.all = match value {
                Value::Null => false,
                Value::Bool(all) => all,
                Value::String(text) if text == "true" => true,
                Value::String(text) if text == "false" => false,
                _ => return Err(InputError::new(ALL, "takes true or false")),
            };
        }
        Ok(wishes)
    }

    /// Returns the number of items before the page of these arguments. `returned` is the number of
    /// items on it.
    fn skipped(&self, args: &JsonMap, returned: u64) -> u64 {
        let Paging::Numbered {
            number,
            first,
            size,
        } = self.paging
        else {
            return 0;
        };
        let here = argument(args, number).unwrap_or(first).max(first);
        // Without a size in the arguments, the first page shows the size of pages.
        match argument(args, size).filter(|size| *size > 0) {
            Some(size) => (here - first).saturating_mul(size),
            // An empty page may be any number of pages after the end.
            None if returned == 0 && here > first => u64::MAX,
            None => (here - first).saturating_mul(returned),
        }
    }

    /// Returns the arguments of the following page, if there is one. `seen` is the number of items
    /// up to the end of this page.
    fn next(
        &self,
        args: &JsonMap,
        envelope: &JsonMap,
        returned: u64,
        seen: u64,
    ) -> Option<JsonMap> {
        let mut next = args.clone();
        match self.paging {
            Paging::Whole => return None,
            Paging::Cursor => {
                let cursor = envelope.get("metadata")?.get("nextCursor")?.as_str()?;
                next.insert(CURSOR.to_owned(), cursor.into());
            }
            Paging::Numbered {
                number,
                first,
                size,
            } => {
                let here = argument(args, number).unwrap_or(first).max(first);
                let asked = argument(args, size).filter(|size| *size > 0);
                let more = match (envelope.get("has_more"), total(envelope)) {
                    _ if returned == 0 => false,
                    (Some(Value::Bool(more)), _) => *more,
                    (_, Some(total)) => seen < total,
                    (_, None) => asked.is_none_or(|asked| returned >= asked),
                };
                if !more {
                    return None;
                }
                next.insert(number.to_owned(), (here + 1).into());
                // Pages may be smaller than requested.
                let is_smaller = asked.is_none_or(|asked| returned < asked);
                if here == first && is_smaller {
                    next.insert(size.to_owned(), returned.into());
                }
            }
        }
        Some(next)
    }
}

impl Wishes {
    /// Returns `true` if all pages are requested.
    pub const fn all(&self) -> bool {
        self.all
    }

    /// Puts the options back into the arguments.
    fn back_in(&self, mut args: JsonMap) -> JsonMap {
        if !self.fields.is_empty() {
            args.insert(FIELDS.to_owned(), json!(self.fields.names()));
        }
        if self.all {
            args.insert(ALL.to_owned(), true.into());
        }
        args
    }
}

impl<'a> Gathered<'a> {
    /// Starts with the response to a call of these arguments.
    pub fn begin(listing: &'a Listing, wishes: &'a Wishes, args: &JsonMap, answer: Value) -> Self {
        let (mut envelope, at, items) = split(answer);
        let returned = items.len() as u64;
        let skipped = listing.skipped(args, returned);
        let seen = skipped.saturating_add(returned);
        let next = at
            .as_ref()
            .and_then(|_| listing.next(args, &envelope, returned, seen));
        // Pages are compared and counted only if more of them are read.
        let (known, bytes) = match wishes.all {
            true => {
                let Digest { hash, bytes } = Digest::of(&items);
                (vec![hash], bytes)
            }
            false => (Vec::new(), 0),
        };
        Self {
            warnings: take_warnings(&mut envelope),
            first_total: total(&envelope),
            listing,
            wishes,
            envelope,
            at,
            items,
            pages: 1,
            bytes,
            next,
            stopped: None,
            skipped,
            known,
        }
    }

    /// Returns the arguments of the next page to read; `None` after the last page or at a limit.
    pub fn wants(&self) -> Option<&JsonMap> {
        let enough = self.reached().is_some() || self.stopped.is_some();
        self.next.as_ref().filter(|_| self.wishes.all && !enough)
    }

    /// Returns the limit that was reached, if any.
    fn reached(&self) -> Option<String> {
        if self.items.len() >= MOST_ITEMS {
            Some(format!("{MOST_ITEMS} items"))
        } else if self.pages >= MOST_PAGES {
            Some(format!("{MOST_PAGES} pages"))
        } else if self.bytes >= MOST_BYTES {
            Some(format!("{} MiB", MOST_BYTES >> 20))
        } else {
            None
        }
    }

    /// Adds the response to the requested page.
    pub fn add(&mut self, answer: Value) {
        let Some(args) = self.next.take() else { return };
        let (mut envelope, _, items) = split(answer);
        self.warnings.extend(take_warnings(&mut envelope));
        self.pages += 1;
        if let (Some(before), Some(now)) = (self.first_total, total(&envelope))
            && before != now
        {
            self.warnings.push(format!(
                "the list changed while its pages were read: the total was {before}, then {now}; items may be \
                 missing or listed twice"
            ));
            // One warning for each change.
            self.first_total = Some(now);
        }
        let Digest { hash, bytes } = Digest::of(&items);
        if !items.is_empty() && self.known.contains(&hash) {
            // The endpoint ignores the page number.
            self.warnings.push(format!(
                "the same page came twice, so paging was given up: the upstream ignores the page that is \
                 asked for; {}",
                self.missing_in_words()
            ));
            return;
        }
        self.known.push(hash);
        self.bytes = self.bytes.saturating_add(bytes);
        self.envelope = envelope;
        let returned = items.len() as u64;
        self.items.extend(items);
        self.next = self
            .listing
            .next(&args, &self.envelope, returned, self.seen());
        if self.next.is_none() && self.missing().is_some() {
            let what = if returned == 0 {
                "is empty"
            } else {
                "is said to be the last"
            };
            self.warnings.push(format!(
                "page {} {what}; {}",
                self.pages,
                self.missing_in_words()
            ));
        }
    }

    /// Returns the number of items up to the end of the collected pages.
    fn seen(&self) -> u64 {
        self.skipped.saturating_add(self.items.len() as u64)
    }

    /// Returns the number of items missing from the total that the upstream reports.
    fn missing(&self) -> Option<u64> {
        total(&self.envelope)?
            .checked_sub(self.seen())
            .filter(|missing| *missing > 0)
    }

    fn missing_in_words(&self) -> String {
        match (self.missing(), total(&self.envelope)) {
            (Some(missing), Some(total)) => format!("{missing} of {total} items are missing"),
            (None, Some(_)) => "no items are missing".to_owned(),
            (_, None) => "how many items are missing is not known".to_owned(),
        }
    }

    /// Returns a warning if the list is incomplete.
    fn shortfall(&self) -> Option<String> {
        let missing = || self.missing_in_words();
        if self.stopped.is_some() {
            return Some(format!(
                "a page could not be read (see `stopped`); {}",
                missing()
            ));
        }
        if self.wishes.all && self.next.is_some() {
            let bound = self.reached().unwrap_or_default();
            return Some(format!(
                "reading stopped at the bound of {bound}; {}; `next` goes on",
                missing()
            ));
        }
        // Later pages have warned already. An empty page after the end of a list is correct.
        let is_short = self.pages == 1 && self.next.is_none() && self.missing().is_some();
        match self.items.is_empty() {
            true if is_short => Some(format!("the page is empty; {}", missing())),
            false if is_short && self.wishes.all => Some(format!(
                "this page is said to be the only one; {}",
                missing()
            )),
            _ => None,
        }
    }

    /// Stops because the next page could not be read. The collected items stay.
    pub fn stop(&mut self, why: String) {
        self.stopped = Some(why);
    }

    /// Returns the number of items so far, and the total if it is known.
    pub fn progress(&self) -> (usize, Option<u64>) {
        (self.items.len(), total(&self.envelope))
    }

    /// Returns the list in its envelope.
    ///
    /// `total`, `returned` and `next` are added; `next` holds the arguments of the next page, or
    /// null after the last. Fields of these names from Portkey stay. `absent_fields` are names that
    /// no item has, and `stopped` is the reason for which collecting ended early.
    pub fn finish(mut self) -> Value {
        if self.at.is_some() {
            self.warnings.extend(self.shortfall());
        }
        let Self {
            wishes,
            mut envelope,
            at,
            items,
            next,
            stopped,
            warnings,
            ..
        } = self;
        let fields = &wishes.fields;
        let Some(at) = at else {
            return add_warnings(fields.of(&Value::Object(envelope)), warnings);
        };
        let known = total(&envelope).or(next.is_none().then_some(items.len() as u64));
        let mut say = |name: &str, value: Value| {
            envelope.entry(name).or_insert(value);
        };
        say("total", json!(known));
        say("returned", items.len().into());
        say("next", next.map(|args| wishes.back_in(args)).into());
        if let Some(why) = stopped {
            say("stopped", why.into());
        }
        let absent = fields.absent(&items);
        if !absent.is_empty() && !items.is_empty() {
            say("absent_fields", json!(absent));
        }
        let items = if fields.is_empty() {
            items
        } else {
            items.iter().map(|item| fields.of(item)).collect()
        };
        envelope.insert(at, items.into());
        add_warnings(Value::Object(envelope), warnings)
    }
}

/// Splits a response into the envelope, the key of the items and the items.
fn split(answer: Value) -> (JsonMap, Option<String>, Vec<Value>) {
    let mut envelope = match answer {
        Value::Array(items) => return (JsonMap::new(), Some(DATA.to_owned()), items),
        Value::Object(envelope) => envelope,
        other => {
            return (
                JsonMap::from_iter([(DATA.to_owned(), other)]),
                None,
                Vec::new(),
            );
        }
    };
    let is_list = |name: &&str| envelope.get(*name).is_some_and(Value::is_array);
    let Some(at) = ITEMS.into_iter().find(is_list) else {
        return (envelope, None, Vec::new());
    };
    match envelope.shift_remove(at) {
        Some(Value::Array(items)) => (envelope, Some(at.to_owned()), items),
        _ => (envelope, None, Vec::new()),
    }
}

/// Removes from an envelope the warnings that were added to it before.
fn take_warnings(envelope: &mut JsonMap) -> Vec<String> {
    let texts: Option<Vec<String>> = envelope.get(WARNINGS).and_then(|warnings| {
        let texts = warnings.as_array()?.iter();
        texts.map(|text| text.as_str().map(str::to_owned)).collect()
    });
    let Some(texts) = texts else {
        return Vec::new();
    };
    envelope.shift_remove(WARNINGS);
    texts
}

/// Hash and size of a page, computed in one pass without a copy of the page.
#[derive(Default)]
struct Digest {
    hash: u64,
    bytes: usize,
}

#[derive(Default)]
struct Digesting {
    hasher: DefaultHasher,
    bytes: usize,
}

impl Digest {
    fn of(items: &[Value]) -> Self {
        let mut digesting = Digesting::default();
        // Writing to it cannot fail.
        _ = serde_json::to_writer(&mut digesting, items);
        Self {
            hash: digesting.hasher.finish(),
            bytes: digesting.bytes,
        }
    }
}

impl io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.write(bytes);
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the total number of items that the envelope reports.
fn total(envelope: &JsonMap) -> Option<u64> {
    let total = envelope.get("total").or(envelope.get("total_count"))?;
    total
        .as_u64()
        .or_else(|| total.as_str()?.trim().parse().ok())
}

/// Returns an integer argument, which may be given as a text.
fn argument(args: &JsonMap, name: &str) -> Option<u64> {
    match args.get(name)? {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    }
}
