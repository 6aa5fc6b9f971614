//! Lists: paging, common fields of every list, and the options that every list accepts.
//!
//! Pages are numbered from zero, except that `page` begins at one if its schema says so. The MCP
//! registry uses a cursor.

use std::{
    hash::{DefaultHasher, Hasher},
    io,
};

use portkey_operation::{CompiledOperation, Effect, InputError, JsonMap};
use serde_json::{Value, json};

use super::{
    DATA_KEY,
    project::{FieldSelection, MAX_FIELDS},
    warnings::{WARNINGS_KEY, add_warnings},
};
/// Maximum number of items that are collected from a list. The page that reaches it is the last.
pub const MAX_LIST_ITEMS: usize = 1_000;
/// Maximum number of pages that are collected from a list.
pub const MAX_LIST_PAGES: usize = 20;
/// Maximum size of the items that are collected from a list, in bytes.
const MAX_LIST_BYTES: usize = 8 << 20;

/// Argument that selects fields, accepted by every list beside its own arguments.
const FIELDS_ARGUMENT: &str = "fields";
/// Argument that requests the following pages too, accepted by every list beside its own arguments.
pub(crate) const ALL_ARGUMENT: &str = "all";
/// Argument that requests the lists of all workspaces, accepted by every list that takes a workspace.
pub(crate) const ALL_WORKSPACES_ARGUMENT: &str = "all_workspaces";
/// Argument of lists that has the workspace.
pub(crate) const WORKSPACE_ARGUMENT: &str = "workspace_id";
/// Keys that may hold the items of a list: the envelope differs between endpoints.
pub(super) const ITEM_KEYS: [&str; 8] = [
    DATA_KEY,
    "models",
    "workspaces",
    "capabilities",
    "mappings",
    "records",
    "servers",
    "groups",
];
/// Arguments for the number of a page, each with the argument for its size.
const PAGE_ARGUMENTS: [(&str, &str); 3] = [
    ("current_page", "page_size"),
    ("currentPage", "pageSize"),
    ("page", "page_size"),
];
const CURSOR_ARGUMENT: &str = "cursor";

/// Paging of an operation that lists something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    paging: Paging,
    /// `true` for `fields` and `all` if the operation declares arguments of these names itself.
    declares_option: [bool; 2],
    /// `true` if the operation lists what a workspace has.
    takes_workspace: bool,
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
pub struct ListOptions {
    fields: FieldSelection,
    all_pages: bool,
    all_workspaces: bool,
}

/// Collects the pages of one list.
#[derive(Debug)]
pub struct PageCollector<'a> {
    listing: &'a Listing,
    options: &'a ListOptions,
    /// Last response without its items.
    envelope: JsonMap,
    /// Key that holds the items; `None` if the response has no list.
    items_key: Option<String>,
    items: Vec<Value>,
    /// Number of items, including items that are not collected as documents.
    item_count: usize,
    pages: usize,
    bytes: usize,
    next_page: Option<JsonMap>,
    stop_reason: Option<String>,
    /// Number of the list's items before the first collected page.
    items_before: u64,
    /// Total according to the first page.
    first_total: Option<u64>,
    /// Hashes of the pages that were received, to recognize repeated ones.
    page_hashes: Vec<u64>,
    warnings: Vec<String>,
}

