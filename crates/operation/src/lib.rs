//! What an operation is: one REST endpoint, declared once, that becomes one tool.
//!
//! A declaration is a row in its domain's table and a struct:
//!
//! ```ignore
//! pub const OPERATIONS: &[Operation] = &[
//!     delete::<DeleteIntegration>("delete-integration", "/integrations/{slug}"),
//! ];
//! ```
//!
//! The struct's rustdoc is what the model reads, its fields decide what is valid (see `shape`). The caller's
//! JSON is what travels: once validated it is laid over path, query and body by name alone (see `wire`), so a
//! field that is absent, `null` or set stays just that. Fields that this version does not know travel, too.

#[doc(hidden)]
pub mod effort;
mod extent;
mod facts;
mod header;
mod marked;
mod path;
mod presentation;
mod preview;
mod profile;
mod published;
mod reference;
mod row;
mod schema;
mod segment;
mod shape;
mod time;
mod validation;
mod wire;

use std::fmt;

use http::Method;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use preview::Preview;

pub use extent::{MAX_DEPTH, MAX_VALUES, measure};
pub use marked::{EndTime, Nullable, OneOrMany, Open, Secret, StartTime, TextOr, TextOrList, Time};
pub use path::{field_path, field_step};
pub use presentation::{Presentation, Wording};
pub use preview::{Merge, Pending};
pub use profile::Profile;
pub use published::Published;
pub use reference::{Reference, Slot};
pub use shape::{Opaque, did_you_mean, is_misspelling_of, is_same_name};
pub use time::Clock;
pub use validation::{
    Findings, InputError, Problem, Problems, UnknownFields, Validated, ValidationOptions,
};
pub use wire::WireRequest;

/// A JSON object, as arguments arrive and bodies leave.
pub type JsonMap = Map<String, Value>;

/// What a call does to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Looks, and changes nothing.
    Read,
    /// Adds something.
    Create,
    /// Changes what is there.
    Update,
    /// Takes something away.
    Delete,
}

impl Effect {
    /// All effects.
    pub const ALL: [Self; 4] = [Self::Read, Self::Create, Self::Update, Self::Delete];

    /// The word for it, as listings show it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// The four hints that MCP publishes about a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// Changes nothing.
    pub read_only: bool,
    /// May remove or overwrite what cannot be had back.
    pub destructive: bool,
    /// The same call twice leaves the account as the same call once.
    pub idempotent: bool,
    /// Makes the API reach out to a third system on the caller's word.
    pub open_world: bool,
}

/// Who answers a call. Each has a key and an address of its own, and never gets the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Portkey, or whoever runs it oneself.
    Portkey,
    /// Enkrypt AI's cloud (enkrypt.md §1).
    Enkrypt,
}

impl Upstream {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portkey => "Portkey",
            Self::Enkrypt => "Enkrypt AI",
        }
    }

    /// How an operator sets its key.
    pub const fn key_settings(self) -> &'static str {
        match self {
            Self::Portkey => "PORTKEY_API_KEY (or --api-key-file)",
            Self::Enkrypt => "ENKRYPT_API_KEY (or --enkrypt-api-key-file)",
        }
    }

    /// How an operator sets its address.
    pub const fn address_settings(self) -> &'static str {
        match self {
            Self::Portkey => "--base-url (PORTKEY_BASE_URL)",
            Self::Enkrypt => "--enkrypt-base-url (ENKRYPT_BASE_URL)",
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The host and version an operation lives on (quirks.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The control plane, `https://api.portkey.ai/v1` unless configured otherwise.
    ControlPlane,
    /// The second version of the control plane, beside the first: `/v2`.
    ControlPlaneV2,
    /// The inference gateway; the same address at Portkey, another one when self-hosted.
    Gateway,
    /// The registry of MCP servers, `https://mcp.portkey.ai/v0.1`.
    Registry,
    /// Public model catalogue, `https://api.portkey.ai`; takes no key.
    Catalogue,
    /// Public price lists, `https://configs.portkey.ai`; takes no key.
    PriceLists,
    /// Enkrypt AI's cloud, `https://api.enkryptai.com`; has no version in its paths.
    Enkrypt,
}

impl Base {
    /// Whether anyone may ask; the key is never sent there.
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Catalogue | Self::PriceLists)
    }

    /// Whose host it is.
    pub const fn upstream(self) -> Upstream {
        match self {
            Self::Enkrypt => Upstream::Enkrypt,
            _ => Upstream::Portkey,
        }
    }
}

