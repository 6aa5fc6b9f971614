//! Operations: REST endpoints, each declared once, that become tools.
//!
//! A declaration consists of an entry in its domain's `OPERATIONS` table and a struct:
//!
//! ```ignore
//! pub const OPERATIONS: &[Operation] = &[
//!     delete::<DeleteIntegration>("delete-integration", "/integrations/{slug}"),
//! ];
//! ```
//!
//! The struct's rustdoc is the description that models read. The struct's fields decide which
//! arguments are valid (see `argument_schema`).
//!
//! The caller's own JSON is sent. After validation, `upstream_request` distributes it over path,
//! query and body by argument name alone. A field that is absent, `null` or set stays so. Fields
//! that this version does not know are sent, too.

mod accessors;
mod argument_alias;
mod argument_schema;
mod builder;
#[doc(hidden)]
pub mod comparison_count;
mod compiled_operation;
mod destination;
mod header;
mod markers;
mod path;
mod path_overlap;
mod path_segment;
mod plain_text;
mod presentation;
mod preview;
mod profile;
mod received_request;
mod reference;
mod risk;
mod schema;
mod size_limits;
mod time;
mod time_range;
mod unique_json;
mod update_rules;
mod upstream_request;
mod validation;

use std::fmt;

use http::Method;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use preview::PreviewSpec;

pub use argument_alias::{
    ArgumentAlias, alias, alias_default, assumed_default, json_text_alias, part_alias,
    preferred_alias, spread_alias,
};
pub use argument_schema::{OpaqueKind, did_you_mean, is_misspelling_of, is_same_name};
pub use compiled_operation::CompiledOperation;
pub use destination::{find_new_destination, find_same_item, is_destination};
pub use markers::{
    EndTime, Nullable, OneOrMany, Open, Secret, StartTime, TextOr, TextOrList, Time,
};
pub use path::{field_path, field_step};
pub use path_overlap::PathOverlap;
pub use presentation::{Presentation, ToolNames, Wording};
pub use preview::{MergeFn, PendingPreview};
pub use profile::Profile;
pub use received_request::{ArgumentPlace, ReceivedArguments};
pub use reference::{Reference, SecretSlot};
pub use risk::{CallRisk, Risk, RiskRule, risk};
pub use size_limits::{MAX_DEPTH, MAX_VALUES, measure_json};
pub use time::Clock;
pub use time_range::{RANGE_FORMS, TimeRange};
pub use unique_json::UniqueJson;
pub use update_rules::{
    FieldUpdate, MovedLabel, PartialFlag, SentEntry, UndoSemantics, UpdateField, UpdateRules,
    UpdateSemantics,
};
pub use upstream_request::UpstreamRequest;
pub use validation::{
    FieldError, FieldErrors, Findings, InputError, UnknownFields, ValidatedArguments,
    ValidationOptions,
};

/// A JSON object: the arguments of a call, or the body of a request.
pub type JsonMap = Map<String, Value>;

/// The effect of a call on the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads without changing anything.
    Read,
    /// Adds a resource.
    Create,
    /// Changes an existing resource.
    Update,
    /// Removes a resource.
    Delete,
}

impl Effect {
    /// All effects.
    pub const ALL: [Self; 4] = [Self::Read, Self::Create, Self::Update, Self::Delete];

    /// Returns the name of the effect, as listings show it.
    pub const fn as_str(self) -> &'static str {
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
    /// The tool changes nothing.
    pub read_only: bool,
    /// The tool may remove or overwrite something that cannot be restored.
    pub destructive: bool,
    /// A second identical call changes nothing more.
    pub idempotent: bool,
    /// The tool makes the API contact a third system that the caller names.
    pub open_world: bool,
}

/// The service that answers a call. Each has its own key and address, and never receives those of
/// the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Portkey, hosted by Portkey or self-hosted.
    Portkey,
    /// Enkrypt AI's cloud.
    Enkrypt,
}

impl Upstream {
    /// Returns the display name of the service.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portkey => "Portkey",
            Self::Enkrypt => "Enkrypt AI",
        }
    }

    /// Returns the settings by which an operator gives the key.
    pub const fn key_settings(self) -> &'static str {
        match self {
            Self::Portkey => "PORTKEY_API_KEY (or --api-key-file)",
            Self::Enkrypt => "ENKRYPT_API_KEY (or --enkrypt-api-key-file)",
        }
    }

    /// Returns the settings by which an operator gives the address.
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

/// The base URL of an endpoint: host and version. See "Base URLs and paths" in
/// docs/portkey-api-notes.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiBase {
    /// The control plane, `https://api.portkey.ai/v1` by default.
    ControlPlane,
    /// The second version of the control plane, `/v2` on the same host.
    ControlPlaneV2,
    /// The inference gateway. It has the control plane's address at Portkey, and another one if
    /// self-hosted.
    Gateway,
    /// The registry of MCP servers, `https://mcp.portkey.ai/v0.1`.
    Registry,
    /// The public model catalogue, `https://api.portkey.ai`. It takes no key.
    Catalogue,
    /// The public price lists, `https://configs.portkey.ai`. They take no key.
    PriceLists,
    /// Enkrypt AI's cloud, `https://api.enkryptai.com`. Its paths have no version.
    Enkrypt,
}

