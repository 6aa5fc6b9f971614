//! Lists: how they are paged, what every one of them says, and what may be wished of any.
//!
//! Pages are numbered from zero, and by `page` from one where its schema says so; the registry has a
//! cursor (quirks.md §4).

use std::{
    hash::{DefaultHasher, Hasher},
    io,
};

use portkey_operation::{Effect, InputError, JsonMap, Published};
use serde_json::{Value, json};

use super::{
    DATA,
    project::{Fields, MAX_FIELDS},
    warnings::{WARNINGS, add_warnings},
};
/// Bound on the items that are gathered of a list; the page that reaches it is the last.
pub const MOST_ITEMS: usize = 1_000;
/// Bound on the pages that are gathered of a list.
pub const MOST_PAGES: usize = 20;
/// Bound on what is gathered of a list, in bytes.
const MOST_BYTES: usize = 8 << 20;

/// The arguments that every list takes beside its own: which fields to return, and
const FIELDS: &str = "fields";
/// whether the pages that follow are wanted, too.
pub(crate) const ALL: &str = "all";
/// Where the items of a list stand, by its envelope (quirks.md §4.8).
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
/// The arguments that number pages, each with the one that sizes them.
const NUMBERED: [(&str, &str); 3] = [
    ("current_page", "page_size"),
    ("currentPage", "pageSize"),
    ("page", "page_size"),
];
const CURSOR: &str = "cursor";

/// An operation that lists something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    paging: Paging,
    /// Whether it has arguments of these names itself.
    own: [bool; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Paging {
    /// All at once.
    Whole,
    Numbered {
        number: &'static str,
        first: u64,
        size: &'static str,
    },
    Cursor,
}

/// What is wished of a list, beyond its own arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    fields: Fields,
    all: bool,
}

/// Pages of one list, put together.
#[derive(Debug)]
pub struct Gathered<'a> {
    listing: &'a Listing,
    wishes: &'a Wishes,
    /// The last answer without its items.
    envelope: JsonMap,
    /// Where the items stand; none in an answer that has no list.
    at: Option<String>,
    items: Vec<Value>,
    pages: usize,
    bytes: usize,
    next: Option<JsonMap>,
    stopped: Option<String>,
    /// How many items come before the first page.
    skipped: u64,
    /// What the first page said of the total.
    first_total: Option<u64>,
    /// Tells the pages apart that have come.
    known: Vec<u64>,
    warnings: Vec<String>,
}

impl Listing {
    /// How an operation lists, if it does: by the names of its arguments, and by its own.
    pub fn of(published: &Published) -> Option<Self> {
        let (operation, schema) = (published.operation(), published.full_schema());
        let arguments = schema.get("properties").and_then(Value::as_object);
        // Each call asks for five names, most of them in vain: comparing them is less work than hashing them.
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
        if operation.effects() != Effect::Read
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

    /// Takes out of the arguments of a call what is wished beyond those of the operation.
    ///
    /// # Errors
    /// A wish is not of its kind.
    pub fn take_wishes(&self, args: &mut JsonMap) -> Result<Wishes, InputError> {
        let [own_fields, own_all] = self.own;
        let mut wishes = Wishes::default();
        if !own_fields && let Some(value) = args.shift_remove(FIELDS) {
            let told = format!(
                "takes a list of up to {MAX_FIELDS} names of fields, such as [\"id\", \"limits.cost\"]"
            );
            wishes.fields = Fields::parse(&value).ok_or_else(|| InputError::one(FIELDS, told))?;
        }
        if !own_all && let Some(value) = args.shift_remove(ALL) {
            wishes.all = match value {
                Value::Null => false,
                Value::Bool(all) => all,
                Value::String(text) if text == "true" => true,
                Value::String(text) if text == "false" => false,
                _ => return Err(InputError::one(ALL, "takes true or false")),
            };
        }
        Ok(wishes)
    }

    /// How many items come before the page of these arguments; `returned` are on it.
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
        // What does not say how large its pages are has told by the first one.
        match argument(args, size).filter(|size| *size > 0) {
            Some(size) => (here - first).saturating_mul(size),
            // An empty page may be any way behind the end.
            None if returned == 0 && here > first => u64::MAX,
            None => (here - first).saturating_mul(returned),
        }
    }

    /// The arguments of the page that comes after this one, if one does. Of the list are `seen` items up to
    /// its end.
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
                // Pages may be smaller than they were asked to be.
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
    /// Whether all pages are wished for.
    pub const fn all(&self) -> bool {
        self.all
    }

    /// The arguments with the wishes back in.
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
    /// Begins with the answer to a call of these arguments.
    pub fn begin(listing: &'a Listing, wishes: &'a Wishes, args: &JsonMap, answer: Value) -> Self {
        let (mut envelope, at, items) = split(answer);
        let returned = items.len() as u64;
        let skipped = listing.skipped(args, returned);
        let seen = skipped.saturating_add(returned);
        let next = at
            .as_ref()
            .and_then(|_| listing.next(args, &envelope, returned, seen));
        // Of a list that is not read on, nobody asks.
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

    /// The arguments of the next page, unless that was the last one, or enough.
    pub fn wants(&self) -> Option<&JsonMap> {
        let enough = self.reached().is_some() || self.stopped.is_some();
        self.next.as_ref().filter(|_| self.wishes.all && !enough)
    }

    /// The bound that was reached, if one was.
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

    /// Adds the page that was wanted.
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
            // Once for each change.
            self.first_total = Some(now);
        }
        let Digest { hash, bytes } = Digest::of(&items);
        if !items.is_empty() && self.known.contains(&hash) {
            // It does not page after all.
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

    /// How many items of the list there are up to the end of what is gathered.
    fn seen(&self) -> u64 {
        self.skipped.saturating_add(self.items.len() as u64)
    }

    /// How many items are missing of the total that the upstream tells.
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

    /// What is to be said of a list that is not all there.
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
        // What comes later has told of itself. An empty page behind the end of a list is as it should be.
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

    /// The page that was wanted cannot be had. What was gathered stays.
    pub fn stop(&mut self, why: String) {
        self.stopped = Some(why);
    }

    /// How many items there are so far, and how many in all if that is known.
    pub fn progress(&self) -> (usize, Option<u64>) {
        (self.items.len(), total(&self.envelope))
    }

    /// The list in its envelope, which says `total`, `returned` and `next`: the arguments of the next
    /// page, null behind the last. What Portkey says of that stays. `absent_fields` are names that no
    /// item has; `stopped` says why gathering ended early.
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

/// An answer as envelope and items, and where these stand.
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

/// Takes the warnings out of an envelope that were put there on the way.
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

/// Tells pages apart, and how large one is. Made in one go, without a copy of the page.
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

/// How many items there are in all, as the envelope says.
fn total(envelope: &JsonMap) -> Option<u64> {
    let total = envelope.get("total").or(envelope.get("total_count"))?;
    total
        .as_u64()
        .or_else(|| total.as_str()?.trim().parse().ok())
}

/// A whole number among the arguments, which may be written as a text.
fn argument(args: &JsonMap, name: &str) -> Option<u64> {
    match args.get(name)? {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    }
}
