//! `plan-provider-migration`: a plan that replaces virtual keys by integrations and providers.
//!
//! No key passes through the plan: it names an integration that exists, a secret reference of Portkey, or
//! a variable or file of this server.

mod rewrite;

use futures_util::FutureExt;
use portkey_operation::{Findings, InputError, JsonMap, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::rewrite::Renaming;
use super::{
    Listing, Steps, Workflow, arguments, is_set,
    list::List,
    plan_draft::PlanDraft,
    text,
    workspace_sight::{IfAbsent, look_up_workspace},
};
use crate::pipeline::{CallError, state_fields::resource};

/// Maximum number of virtual keys of a call.
const MAX_KEYS: usize = 10;
/// Maximum number of calls: lists, and a read of each config and prompt.
const MAX_CALLS: usize = 250;
/// Beginnings of a key that this server resolves when it sends the call.
const REFERENCES: [&str; 2] = ["$env:", "$file:"];

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<PlanProviderMigration>("plan-provider-migration", "/")
        .with_search_terms(&[
            "leave virtual keys",
            "replace vkeys by providers",
            "rewrite configs from virtual_key to provider",
            "virtuelle Schlüssel ablösen",
        ])
        .with_rule(check_sources)
        .returns_untrusted_content(),
    needs: &[
        "list-all-virtual-keys",
        "list-all-integrations",
        "list-all-configs",
        "get-config",
        "update-config",
        "list-prompts",
        "get-prompt",
    ],
    needs_of_call: |_| Vec::new(),
    listing: Listing::WithOperations,
    max_steps: MAX_CALLS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Plan a provider migration
///
/// Plans integrations and providers for virtual keys, and rewrites the configs and prompts that name them.
/// Sends nothing; `apply-plan` makes it. Without `virtual_keys` says which there are.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct PlanProviderMigration {
    /// Which, and where the key of each comes from.
    #[schemars(length(max = 10))]
    virtual_keys: Option<Vec<KeySource>>,
    /// Only those of this workspace; UUID or slug.
    workspace_id: Option<String>,
    /// Return the steps alone, as a file for `portkey-mcp apply`.
    #[schemars(extend("x-publish" = "hidden"))]
    document: Option<bool>,
}

/// slug*, and one of integration (slug of one that exists), secret_reference, key ($env:NAME or
/// $file:PATH).
///
/// Where the key of a virtual key comes from.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct KeySource {
    /// Slug of the virtual key.
    ///
    /// Required: it is what is replaced.
    slug: String,
    /// Integration that exists and has the same key.
    integration: Option<String>,
    /// Secret reference of Portkey.
    secret_reference: Option<String>,
    /// Variable or file of this server.
    key: Option<String>,
    /// Slug of the provider; that of the virtual key or of the integration when left out.
    provider_slug: Option<String>,
}

/// Returns the sources of a call.
fn sources(args: &JsonMap) -> impl Iterator<Item = &JsonMap> {
    let items = args.get("virtual_keys").and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_object)
}

