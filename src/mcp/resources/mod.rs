//! Resource URIs and the data behind them.
//!
//! | URI | resource |
//! | --- | --- |
//! | `portkey://guide/{topic}` | a [guide](crate::mcp::guide) |
//! | `portkey://operations/{name}` | an operation: schema, effect, scopes, an example |
//! | `portkey://results/{handle}` | a stored result, as `read-result` begins it |
//! | `portkey://{domain}/{id}` | an entity, as the domain's GET returns it |
//! | `ui://portkey-mcp/{tool}` | a [card](crate::mcp::cards) for the results of a tool |

mod example;

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_operation::{JsonMap, Operation, Plan};
use serde_json::{Value, json};

pub use example::example_arguments;

use super::cards::CARD_URI_PREFIX;

/// Prefix of every URI.
const URI_PREFIX: &str = "portkey://";
/// Segment for guides, in the place of a domain.
const GUIDE_SEGMENT: &str = "guide";
/// Segment for operations, in the place of a domain.
const OPERATIONS_SEGMENT: &str = "operations";

/// Segment for stored results, in the place of a domain.
const RESULTS_SEGMENT: &str = "results";

/// URI template of a stored result, with the variable `handle`.
pub const RESULT_TEMPLATE: &str = "portkey://results/{handle}";
/// URI template of an operation, with the variable `name`.
pub const OPERATION_TEMPLATE: &str = "portkey://operations/{name}";
/// URI template of a guide, with the variable `topic`.
pub const GUIDE_TEMPLATE: &str = "portkey://guide/{topic}";

/// A parsed resource URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceAddress {
    /// Guide on a topic.
    Guide(String),
    /// Operation of a name.
    Operation(String),
    /// Stored result of a handle.
    Result(String),
    /// Card of a tool.
    Card(String),
    /// Entity of a domain.
    Entity {
        /// Name of the domain.
        domain: String,
        /// UUID or slug.
        id: String,
    },
}

impl ResourceAddress {
    /// Parses a URI; `None` if it is none of this server's.
    pub fn parse(uri: &str) -> Option<Self> {
        if let Some(tool) = uri.strip_prefix(CARD_URI_PREFIX) {
            return parse_segment(tool).map(Self::Card);
        }
        let (kind, name) = uri.strip_prefix(URI_PREFIX)?.split_once('/')?;
        let name = parse_segment(name).filter(|_| !kind.is_empty())?;
        Some(match kind {
            GUIDE_SEGMENT => Self::Guide(name),
            OPERATIONS_SEGMENT => Self::Operation(name),
            RESULTS_SEGMENT => Self::Result(name),
            domain => Self::Entity {
                domain: domain.to_owned(),
                id: name,
            },
        })
    }
}

impl ResourceAddress {
    /// Returns the URI without percent-encoding. Policies compare it, so that a resource has one
    /// spelling.
    pub fn to_plain_uri(&self) -> String {
        let (kind, name) = match self {
            Self::Guide(topic) => (GUIDE_SEGMENT, topic),
            Self::Operation(name) => (OPERATIONS_SEGMENT, name),
            Self::Result(handle) => (RESULTS_SEGMENT, handle),
            Self::Card(tool) => return format!("{CARD_URI_PREFIX}{tool}"),
            Self::Entity { domain, id } => (domain.as_str(), id),
        };
        format!("{URI_PREFIX}{kind}/{name}")
    }
}

/// Decodes the last segment of a URI; `None` if it is empty.
fn parse_segment(segment: &str) -> Option<String> {
    let decoded = percent_decode_str(segment).decode_utf8().ok()?;
    (!decoded.is_empty()).then(|| decoded.into_owned())
}

/// Returns the URI of a guide.
pub fn guide_uri(topic: &str) -> String {
    format!("{URI_PREFIX}{GUIDE_SEGMENT}/{topic}")
}

/// Returns the URI of a stored result.
pub fn result_uri(handle: &str) -> String {
    format!("{URI_PREFIX}{RESULTS_SEGMENT}/{handle}")
}

/// A kind of entity that can be read by its id.
#[derive(Clone, Copy, Debug)]
pub struct ResourceKind<'a> {
    /// Operation that reads an entity.
    pub read: &'a CatalogEntry,
    /// Argument that takes the id.
    pub id_argument: &'static str,
}

impl<'a> ResourceKind<'a> {
    /// Returns every kind by its domain.
    ///
    /// A kind is a GET with one path parameter and no other required argument. Of several in one
    /// domain, the one with the shortest path counts; preview operations come last.
    pub fn by_domain(catalog: &'a Catalog) -> BTreeMap<&'static str, Self> {
        let mut kinds = BTreeMap::<_, Self>::new();
        for kind in catalog.iter().filter_map(Self::for_operation) {
            let known = kinds.entry(kind.read.domain.name).or_insert(kind);
            if kind.rank() < known.rank() {
                *known = kind;
            }
        }
        kinds
    }

    fn rank(&self) -> (bool, usize) {
        let operation = self.read.operation;
        (!operation.is_stable(), operation.path().len())
    }

    fn for_operation(read: &'a CatalogEntry) -> Option<Self> {
        let mut places = read.operation.placeholders();
        let (argument, None) = (places.next()?, places.next()) else {
            return None;
        };
        let is_read = read.operation.method() == http::Method::GET;
        (is_read && required_arguments(read).eq([argument])).then_some(Self {
            read,
            id_argument: argument,
        })
    }

    /// Returns the URI template.
    pub fn uri_template(&self) -> String {
        format!(
            "{URI_PREFIX}{}/{{{}}}",
            self.read.domain.name, self.id_argument
        )
    }

    /// Returns the arguments that read the entity of an id.
    pub fn read_arguments(&self, id: &str) -> JsonMap {
        [(self.id_argument.to_owned(), id.into())]
            .into_iter()
            .collect()
    }

    /// Finds the operation that lists the possible ids: the GET on the path before the parameter.
    pub fn list_operation(&self, catalog: &'a Catalog) -> Option<&'a CatalogEntry> {
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

/// Returns the required arguments of a call.
fn required_arguments(entry: &CatalogEntry) -> impl Iterator<Item = &str> {
    let names = entry
        .compiled()
        .full_schema()
        .get("required")
        .and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

/// Describes an operation in full, before it is called: `{name, title, description, domain,
/// aliases, effect, hints, request, scopes, plan, answer, schema, example}`.
pub fn describe_operation(entry: &CatalogEntry) -> Value {
    let operation = entry.operation;
    let published = entry.compiled();
    let hints = operation.hints();
    json!({
        "name": operation.name(),
        "title": published.title(),
        "description": published.description(),
        "domain": entry.domain.name,
        "aliases": operation.alias_names(),
        "effect": operation.effect().as_str(),
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
        "scopes": operation.required_scopes(),
        "plan": match operation.plan() {
            Plan::Any => "any",
            Plan::Enterprise => "Enterprise",
        },
        "preview": !operation.is_stable(),
        "answer": {
            "shown_once": operation.one_time_secrets(),
            "masked": operation.secret_fields(),
            "written_by_strangers": operation.has_untrusted_content(),
        },
        "schema": &**published.schema(),
        "example": example_arguments(entry),
    })
}
