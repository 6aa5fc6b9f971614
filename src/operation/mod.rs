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
//! The type is the gate: the struct's rustdoc is what the model reads, its fields decide what may
//! pass. The caller's JSON is the cargo: once admitted it is laid over path, query and body by name
//! alone (see `wire`), so a field that is absent, `null` or set stays just that.

mod gate;
mod marked;
mod published;
mod schema;
mod segment;
mod shape;
mod wire;

use std::fmt;

use http::Method;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use gate::{InputError, Problem, Problems};
pub use marked::{Nullable, Secret, TextOrList};
pub use published::Published;
pub(crate) use shape::did_you_mean;
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
    /// Makes Portkey reach out to a third system on the caller's word.
    pub open_world: bool,
}

/// The Portkey host and version an operation lives on (quirks.md §1).
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
}

impl Base {
    /// Whether anyone may ask; the key is never sent there.
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Catalogue | Self::PriceLists)
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
pub type Rule = fn(&JsonMap, &mut Problems);

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
    repeated: &'static [&'static str],
    reveals: &'static [&'static str],
    sensitive: &'static [&'static str],
    aliases: &'static [&'static str],
    scopes: &'static [&'static str],
    plan: Plan,
    about: Option<(&'static str, &'static str)>,
    rule: Option<Rule>,
    describe: schema::Describe,
    check: fn(&Value) -> Result<(), serde_json::Error>,
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
    assert!(matches!(path.as_bytes(), [b'/', ..]), "a path starts with a slash");
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
        sensitive: &[],
        path,
        effect,
        hints: Hints {
            read_only: matches!(effect, Effect::Read),
            destructive: matches!(effect, Effect::Delete),
            idempotent: !matches!(effect, Effect::Create),
            open_world: false,
        },
        query: &[],
        repeated: &[],
        aliases: &[],
        scopes: &[],
        plan: Plan::Any,
        about: None,
        rule: None,
        describe: T::json_schema,
        check: gate::check::<T>,
    }
}

/// Corrections to what the method implies; each is written on the operation's row.
impl Operation {
    /// Says what the call does where the HTTP method suggests something else.
    pub const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self.hints.read_only = matches!(effect, Effect::Read);
        self.hints.destructive = matches!(effect, Effect::Delete);
        self.hints.idempotent = !matches!(effect, Effect::Create);
        self
    }

    /// Says that the call may overwrite or cut off something that cannot be had back.
    pub const fn destructive(mut self) -> Self {
        self.hints.destructive = true;
        self
    }

    /// Says that the call makes Portkey reach out to a third system.
    pub const fn open_world(mut self) -> Self {
        self.hints.open_world = true;
        self
    }

    /// Says where it lives, if not on the control plane.
    pub const fn on(mut self, base: Base) -> Self {
        self.base = base;
        self
    }

    /// Says that a DELETE has a body.
    pub const fn with_body(mut self) -> Self {
        self.body = Body::Arguments;
        self
    }

    /// Says that the body is the value of one argument, where the API wants a list.
    pub const fn bare_body(mut self, argument: &'static str) -> Self {
        self.body = Body::Bare(argument);
        self
    }

    /// Says that a second call adds or breaks something.
    pub const fn not_idempotent(mut self) -> Self {
        self.hints.idempotent = false;
        self
    }

    /// Says that a second call changes nothing more.
    pub const fn idempotent(mut self) -> Self {
        self.hints.idempotent = true;
        self
    }

    /// Fields of the answer that are a secret shown only here, as `data[].key` (secrets.md §1).
    pub const fn reveals(mut self, fields: &'static [&'static str]) -> Self {
        self.reveals = fields;
        self
    }

    /// Other fields of the answer that are kept out of logs: masked secrets, personal data, text that
    /// may hold either (secrets.md §5). A path such as `data[].key` covers what is below it.
    pub const fn sensitive(mut self, fields: &'static [&'static str]) -> Self {
        self.sensitive = fields;
        self
    }

    /// Names arguments that travel in the query although the request has a body.
    pub const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    /// Names lists of which each item travels as a query argument of its own, where others are joined
    /// by commas.
    pub const fn repeated(mut self, names: &'static [&'static str]) -> Self {
        self.repeated = names;
        self
    }

    /// Other names the tool answers to; they are never listed.
    pub const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// The API-key scopes of which any one suffices.
    pub const fn scopes(mut self, scopes: &'static [&'static str]) -> Self {
        self.scopes = scopes;
        self
    }

    /// Says that Portkey answers 403 below the Enterprise plan.
    pub const fn enterprise(mut self) -> Self {
        self.plan = Plan::Enterprise;
        self
    }

    /// Gives title and description where several operations share one input struct.
    pub const fn about(mut self, title: &'static str, description: &'static str) -> Self {
        self.about = Some((title, description));
        self
    }

    /// Adds a condition over several arguments.
    pub const fn rule(mut self, rule: Rule) -> Self {
        self.rule = Some(rule);
        self
    }
}

/// What a row says.
impl Operation {
    /// The tool's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Other names the tool answers to.
    pub fn other_names(&self) -> &'static [&'static str] {
        self.aliases
    }

    /// The HTTP method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The host it lives on.
    pub fn base(&self) -> Base {
        self.base
    }

    /// The path, with its `{placeholders}`.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// What a call does.
    pub fn effects(&self) -> Effect {
        self.effect
    }

    /// What MCP publishes about it.
    pub fn hints(&self) -> Hints {
        self.hints
    }

    /// The API-key scopes of which any one suffices; empty where no source names one.
    pub fn needs_scopes(&self) -> &'static [&'static str] {
        self.scopes
    }

    /// The plan it needs.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Fields of the answer that are a secret shown only here.
    pub fn revealed(&self) -> &'static [&'static str] {
        self.reveals
    }

    /// Other fields of the answer that are kept out of logs.
    pub fn sensitive_fields(&self) -> &'static [&'static str] {
        self.sensitive
    }

    /// The arguments that travel in the query although the request has a body.
    pub fn query_names(&self) -> &'static [&'static str] {
        self.query
    }

    /// The names between braces in the path.
    pub fn placeholders(&self) -> impl Iterator<Item = &'static str> {
        self.path.split(['{', '}']).skip(1).step_by(2)
    }

    /// Whether a request that may or may not have arrived can be sent again. A POST never is: Portkey
    /// knows no idempotency key (quirks.md §10.3).
    pub fn repeatable(&self) -> bool {
        self.hints.idempotent && self.method != Method::POST
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
