//! Organisation defaults: the guardrails of every workspace.

use portkey_operation::{ApiBase, Operation, Risk, UpdateField, UpdateRules, get, put, risk};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `organisation-defaults`.
///
/// The API answers them on `/v2` only, although Portkey's changelog names `/v1`.
pub const OPERATIONS: &[Operation] = &[
    get::<GetDefaults>("get-organisation-defaults", "/admin/organisation/defaults")
        .with_search_terms(&[
            "org-wide",
            "global guardrails",
            "enforced everywhere",
            "company policy",
            "Standard-Guardrails",
        ])
        .with_base(ApiBase::ControlPlaneV2)
        .enterprise()
        .scopes(&["organisation_settings.read"]),
    put::<UpdateDefaults>(
        "update-organisation-defaults",
        "/admin/organisation/defaults",
    )
    .with_risks(&[risk(
        Risk::Production,
        "changes the guardrails of all requests",
    )])
    .with_update(
        UpdateRules::read_by("get-organisation-defaults").with_fields(&[
            UpdateField::replaced("input_guardrails").as_items_by("slug"),
            UpdateField::replaced("output_guardrails").as_items_by("slug"),
        ]),
    )
    .with_search_terms(&[
        "org-wide",
        "enforce everywhere",
        "global guardrails",
        "company policy",
        "mandatory",
        "Standard ändern",
    ])
    .with_base(ApiBase::ControlPlaneV2)
    .destructive()
    .enterprise()
    .scopes(&["organisation_settings.update"]),
];

/// Get organisation defaults
///
/// Returns the guardrails that apply in every workspace. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct GetDefaults {}

/// Update organisation defaults
///
/// Sets the guardrails of every workspace at once; a list given replaces the old one, a list left
/// out stays. Admin key, Enterprise plan.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateDefaults {
    /// For requests: the organisation's own, UUIDs or slugs; `[]` removes all.
    pub input_guardrails: Option<Vec<String>>,
    /// For responses.
    pub output_guardrails: Option<Vec<String>>,
}
