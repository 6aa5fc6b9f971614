//! The tools that are no operations: they find, describe and call operations, and say who calls.
//!
//! Each is declared like an operation, so that schema, hints and the check of arguments come from one place.
//! None is ever laid out on the wire.

use std::{borrow::Cow, sync::LazyLock};

use portkey_operation::{
    Effect, JsonMap, Operation, Presentation, Published, delete, get, post, put,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// One of our own tools.
#[derive(Debug)]
pub struct OwnTool {
    /// What it does.
    pub does: Does,
    /// Its declaration.
    pub operation: &'static Operation,
    /// The same with its schema.
    pub published: Published,
}

impl OwnTool {
    /// Its declaration as an operator wants it presented.
    pub fn presented(&self, presentation: &Presentation) -> Published {
        Published::presented(self.operation.clone(), presentation)
    }
}

/// What a tool of ours does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Finds operations by what they are for.
    Search,
    /// Says what an operation takes.
    Describe,
    /// Calls an operation that has this effect, and no other.
    Execute(Effect),
    /// Reads on in an answer that was too large to show.
    ReadResult,
    /// Says who calls, and what the key may do.
    WhoAmI,
}

/// What they are, in the order of names. The hints of those that call operations are what any of these may
/// do.
static TOOLS: &[(Operation, Does)] = &[
    (
        post::<Execute>("create-operation", "/").destructive().open_world().about(
            "Create",
            "Calls an operation that creates or adds something. `search-operations` finds it.",
        ),
        Does::Execute(Effect::Create),
    ),
    (
        delete::<Execute>("delete-operation", "/").about(
            "Delete",
            "Calls an operation that removes something. `search-operations` finds it.",
        ),
        Does::Execute(Effect::Delete),
    ),
    (get::<Describe>("describe-operation", "/"), Does::Describe),
    (
        get::<Execute>("read-operation", "/").open_world().about(
            "Read",
            "Calls an operation that changes nothing. `search-operations` finds it; describing it first is \
             optional, since a call that is wrong is answered with what the operation takes.",
        ),
        Does::Execute(Effect::Read),
    ),
    (get::<ReadResult>("read-result", "/"), Does::ReadResult),
    (get::<Search>("search-operations", "/"), Does::Search),
    (
        put::<Execute>("update-operation", "/").destructive().not_idempotent().about(
            "Update",
            "Calls an operation that changes what is there. Fields left out stay as they are, unless its \
             description says otherwise. `search-operations` finds it.",
        ),
        Does::Execute(Effect::Update),
    ),
    (get::<WhoAmI>("whoami", "/"), Does::WhoAmI),
];

/// Find operations
///
/// Names the operations that do what you ask for, best first, and the tool that calls each. Say it in a few
/// words, in English or German.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct Search {
    /// What is to be done, such as `turn off a provider`.
    #[schemars(length(min = 1, max = 300))]
    query: String,
    /// Only operations that do this.
    effect: Option<Word>,
    /// How many; 8 when left out.
    #[schemars(range(min = 1, max = 30))]
    limit: Option<u32>,
}

/// What an operation does.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Word {
    Read,
    Create,
    Update,
    Delete,
}

/// Describe an operation
///
/// Says what an operation does and needs, and which arguments it takes, as JSON Schema.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct Describe {
    /// Its name, such as `create-integration`.
    operation: String,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct Execute {
    /// Its name, such as `list-all-integrations`.
    operation: String,
    /// What the operation takes; may be left out where it needs nothing.
    arguments: Option<JsonMap>,
}

/// Read a result
///
/// Reads on in an answer that came `truncated`: a part of it, page by page, or what a search finds. The call
/// itself is not repeated.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ReadResult {
    /// As `truncated` has it.
    handle: String,
    /// JSON Pointer to the part, such as `/data/0/name`; the whole when left out.
    #[schemars(length(max = 2048))]
    pointer: Option<String>,
    /// How many items, entries or characters to pass over.
    offset: Option<u32>,
    /// How many to return at most.
    #[schemars(range(min = 1))]
    limit: Option<u32>,
    /// Text to look for in names and values there.
    #[schemars(length(min = 1, max = 256))]
    search: Option<String>,
}

/// Who am I
///
/// Says who calls, what this server leaves on offer, and what the Portkey key may do as far as a few cheap
/// reads tell: ask before learning it from refusals.
#[derive(Deserialize, JsonSchema)]
struct WhoAmI {}

/// All of them, in the order of names.
pub fn tools() -> &'static [OwnTool] {
    static MADE: LazyLock<Vec<OwnTool>> = LazyLock::new(|| {
        let made = TOOLS.iter().map(|(operation, does)| OwnTool {
            does: *does,
            operation,
            published: Published::new(operation.clone()),
        });
        made.collect()
    });
    &MADE
}

/// The one of this name, with hyphens or underscores.
pub fn named(name: &str) -> Option<&'static OwnTool> {
    let name = match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    };
    // Most calls are of operations: no schema is built to find that out.
    tools().get(
        TOOLS
            .iter()
            .position(|(operation, _)| operation.name() == name)?,
    )
}
