//! Plugins: credentials of the partners that run guardrail checks.
//!
//! Preview, as in the domain `agent-integrations`.

use portkey_operation::{JsonMap, Operation, Risk, Secret, Stability, post, put, risk};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `plugins`.
pub const OPERATIONS: &[Operation] = &[
    post::<CreatePlugin>("create-plugin", "/plugins")
        .with_stability(Stability::Preview)
        .with_search_terms(&[
            "guardrail vendor",
            "connect Pangea",
            "partner key",
            "Erweiterung",
        ])
        .scopes(&["plugins.create"]),
    put::<UpdatePlugin>("update-plugin", "/plugins/{organisation_integration_id}")
        .with_risks(&[
            risk(Risk::Secret, "replaces the credentials of a partner").if_given("credentials"),
            risk(
                Risk::Production,
                "changes whether guardrails can use the partner",
            )
            .if_given("status"),
        ])
        .without_patch("no operation reads a single plugin")
        .with_stability(Stability::Preview)
        .with_search_terms(&[
            "renew vendor key",
            "switch off vendor",
            "Erweiterung ändern",
        ])
        .scopes(&["plugins.update"]),
];

/// Create a plugin
///
/// Stores the credentials of a partner whose checks guardrails may use.
#[derive(Deserialize, JsonSchema)]
pub struct CreatePlugin {
    /// The partner's fields, such as `apiKey`.
    ///
    /// Required: the description of the backend.
    pub credentials: Secret<JsonMap>,
    /// Id of the partner.
    pub plugin_provider_id: Option<String>,
    /// Integration UUID, if it already exists.
    pub integration_id: Option<String>,
    /// Organisation UUID; the key's when left out.
    pub organisation_id: Option<String>,
}

/// Update a plugin
///
/// Changes the fields given and keeps the rest. Never resend a masked value.
#[derive(Deserialize, JsonSchema)]
pub struct UpdatePlugin {
    /// Id that `create-plugin` returned.
    pub organisation_integration_id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub name: Option<String>,
    /// State, such as `active`.
    pub status: Option<String>,
    /// The partner's fields.
    pub credentials: Option<Secret<JsonMap>>,
}