impl ApiBase {
    /// Returns true if the host takes no key. The key is never sent there.
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Catalogue | Self::PriceLists)
    }

    /// Returns the service that runs the host.
    pub const fn upstream(self) -> Upstream {
        match self {
            Self::Enkrypt => Upstream::Enkrypt,
            _ => Upstream::Portkey,
        }
    }
}

/// The Portkey plan that an operation needs, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Open to every plan.
    Any,
    /// Answers 403 below the Enterprise plan.
    Enterprise,
}

/// Whether the vendor stands by an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Documented, or seen in use.
    Stable,
    /// Known from a description that the vendor has not released. It may change or go at any time.
    Preview,
}

/// The content of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// No body. Arguments that the path does not take travel in the query.
    None,
    /// An object of the arguments that are in neither path nor query.
    Arguments,
    /// The value of this one argument.
    Bare(&'static str),
}

/// A condition over several arguments, checked after each argument has passed by itself.
pub type ArgumentRule = fn(&JsonMap, &mut Findings);

/// An argument that Portkey needs beside another one, and ignores that one without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompanionArgument {
    /// The argument that is given.
    pub of: &'static str,
    /// The argument that is added if it is not given.
    pub name: &'static str,
    /// Value that is added, as JSON.
    pub json: &'static str,
}

/// One declared endpoint.
#[derive(Clone)]
pub struct Operation {
    name: &'static str,
    method: Method,
    base: ApiBase,
    path: &'static str,
    effect: Effect,
    hints: Hints,
    body: BodyKind,
    query: &'static [&'static str],
    headers: &'static [(&'static str, &'static str)],
    preview: Option<PreviewSpec>,
    repeated_arguments: &'static [&'static str],
    one_time_secrets: &'static [&'static str],
    one_time_secrets_if: Option<&'static str>,
    secret_fields: &'static [&'static str],
    sensitive_fields: &'static [&'static str],
    returns_untrusted_content: bool,
    aliases: &'static [&'static str],
    argument_aliases: &'static [ArgumentAlias],
    default_arguments: &'static [(&'static str, &'static str)],
    companion_arguments: &'static [CompanionArgument],
    search_terms: &'static [&'static str],
    scopes: &'static [&'static str],
    plan: Plan,
    stability: Stability,
    shared_docs: Option<(&'static str, &'static str)>,
    rule: Option<ArgumentRule>,
    allows_empty_update: bool,
    has_unmasked_reads: bool,
    update: Option<UpdateSemantics>,
    risks: &'static [RiskRule],
    undo: Option<UndoSemantics>,
    moved_label: Option<MovedLabel>,
    build_schema: schema::SchemaFn,
    #[cfg(debug_assertions)]
    check_deserialize: fn(&JsonMap) -> Result<(), serde_json::Error>,
}

/// Declares a GET, which reads. Arguments that the path does not take travel in the query.
pub const fn get<T: OperationInput>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::GET, Effect::Read, name, path)
}

/// Declares a POST, which creates. Arguments that the path does not take travel in the body.
pub const fn post<T: OperationInput>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::POST, Effect::Create, name, path)
}

/// Declares a PUT, which updates. Arguments that the path does not take travel in the body.
pub const fn put<T: OperationInput>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::PUT, Effect::Update, name, path)
}

/// Declares a PATCH, which updates. Arguments that the path does not take travel in the body.
pub const fn patch<T: OperationInput>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::PATCH, Effect::Update, name, path)
}

/// Declares a DELETE, which deletes. Arguments that the path does not take travel in the query.
pub const fn delete<T: OperationInput>(name: &'static str, path: &'static str) -> Operation {
    declare::<T>(Method::DELETE, Effect::Delete, name, path)
}

/// The requirements on the input struct of an operation. The blanket implementation is the only
/// one.
pub trait OperationInput: JsonSchema + DeserializeOwned {}
impl<T: JsonSchema + DeserializeOwned> OperationInput for T {}

const fn declare<T: OperationInput>(
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
        Effect::Read | Effect::Delete => BodyKind::None,
        Effect::Create | Effect::Update => BodyKind::Arguments,
    };
    Operation {
        name,
        method,
        base: ApiBase::ControlPlane,
        body,
        one_time_secrets: &[],
        one_time_secrets_if: None,
        secret_fields: &[],
        sensitive_fields: &[],
        returns_untrusted_content: false,
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
        repeated_arguments: &[],
        aliases: &[],
        argument_aliases: &[],
        default_arguments: &[],
        companion_arguments: &[],
        search_terms: &[],
        scopes: &[],
        plan: Plan::Any,
        stability: Stability::Stable,
        shared_docs: None,
        rule: None,
        allows_empty_update: false,
        has_unmasked_reads: false,
        update: None,
        risks: &[],
        undo: None,
        moved_label: None,
        build_schema: T::json_schema,
        #[cfg(debug_assertions)]
        check_deserialize: validation::check_deserialize::<T>,
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
