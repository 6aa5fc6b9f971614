//! Lists: how they are paged, what every one of them says, and what may be wished of any.
//!
//! Pages are numbered from zero, and by `page` from one where its schema says so; the registry has a
//! cursor (quirks.md §4).

use serde_json::{Value, json};

use super::{DATA, preview, project::Fields};
use crate::operation::{Effect, InputError, JsonMap, Published};

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
const ITEMS: [&str; 8] =
    [DATA, "models", "workspaces", "capabilities", "mappings", "records", "servers", "groups"];
/// The arguments that number pages, each with the one that sizes them.
const NUMBERED: [(&str, &str); 3] =
    [("current_page", "page_size"), ("currentPage", "pageSize"), ("page", "page_size")];
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
}

impl Listing {
    /// How an operation lists, if it does: by the names of its arguments, and by its own.
    pub fn of(published: &Published) -> Option<Self> {
        let (operation, schema) = (published.operation(), published.full_schema());
        let argument = |name: &str| schema.get("properties")?.get(name);
        let paging = NUMBERED.iter().find_map(|(number, size)| {
            let first = argument(number)?.get("minimum").and_then(Value::as_u64).unwrap_or(0);
            argument(size).map(|_| Paging::Numbered { number, first, size })
        });
        let cursor = argument(CURSOR).map(|_| Paging::Cursor);
        let paging = paging.or(cursor);
        if operation.effects() != Effect::Read
            || (paging.is_none() && !operation.name().starts_with("list-"))
        {
            return None;
        }
        let own = [FIELDS, ALL].map(|name| argument(name).is_some());
        Some(Self { paging: paging.unwrap_or(Paging::Whole), own })
    }

    /// Takes out of the arguments of a call what is wished beyond those of the operation.
    ///
    /// # Errors
    /// A wish is not of its kind.
    pub fn take_wishes(&self, args: &mut JsonMap) -> Result<Wishes, InputError> {
        let [own_fields, own_all] = self.own;
        let mut wishes = Wishes::default();
        if !own_fields && let Some(value) = args.shift_remove(FIELDS) {
            let told = "takes a list of names of fields, such as [\"id\", \"limits.cost\"]";
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

    /// The arguments of the page that comes after this one, if one does.
    fn next(&self, args: &JsonMap, envelope: &JsonMap, returned: usize) -> Option<JsonMap> {
        let mut next = args.clone();
        match self.paging {
            Paging::Whole => return None,
            Paging::Cursor => {
                let cursor = envelope.get("metadata")?.get("nextCursor")?.as_str()?;
                next.insert(CURSOR.to_owned(), cursor.into());
            }
            Paging::Numbered { number, first, size } => {
                let here = argument(args, number).unwrap_or(first).max(first);
                let asked = argument(args, size).filter(|size| *size > 0);
                let returned = returned as u64;
                let is_first = here == first;
                // What does not say how large its pages are has told by the first one.
                let size_of_page = asked.unwrap_or(returned);
                let seen = (here - first).saturating_mul(size_of_page).saturating_add(returned);
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
                if is_first && asked.is_none() {
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
        let (envelope, at, items) = split(answer);
        let next = at.as_ref().and_then(|_| listing.next(args, &envelope, items.len()));
        let bytes = preview::size(&items, MOST_BYTES).unwrap_or(MOST_BYTES);
        Self { listing, wishes, envelope, at, items, pages: 1, bytes, next, stopped: None }
    }

    /// The arguments of the next page, unless that was the last one, or enough.
    pub fn wants(&self) -> Option<&JsonMap> {
        let enough = self.items.len() >= MOST_ITEMS
            || self.pages >= MOST_PAGES
            || self.bytes >= MOST_BYTES
            || self.stopped.is_some();
        self.next.as_ref().filter(|_| self.wishes.all && !enough)
    }

    /// Adds the page that was wanted.
    pub fn add(&mut self, answer: Value) {
        let Some(args) = self.next.take() else { return };
        let (envelope, _, items) = split(answer);
        let repeats = !items.is_empty() && self.items.ends_with(&items);
        if repeats {
            // It does not page after all.
            return;
        }
        self.next = self.listing.next(&args, &envelope, items.len());
        self.bytes += preview::size(&items, MOST_BYTES).unwrap_or(MOST_BYTES);
        self.pages += 1;
        self.envelope = envelope;
        self.items.extend(items);
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
    pub fn finish(self) -> Value {
        let Self { wishes, mut envelope, at, items, next, stopped, .. } = self;
        let fields = &wishes.fields;
        let Some(at) = at else { return fields.of(&Value::Object(envelope)) };
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
        Value::Object(envelope)
    }
}

/// An answer as envelope and items, and where these stand.
fn split(answer: Value) -> (JsonMap, Option<String>, Vec<Value>) {
    let mut envelope = match answer {
        Value::Array(items) => return (JsonMap::new(), Some(DATA.to_owned()), items),
        Value::Object(envelope) => envelope,
        other => return (JsonMap::from_iter([(DATA.to_owned(), other)]), None, Vec::new()),
    };
    let is_list = |name: &&str| envelope.get(*name).is_some_and(Value::is_array);
    let Some(at) = ITEMS.into_iter().find(is_list) else { return (envelope, None, Vec::new()) };
    match envelope.shift_remove(at) {
        Some(Value::Array(items)) => (envelope, Some(at.to_owned()), items),
        _ => (envelope, None, Vec::new()),
    }
}

/// How many items there are in all, as the envelope says.
fn total(envelope: &JsonMap) -> Option<u64> {
    envelope.get("total").or(envelope.get("total_count"))?.as_u64()
}

/// A whole number among the arguments, which may be written as a text.
fn argument(args: &JsonMap, name: &str) -> Option<u64> {
    match args.get(name)? {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    }
}