impl Listing {
    /// Returns the paging of an operation by its argument names and its own name; `None` if it does
    /// not list.
    pub fn for_operation(published: &CompiledOperation) -> Option<Self> {
        let operation = published.operation();
        let schema = published.full_schema();
        let arguments = schema.get("properties").and_then(Value::as_object);
        // Each call looks up five names, most of them absent: comparing is cheaper than hashing.
        let argument = |name: &str| {
            let named = arguments?.iter().find(|(argument, _)| *argument == name);
            named.map(|(_, schema)| schema)
        };
        let paging = PAGE_ARGUMENTS.iter().find_map(|(number, size)| {
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
        let cursor = argument(CURSOR_ARGUMENT).map(|_| Paging::Cursor);
        let paging = paging.or(cursor);
        if operation.effect() != Effect::Read
            || (paging.is_none() && !operation.name().starts_with("list-"))
        {
            return None;
        }
        let own = [FIELDS_ARGUMENT, ALL_ARGUMENT].map(|name| argument(name).is_some());
        Some(Self {
            paging: paging.unwrap_or(Paging::Whole),
            declares_option: own,
            takes_workspace: argument(WORKSPACE_ARGUMENT).is_some(),
        })
    }

    /// Removes the list options from the arguments of a call.
    ///
    /// # Errors
    /// Returns an error if an option has an invalid value.
    pub fn take_options(&self, args: &mut JsonMap) -> Result<ListOptions, InputError> {
        let [own_fields, own_all] = self.declares_option;
        let mut wishes = ListOptions::default();
        if !own_fields && let Some(value) = args.shift_remove(FIELDS_ARGUMENT) {
            let message = format!(
                "takes a list of up to {MAX_FIELDS} names of fields, such as [\"id\", \"limits.cost\"]"
            );
            wishes.fields = FieldSelection::parse(&value)
                .ok_or_else(|| InputError::new(FIELDS_ARGUMENT, message))?;
        }
        if !own_all && let Some(value) = args.shift_remove(ALL_ARGUMENT) {
            wishes.all_pages = parse_flag(ALL_ARGUMENT, &value)?;
        }
        if let Some(value) = args.shift_remove(ALL_WORKSPACES_ARGUMENT) {
            wishes.all_workspaces = parse_flag(ALL_WORKSPACES_ARGUMENT, &value)?;
        }
        if wishes.all_workspaces {
            self.check_all_workspaces(args)?;
        }
        Ok(wishes)
    }

    /// Checks that a call can be made for all workspaces.
    fn check_all_workspaces(&self, args: &JsonMap) -> Result<(), InputError> {
        let error = |what: &str| Err(InputError::new(ALL_WORKSPACES_ARGUMENT, what));
        if !self.takes_workspace {
            return error("only lists that take `workspace_id` take it");
        }
        if args.contains_key(WORKSPACE_ARGUMENT) {
            return error("excludes `workspace_id`: give one or the other");
        }
        let is_on_page = match self.paging {
            Paging::Numbered { number, .. } => args.contains_key(number),
            Paging::Cursor => args.contains_key(CURSOR_ARGUMENT),
            Paging::Whole => false,
        };
        match is_on_page {
            true => error("begins with the first page of each workspace: name one to read on"),
            false => Ok(()),
        }
    }

    /// Returns the number of items before the page of these arguments. `returned` is the number of
    /// items on it.
    fn items_before(&self, args: &JsonMap, returned: u64) -> u64 {
        let Paging::Numbered {
            number,
            first,
            size,
        } = self.paging
        else {
            return 0;
        };
        let here = integer_argument(args, number).unwrap_or(first).max(first);
        // Without a size in the arguments, the first page shows the size of pages.
        match integer_argument(args, size).filter(|size| *size > 0) {
            Some(size) => (here - first).saturating_mul(size),
            // An empty page may be any number of pages after the end.
            None if returned == 0 && here > first => u64::MAX,
            None => (here - first).saturating_mul(returned),
        }
    }

    /// Returns the arguments of the following page, if there is one. `seen` is the number of items
    /// up to the end of this page.
    fn next_page(
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
                next.insert(CURSOR_ARGUMENT.to_owned(), cursor.into());
            }
            Paging::Numbered {
                number,
                first,
                size,
            } => {
                let here = integer_argument(args, number).unwrap_or(first).max(first);
                let asked = integer_argument(args, size).filter(|size| *size > 0);
                let more = match (envelope.get("has_more"), total_items(envelope)) {
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

impl ListOptions {
    /// Returns `true` if all pages are requested.
    pub const fn wants_all_pages(&self) -> bool {
        self.all_pages
    }

    /// Returns `true` if nothing but one page with all its fields is requested.
    pub(super) fn wants_page_as_received(&self) -> bool {
        self.fields.is_empty() && !self.all_pages && !self.all_workspaces
    }

    /// Returns `true` if the lists of all workspaces are requested.
    pub const fn wants_all_workspaces(&self) -> bool {
        self.all_workspaces
    }

    /// Puts the options back into the arguments.
    fn insert_into(&self, mut args: JsonMap) -> JsonMap {
        if !self.fields.is_empty() {
            args.insert(FIELDS_ARGUMENT.to_owned(), json!(self.fields.names()));
        }
        if self.all_pages {
            args.insert(ALL_ARGUMENT.to_owned(), true.into());
        }
        args
    }
}

impl<'a> PageCollector<'a> {
    /// Starts with the response to a call of these arguments.
    pub fn new(
        listing: &'a Listing,
        wishes: &'a ListOptions,
        args: &JsonMap,
        answer: Value,
    ) -> Self {
        let (envelope, at, items) = split_envelope(answer);
        let item_count = items.len();
        Self::from_page(listing, wishes, args, envelope, at, (items, item_count))
    }

    /// Starts with a page whose items are `item_count`. They are in `items` unless they are kept as
    /// text elsewhere.
    pub(super) fn from_page(
        listing: &'a Listing,
        wishes: &'a ListOptions,
        args: &JsonMap,
        mut envelope: JsonMap,
        at: Option<String>,
        (items, item_count): (Vec<Value>, usize),
    ) -> Self {
        let returned = item_count as u64;
        let skipped = listing.items_before(args, returned);
        let seen = skipped.saturating_add(returned);
        let next = at
            .as_ref()
            .and_then(|_| listing.next_page(args, &envelope, returned, seen));
        // Pages are compared and counted only if more of them are read.
        let (known, bytes) = match wishes.all_pages {
            true => {
                let PageDigest { hash, bytes } = PageDigest::from_items(&items);
                (vec![hash], bytes)
            }
            false => (Vec::new(), 0),
        };
        Self {
            warnings: take_warnings(&mut envelope),
            first_total: total_items(&envelope),
            listing,
            options: wishes,
            envelope,
            items_key: at,
            items,
            item_count,
            pages: 1,
            bytes,
            next_page: next,
            stop_reason: None,
            items_before: skipped,
            page_hashes: known,
        }
    }

    /// Returns the arguments of the next page to read; `None` after the last page or at a limit.
    pub fn next_page(&self) -> Option<&JsonMap> {
        let enough = self.reached_limit().is_some() || self.stop_reason.is_some();
        self.next_page
            .as_ref()
            .filter(|_| self.options.all_pages && !enough)
    }

    /// Returns the limit that was reached, if any.
    fn reached_limit(&self) -> Option<String> {
        if self.item_count >= MAX_LIST_ITEMS {
            Some(format!("{MAX_LIST_ITEMS} items"))
        } else if self.pages >= MAX_LIST_PAGES {
            Some(format!("{MAX_LIST_PAGES} pages"))
        } else if self.bytes >= MAX_LIST_BYTES {
            Some(format!("{} MiB", MAX_LIST_BYTES >> 20))
        } else {
            None
        }
    }

    /// Adds the response to the requested page.
    pub fn add_page(&mut self, answer: Value) {
        let Some(args) = self.next_page.take() else {
            return;
        };
        let (mut envelope, _, items) = split_envelope(answer);
        self.warnings.extend(take_warnings(&mut envelope));
        self.pages += 1;
        if let (Some(before), Some(now)) = (self.first_total, total_items(&envelope))
            && before != now
        {
            self.warnings.push(format!(
                "the list changed while its pages were read: the total was {before}, then {now}; items may be \
                 missing or listed twice"
            ));
            // One warning for each change.
            self.first_total = Some(now);
        }
        let PageDigest { hash, bytes } = PageDigest::from_items(&items);
        if !items.is_empty() && self.page_hashes.contains(&hash) {
            // The endpoint ignores the page number.
            self.warnings.push(format!(
                "the same page came twice, so paging was given up: the upstream ignores the page that is \
                 asked for; {}",
                self.missing_message()
            ));
            return;
        }
        self.page_hashes.push(hash);
        self.bytes = self.bytes.saturating_add(bytes);
        self.envelope = envelope;
        let returned = items.len() as u64;
        self.item_count += items.len();
        self.items.extend(items);
        self.next_page =
            self.listing
                .next_page(&args, &self.envelope, returned, self.covered_items());
        if self.next_page.is_none() && self.missing_items().is_some() {
            let what = if returned == 0 {
                "is empty"
            } else {
                "is said to be the last"
            };
            self.warnings.push(format!(
                "page {} {what}; {}",
                self.pages,
                self.missing_message()
            ));
        }
    }

    /// Returns the number of items up to the end of the collected pages.
    fn covered_items(&self) -> u64 {
        self.items_before.saturating_add(self.item_count as u64)
    }

    /// Returns the number of items missing from the total that the upstream reports.
    fn missing_items(&self) -> Option<u64> {
        total_items(&self.envelope)?
            .checked_sub(self.covered_items())
            .filter(|missing| *missing > 0)
    }

    fn missing_message(&self) -> String {
        match (self.missing_items(), total_items(&self.envelope)) {
            (Some(missing), Some(total)) => format!("{missing} of {total} items are missing"),
            (None, Some(_)) => "no items are missing".to_owned(),
            (_, None) => "how many items are missing is not known".to_owned(),
        }
    }

    /// Returns a warning if the list is incomplete.
    fn incomplete_warning(&self) -> Option<String> {
        let missing = || self.missing_message();
        if self.stop_reason.is_some() {
            return Some(format!(
                "a page could not be read (see `stopped`); {}",
                missing()
            ));
        }
        if self.options.all_pages && self.next_page.is_some() {
            let bound = self.reached_limit().unwrap_or_default();
            return Some(format!(
                "reading stopped at the bound of {bound}; {}; `next` goes on",
                missing()
            ));
        }
        // Later pages have warned already. An empty page after the end of a list is correct.
        let is_short =
            self.pages == 1 && self.next_page.is_none() && self.missing_items().is_some();
        match self.item_count == 0 {
            true if is_short => Some(format!("the page is empty; {}", missing())),
            false if is_short && self.options.all_pages => Some(format!(
                "this page is said to be the only one; {}",
                missing()
            )),
            _ => None,
        }
    }

    /// Stops because the next page could not be read. The collected items stay.
    pub fn stop(&mut self, why: String) {
        self.stop_reason = Some(why);
    }

    /// Returns the number of items so far, and the total if it is known.
    pub fn progress(&self) -> (usize, Option<u64>) {
        (self.item_count, total_items(&self.envelope))
    }

    /// Returns the list in its envelope.
    ///
    /// `total`, `returned` and `next` are added; `next` holds the arguments of the next page, or
    /// null after the last. Fields of these names from Portkey stay. `absent_fields` are names that
    /// no item has, and `stopped` is the reason for which collecting ended early.
    pub fn finish(mut self) -> Value {
        let items = std::mem::take(&mut self.items);
        let options = self.options;
        let fields = &options.fields;
        let absent = match items.is_empty() {
            true => Vec::new(),
            false => fields.missing_names(&items),
        };
        let items = if fields.is_empty() {
            items
        } else {
            items.iter().map(|item| fields.select(item)).collect()
        };
        self.finish_with(items.into(), &absent)
    }

    /// Returns the envelope of the list as [`Self::finish`] does, with `items` in the place of its
    /// items.
    pub(super) fn finish_with(mut self, items: Value, absent: &[&str]) -> Value {
        if self.items_key.is_some() {
            self.warnings.extend(self.incomplete_warning());
        }
        let Self {
            options: wishes,
            mut envelope,
            items_key: at,
            item_count,
            next_page: next,
            stop_reason: stopped,
            warnings,
            ..
        } = self;
        let fields = &wishes.fields;
        let Some(at) = at else {
            return add_warnings(fields.select(&Value::Object(envelope)), warnings);
        };
        let known = total_items(&envelope).or(next.is_none().then_some(item_count as u64));
        let mut say = |name: &str, value: Value| {
            envelope.entry(name).or_insert(value);
        };
        say("total", json!(known));
        say("returned", item_count.into());
        say("next", next.map(|args| wishes.insert_into(args)).into());
        if let Some(why) = stopped {
            say("stopped", why.into());
        }
        if !absent.is_empty() {
            say("absent_fields", json!(absent));
        }
        envelope.insert(at, items);
        add_warnings(Value::Object(envelope), warnings)
    }
}

/// Splits a response into the envelope, the key of the items and the items.
pub(super) fn split_envelope(answer: Value) -> (JsonMap, Option<String>, Vec<Value>) {
    let mut envelope = match answer {
        Value::Array(items) => return (JsonMap::new(), Some(DATA_KEY.to_owned()), items),
        Value::Object(envelope) => envelope,
        other => {
            return (
                JsonMap::from_iter([(DATA_KEY.to_owned(), other)]),
                None,
                Vec::new(),
            );
        }
    };
    let is_list = |name: &&str| envelope.get(*name).is_some_and(Value::is_array);
    let Some(at) = ITEM_KEYS.into_iter().find(is_list) else {
        return (envelope, None, Vec::new());
    };
    match envelope.shift_remove(at) {
        Some(Value::Array(items)) => (envelope, Some(at.to_owned()), items),
        _ => (envelope, None, Vec::new()),
    }
}

/// Removes from an envelope the warnings that were added to it before.
fn take_warnings(envelope: &mut JsonMap) -> Vec<String> {
    let texts: Option<Vec<String>> = envelope.get(WARNINGS_KEY).and_then(|warnings| {
        let texts = warnings.as_array()?.iter();
        texts.map(|text| text.as_str().map(str::to_owned)).collect()
    });
    let Some(texts) = texts else {
        return Vec::new();
    };
    envelope.shift_remove(WARNINGS_KEY);
    texts
}

/// Hash and size of a page, computed in one pass without a copy of the page.
#[derive(Default)]
struct PageDigest {
    hash: u64,
    bytes: usize,
}

#[derive(Default)]
struct DigestWriter {
    hasher: DefaultHasher,
    bytes: usize,
}

impl PageDigest {
    fn from_items(items: &[Value]) -> Self {
        let mut digesting = DigestWriter::default();
        // Writing to it cannot fail.
        _ = serde_json::to_writer(&mut digesting, items);
        Self {
            hash: digesting.hasher.finish(),
            bytes: digesting.bytes,
        }
    }
}

impl io::Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.write(bytes);
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Parses a flag, which may be given as a text.
fn parse_flag(name: &str, value: &Value) -> Result<bool, InputError> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        _ => Err(InputError::new(name, "takes true or false")),
    }
}

/// Returns the total number of items that the envelope reports.
fn total_items(envelope: &JsonMap) -> Option<u64> {
    let total = envelope.get("total").or(envelope.get("total_count"))?;
    total
        .as_u64()
        .or_else(|| total.as_str()?.trim().parse().ok())
}

/// Returns an integer argument, which may be given as a text.
fn integer_argument(args: &JsonMap, name: &str) -> Option<u64> {
    match args.get(name)? {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    }
}