/// The Portkey plan an operation needs, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Open to every plan.
    Any,
    /// Answers 403 below the Enterprise plan.
    Enterprise,
}

/// What the body of a request is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none: what the path does not take travels in the query.
    None,
    /// An object of the arguments that are in neither path nor query.
    Arguments,
    /// The value of this one argument.
    Bare(&'static str),
}

/// A condition over several arguments, checked after each has passed by itself.
pub type Rule = fn(&JsonMap, &mut Findings);

/// One declared endpoint.
#[derive(Clone)]
pub struct Operation {
    name: &'static str,
    method: Method,
    base: Base,
    path: &'static str,
    effect: Effect,
    hints: Hints,
    body: Body,
    query: &'static [&'static str],
    headers: &'static [(&'static str, &'static str)],
    preview: Option<Preview>,
    repeated: &'static [&'static str],
    reveals: &'static [&'static str],
    reveals_if: Option<&'static str>,
    secret: &'static [&'static str],
    sensitive: &'static [&'static str],
    untrusted: bool,
    aliases: &'static [&'static str],
    words: &'static [&'static str],
    scopes: &'static [&'static str],
    plan: Plan,
    about: Option<(&'static str, &'static str)>,
    rule: Option<Rule>,
    document: Option<(&'static str, &'static [&'static str])>,
    acts_alone: bool,
    read_back_undeclared: bool,
    describe: schema::Describe,
    #[cfg(debug_assertions)]
    check: fn(&JsonMap) -> Result<(), serde_json::Error>,
}

/// Declares a GET: reads; whatever the path does not take travels in the query.
pub const fn get<T: Input>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::GET, Effect::Read, name, path)
}

/// Declares a POST: creates; whatever the path does not take travels in the body.
pub const fn post<T: Input>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::POST, Effect::Create, name, path)
}

/// Declares a PUT: updates; whatever the path does not take travels in the body.
pub const fn put<T: Input>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::PUT, Effect::Update, name, path)
}

/// Declares a PATCH: updates; whatever the path does not take travels in the body.
pub const fn patch<T: Input>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::PATCH, Effect::Update, name, path)
}

/// Declares a DELETE: deletes; whatever the path does not take travels in the query.
pub const fn delete<T: Input>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::DELETE, Effect::Delete, name, path)
}

/// What a struct must be to stand as an operation's input. Nothing implements it by hand.
pub trait Input: JsonSchema + DeserializeOwned {}
impl<T: JsonSchema + DeserializeOwned> Input for T {}

const fn declare<T: Input>(
    method: Method,
    effect: Effect,
    name: &'static str,
    path: &'static str,
) -> Operation {
    assert!(is_kebab_case(name), "a tool name is kebab-case");
    assert!(
        matches!(path.as_bytes(), [b'/', ..]),
        "a path starts with a slash"
    );
    let body = match effect {
        Effect::Read | Effect::Delete => Body::None,
        Effect::Create | Effect::Update => Body::Arguments,
    };
    Operation {
        name,
        method,
        base: Base::ControlPlane,
        body,
        reveals: &[],
        reveals_if: None,
        secret: &[],
        sensitive: &[],
        untrusted: false,
        path,
        effect,
        hints: Hints {
            read_only: matches!(effect, Effect::Read),
            destructive: matches!(effect, Effect::Delete),
            idempotent: !matches!(effect, Effect::Create),
            open_world: false,
        },
        query: &[],
        headers: &[],
        preview: None,
        repeated: &[],
        aliases: &[],
        words: &[],
        scopes: &[],
        plan: Plan::Any,
        about: None,
        rule: None,
        document: None,
        acts_alone: false,
        read_back_undeclared: false,
        describe: T::json_schema,
        #[cfg(debug_assertions)]
        check: validation::check::<T>,
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.name, self.method, self.path)
    }
}

const fn is_kebab_case(name: &str) -> bool {
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        if !matches!(first, b'a'..=b'z' | b'0'..=b'9' | b'-') {
            return false;
        }
        rest = tail;
    }
    !name.is_empty()
}
