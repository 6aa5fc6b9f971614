//! Plugins: credentials of the partners that run guardrail checks. Nothing reads them back.

use crate::{
    field::{DefaultValue, Field, FieldType},
    resource::{CrudAction, LookupKey, Resource},
    route::{ApiVersion, Domain},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[ApiVersion::V1],
    resources: &[&PLUGINS],
    routes: &[],
};

static PLUGINS: Resource = Resource {
    actions: &[CrudAction::Create, CrudAction::Update],
    lookup_key: LookupKey::Id,
    fields: &[
        Field::new("credentials", FieldType::AnyObject).required(),
        Field::new("plugin_provider_id", FieldType::Name).immutable(),
        Field::new("integration_id", FieldType::Name).immutable(),
        Field::new("name", FieldType::Name),
        Field::new("status", FieldType::Name).with_default(DefaultValue::Text("active")),
    ],
    create_fields: &["id"],
    ..Resource::new("plugins", "plugin", "/plugins")
};
