//! What the addresses of resources lead to.
//!
//! | address | leads to |
//! | --- | --- |
//! | `portkey://guide/{topic}` | a [guide](crate::mcp::guide) |
//! | `portkey://operations/{name}` | an operation: schema, effect, scopes, an example |
//! | `portkey://results/{handle}` | an answer that was shown in part, as `read-result` begins it |
//! | `portkey://{domain}/{id}` | a thing, as the domain's GET of it answers |

mod example;

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use portkey_api::catalog::{Catalog, Entry};
use portkey_operation::{JsonMap, Operation, Plan};
use serde_json::{Value, json};

pub use example::example;

/// What every address begins with.
const SCHEME: &str = "portkey://";
/// What stands in the place of a domain for a guide.
const GUIDE: &str = "guide";
/// What stands in the place of a domain for an operation.
const OPERATIONS: &str = "operations";

/// What stands in the place of a domain for a kept answer.
const RESULTS: &str = "results";

/// The template of a kept answer's address; its place is the argument `handle`.
pub const RESULT_TEMPLATE: &str = "portkey://results/{handle}";
/// The template of an operation's address; its place is the argument `name`.
pub const OPERATION_TEMPLATE: &str = "portkey://operations/{name}";
/// The template of a guide's address; its place is the argument `topic`.
pub const GUIDE_TEMPLATE: &str = "portkey://guide/{topic}";

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The guide of a topic.
    Guide(String),
    /// The operation of a name.
    Operation(String),
    /// The answer that a handle names.
    Result(String),
    /// One thing of a domain.
    Thing {
        /// The domain.
        domain: String,
        /// Its UUID or slug.
        id: String,
    },
}

impl Address {
    /// Reads an address; none where it is not one of ours.
    pub fn parse(uri: &str) -> Option<Self> {
        let (kind, name) = uri.strip_prefix(SCHEME)?.split_once('/')?;
        let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
        if kind.is_empty() || name.is_empty() {
            return None;
        }
        Some(match kind {
            GUIDE => Self::Guide(name),
            OPERATIONS => Self::Operation(name),
            RESULTS => Self::Result(name),
            domain => Self::Thing {
                domain: domain.to_owned(),
                id: name,
            },
        })
    }
}

/// The address of a guide.
pub fn guide_uri(topic: &str) -> String {
    format!("{SCHEME}{GUIDE}/{topic}")
}

/// The address of a kept answer.
pub fn result_uri(handle: &str) -> String {
    format!("{SCHEME}{RESULTS}/{handle}")
}

/// A kind of thing that can be read by its id.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    /// The operation that reads it.
    pub read: &'a Entry,
    /// The argument that takes the id.
    pub argument: &'static str,
}

impl<'a> Kind<'a> {
    /// Every kind, by domain: of the GETs with one place in the path, and nothing else that has to be
    /// given, the one with the shortest path.
    pub fn all(catalog: &'a Catalog) -> BTreeMap<&'static str, Self> {
        let mut kinds = BTreeMap::<_, Self>::new();
        for kind in catalog.iter().filter_map(Self::of) {
            let known = kinds.entry(kind.read.domain.name).or_insert(kind);
            if kind.read.operation.path().len() < known.read.operation.path().len() {
                *known = kind;
            }
        }
        kinds
    }

    fn of(read: &'a Entry) -> Option<Self> {
        let mut places = read.operation.placeholders();
        let (argument, None) = (places.next()?, places.next()) else {
            return None;
        };
        let is_read = read.operation.method() == http::Method::GET;
        (is_read && required(read).eq([argument])).then_some(Self { read, argument })
    }

    /// The template of its addresses.
    pub fn template(&self) -> String {
        format!("{SCHEME}{}/{{{}}}", self.read.domain.name, self.argument)
    }

    /// The arguments that read one.
    pub fn arguments(&self, id: &str) -> JsonMap {
        [(self.argument.to_owned(), id.into())]
            .into_iter()
            .collect()
    }

    /// The operation that lists what the id can be: the GET on the path up to it.
    pub fn list(&self, catalog: &'a Catalog) -> Option<&'a Entry> {
        let this = self.read.operation;
        let (above, _) = this.path().split_once("/{")?;
        let lists = |operation: &Operation| {
            operation.method() == http::Method::GET
                && operation.base() == this.base()
                && operation.path() == above
        };
        catalog.iter().find(|entry| lists(entry.operation))
    }
}

/// What a call has to give.
fn required(entry: &Entry) -> impl Iterator<Item = &str> {
    let names = entry
        .published()
        .full_schema()
        .get("required")
        .and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

/// All there is to know of an operation before it is called: `{name, title, description, domain, aliases,
/// effect, hints, request, scopes, plan, answer, schema, example}`.
pub fn operation(entry: &Entry) -> Value {
    let (operation, published) = (entry.operation, entry.published());
    let hints = operation.hints();
    json!({
        "name": operation.name(),
        "title": published.title(),
        "description": published.description(),
        "domain": entry.domain.name,
        "aliases": operation.other_names(),
        "effect": operation.effects().word(),
        "hints": {
            "read_only": hints.read_only,
            "destructive": hints.destructive,
            "idempotent": hints.idempotent,
            "open_world": hints.open_world,
        },
        "request": {
            "upstream": operation.base().upstream().name(),
            "method": operation.method().as_str(),
            "path": operation.path(),
        },
        "scopes": operation.needs_scopes(),
        "plan": match operation.plan() {
            Plan::Any => "any",
            Plan::Enterprise => "Enterprise",
        },
        "answer": {
            "shown_once": operation.revealed(),
            "masked": operation.secret_fields(),
            "written_by_strangers": operation.is_untrusted(),
        },
        "schema": &**published.schema(),
        "example": example(entry),
    })
}