fn check_sources(args: &JsonMap, findings: &mut Findings) {
    if sources(args).count() > MAX_KEYS {
        findings.add_error("virtual_keys", format!("has more than {MAX_KEYS} entries"));
    }
    for (i, source) in sources(args).enumerate() {
        let given = ["integration", "secret_reference", "key"];
        let given = given.iter().filter(|name| source.contains_key(**name));
        if given.count() != 1 {
            findings.add_error(
                format_args!("virtual_keys[{i}]"),
                "takes one of `integration`, `secret_reference` and `key`",
            );
        }
        let key = text(source, "key").unwrap_or("$env:");
        if !REFERENCES.iter().any(|start| key.starts_with(start)) {
            findings.add_error(
                format_args!("virtual_keys[{i}].key"),
                "has to name a variable or a file, as `$env:NAME` or `$file:PATH`: no key passes through a model",
            );
        }
    }
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    let workspace = text(args, "workspace_id");
    let sight = look_up_workspace(steps, "workspace_id", workspace, IfAbsent::Refuse).await?;
    let here = arguments([("workspace_id", workspace.into())]);
    let listed = List::read_pages(steps, "list-all-virtual-keys", here.clone()).await?;
    // Providers are listed, too.
    let is_legacy = |key: &&Value| key.get("integration_id").is_none_or(Value::is_null);
    let legacy: Vec<&Value> = listed.items.iter().filter(is_legacy).collect();
    let mut draft = PlanDraft::default();
    if let Some(doubt) = sight.doubt {
        draft.note(format!("not seen: {doubt}"));
    }
    let mut renamings = Vec::new();
    for (i, source) in sources(args).enumerate() {
        let slug = text(source, "slug").unwrap_or_default();
        let Some(key) = legacy
            .iter()
            .find(|key| key.get("slug").is_some_and(|other| other == slug))
        else {
            listed.require_complete(&format!("`{slug}`"))?;
            let what = format!("`{slug}` is no virtual key, or a provider already");
            return Err(InputError::new(format!("virtual_keys[{i}].slug"), what).into());
        };
        let provider = plan_provider(i, source, key, steps, &mut draft).await?;
        renamings.push(Renaming {
            from: slug.to_owned(),
            to: provider,
        });
    }
    if !renamings.is_empty() {
        rewrite::plan_configs(&renamings, &here, steps, &mut draft).await?;
        rewrite::plan_prompts(&renamings, &here, steps, &mut draft).await?;
    }
    let is_named = |key: &&Value| {
        let slug = key.get("slug").and_then(Value::as_str);
        sources(args).any(|source| text(source, "slug") == slug)
    };
    let open: Vec<Value> = legacy
        .iter()
        .copied()
        .filter(|key| !is_named(key))
        .map(|key| {
            json!({ "slug": key.get("slug"), "provider": key.get("provider"),
                "workspace": key.get("workspace_name") })
        })
        .collect();
    if !open.is_empty() {
        draft.note(
            "Portkey does not give out the key of a virtual key. For each of those left a human says where it comes \
             from: an `integration` with the same key, a `secret_reference`, or a variable or file of this server",
        );
    }
    let migrated: Vec<Value> = renamings
        .iter()
        .map(|one| json!({ "virtual_key": one.from, "provider": one.to }))
        .collect();
    let result = arguments([("migrated", migrated.into()), ("left", open.into())]);
    draft.finish(steps, is_set(args, "document"), result).await
}

/// Checks that an integration is for the vendor of a virtual key, as far as both tell one.
///
/// # Errors
/// Returns the reason if it is for another one.
fn check_vendor(integration: &Value, key: &Value) -> Result<(), String> {
    let vendors = text_of(integration, "ai_provider_id").zip(text_of(key, "provider"));
    match vendors.filter(|(vendor, of_key)| !vendor.eq_ignore_ascii_case(of_key)) {
        Some((vendor, of_key)) => Err(format!(
            "`{}` is an integration for `{vendor}`, and `{}` is a virtual key for `{of_key}`: one key does not work \
             with both",
            text_of(integration, "slug").unwrap_or_default(),
            text_of(key, "slug").unwrap_or_default()
        )),
        None => Ok(()),
    }
}

/// Checks that an integration belongs to the organisation, or to the workspace of a virtual key.
///
/// # Errors
/// Returns the reason if it belongs to another workspace.
fn check_owner(integration: &Value, key: &Value) -> Result<(), String> {
    let integration = resource(integration);
    let owners = text_of(integration, "workspace_id").zip(text_of(key, "workspace_id"));
    match owners.filter(|(owner, of_key)| owner != of_key) {
        Some((owner, _)) => Err(format!(
            "belongs to workspace `{owner}`, and cannot be granted to that of `{}`",
            text_of(key, "slug").unwrap_or_default()
        )),
        None => Ok(()),
    }
}

fn text_of<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field)?.as_str()
}

/// Plans the provider that replaces a virtual key, and returns its slug.
async fn plan_provider(
    index: usize,
    source: &JsonMap,
    key: &Value,
    steps: &Steps,
    draft: &mut PlanDraft,
) -> Result<String, CallError> {
    let own = |name: &str| {
        let value = key.get(name).filter(|value| !value.is_null());
        value.cloned().unwrap_or_default()
    };
    let number = index + 1;
    let slug = text(source, "slug").unwrap_or_default();
    let integration = text(source, "integration").unwrap_or(slug);
    let list = List::read_pages(steps, "list-all-integrations", JsonMap::new()).await?;
    let found = list
        .items
        .iter()
        .find(|one| one.get("slug").is_some_and(|other| other == integration));
    let field = match source.contains_key("integration") {
        true => format!("virtual_keys[{index}].integration"),
        // An integration that has the slug of the virtual key.
        false => format!("virtual_keys[{index}].slug"),
    };
    match found {
        Some(found) => {
            check_vendor(found, key).map_err(|what| InputError::new(&*field, what))?;
            let read = arguments([("slug", integration.into())]);
            // The list does not tell the workspace. Where a plan closes the read, Portkey refuses the grant.
            if let Ok(answer) = steps.read("get-integration", read).await {
                check_owner(&answer, key).map_err(|what| InputError::new(&*field, what))?;
            }
        }
        None if source.contains_key("integration") => {
            list.require_complete(&format!("`{integration}`"))?;
            let what = format!("`{integration}` is no integration");
            return Err(InputError::new(field, what).into());
        }
        None => {}
    }
    let exists = found.is_some();
    let workspace = own("workspace_id");
    let here = arguments([("workspace_id", workspace.clone())]);
    let providers = List::read_pages(steps, "list-all-providers", here).await?;
    let known = providers.items.iter().find(|provider| {
        provider
            .get("integration_id")
            .is_some_and(|other| other == integration)
    });
    if exists && let Some(known) = known.and_then(|known| known.get("slug")?.as_str()) {
        return Ok(known.to_owned());
    }
    let provider = text(source, "provider_slug").unwrap_or(integration);
    if exists {
        let grant = json!([{ "id": workspace, "enabled": true, "create_default_provider": false }]);
        let patch = json!({ "workspaces": grant });
        let update = arguments([("slug", integration.into()), ("patch", patch)]);
        let tool = "bulk-update-integration-workspaces";
        draft.add(format!("access{number}"), tool, update);
    } else {
        let mapping = text(source, "secret_reference")
            .map(|reference| json!([{ "target_field": "key", "secret_reference_id": reference }]));
        let create = arguments([
            ("name", own("name")),
            ("slug", integration.into()),
            ("ai_provider_id", own("provider")),
            ("workspace_id", workspace.clone()),
            ("key", text(source, "key").into()),
            ("secret_mappings", mapping.into()),
            ("allow_all_models", true.into()),
            ("create_default_provider", false.into()),
        ]);
        let tool = "create-integration";
        draft.add(format!("integration{number}"), tool, create);
    }
    let has_limits = |value: &Value| match value {
        Value::Array(limits) => !limits.is_empty(),
        Value::Object(limits) => limits.contains_key("credit_limit"),
        _ => false,
    };
    let limits = |name: &str| Some(own(name)).filter(has_limits).unwrap_or_default();
    let create = arguments([
        ("name", own("name")),
        ("slug", provider.into()),
        ("integration_id", integration.into()),
        ("workspace_id", workspace),
        ("note", own("note")),
        ("usage_limits", limits("usage_limits")),
        ("rate_limits", limits("rate_limits")),
    ]);
    draft.add(format!("provider{number}"), "create-provider", create);
    Ok(provider.to_owned())
}
