//! Snapshots for Portkey's Terraform provider: resources in HCL, each with the block that imports it.
//!
//! Secrets are variables. What the provider has no resource or no attribute for is named.

mod names;
mod resources;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use hcl::{Block, Body};
use serde_json::{Value, json};

use self::{
    names::{Names, add_digest, identifier},
    resources::{
        ACCESS_LIMIT, AUTH_BLOCKS, CAPABILITY, CAPABILITY_TYPES, Form, ImportId, RATE, RESOURCES,
        TerraformResource,
    },
    values::{Variables, plain_value, reference, text_of},
};
use super::{Snapshot, SnapshotDocument, Unseen, kinds::find_kind};

/// Files beside those of the kinds.
const PROVIDER_FILE: &str = "terraform.tf";
const VARIABLES_FILE: &str = "variables.tf";
/// Address of the provider in the registry, and the first version of Terraform with import blocks.
const PROVIDER_SOURCE: &str = "portkey-ai/portkey";
const TERRAFORM_VERSION: &str = ">= 1.5";
/// Fields that nobody sets, whatever the kind.
const COMPUTED_FIELDS: [&str; 4] = ["created_by", "owner_id", "status", "type"];

/// A snapshot in HCL.
#[derive(Debug, Default)]
pub(in crate::workflows) struct TerraformExport {
    /// Text of each file, by its path.
    pub(in crate::workflows) files: BTreeMap<String, String>,
    /// Number of variables for secrets.
    pub(in crate::workflows) variables: usize,
    /// What Terraform does not manage: a path or a kind, and why.
    pub(in crate::workflows) left_out: BTreeMap<String, String>,
    /// Files that are not written, because a part of them was not seen.
    pub(in crate::workflows) unseen: Vec<Unseen>,
    /// Kinds in the files, and the number of their resources.
    pub(in crate::workflows) counts: BTreeMap<&'static str, usize>,
}

/// Writes a snapshot as HCL, one file for each kind.
pub(in crate::workflows) fn to_terraform(snapshot: &Snapshot) -> TerraformExport {
    let mut export = TerraformExport::default();
    let mut builder = Builder {
        snapshot,
        names: Names::default(),
        variables: Variables::default(),
        left_out: BTreeMap::new(),
    };
    let unseen_kinds = unseen_kinds(snapshot);
    for unseen in &snapshot.unseen {
        if kind_of_unseen(&unseen.path).is_none() {
            export.unseen.push(unseen.clone());
        }
    }
    for (kind, reason) in &unseen_kinds {
        export.unseen.push(Unseen {
            path: format!("{kind}.tf"),
            reason: reason.clone(),
        });
    }
    let mut kinds = builder.resources_of_kinds();
    if builder.names.has_doubles() || builder.variables.has_doubles() {
        builder = builder.into_next_pass();
        kinds = builder.resources_of_kinds();
    }
    for resources in kinds {
        let kind = resources.kind;
        if resources.count > 0 && !unseen_kinds.contains_key(kind) {
            export.files.insert(format!("{kind}.tf"), resources.text);
            export.counts.insert(kind, resources.count);
        }
    }
    for document in snapshot.documents.values() {
        let kind = document.kind.name;
        if !RESOURCES.iter().any(|resource| resource.kind == kind) {
            let why = "the provider has no resource for them";
            builder.left_out.insert(kind.to_owned(), why.to_owned());
        }
    }
    if !export.files.is_empty() {
        export
            .files
            .insert(PROVIDER_FILE.to_owned(), format_blocks([provider_block()]));
    }
    export.variables = builder.variables.len();
    if export.variables > 0 {
        let blocks = format_blocks(builder.variables.blocks());
        export.files.insert(VARIABLES_FILE.to_owned(), blocks);
    }
    export.left_out = builder.left_out;
    export
}

/// Returns the kinds of which a part was not seen, each with the reasons.
fn unseen_kinds(snapshot: &Snapshot) -> BTreeMap<&'static str, String> {
    let mut kinds = BTreeMap::<_, String>::new();
    for unseen in &snapshot.unseen {
        if let Some(kind) = kind_of_unseen(&unseen.path) {
            let reasons = kinds.entry(kind).or_default();
            if !reasons.is_empty() {
                reasons.push_str("; ");
            }
            reasons.push_str(&format!("{}: {}", unseen.path, unseen.reason));
        }
    }
    kinds
}

/// Returns the kind to which a path belongs that was not seen.
fn kind_of_unseen(path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let kind = match parts.as_slice() {
        ["workspaces"] | ["workspaces", _, "workspace.yaml"] => "workspaces",
        ["workspaces", _, kind, ..] => kind,
        ["workspaces", _] => return None,
        [kind, ..] => kind.trim_end_matches(".yaml"),
        [] => return None,
    };
    find_kind(kind).map(|kind| kind.name)
}

fn documents_of<'s>(
    snapshot: &'s Snapshot,
    kind: &'static str,
) -> impl Iterator<Item = (&'s str, &'s SnapshotDocument)> {
    let documents = snapshot.documents.iter();
    documents
        .filter(move |(_, document)| document.kind.name == kind)
        .map(|(path, document)| (path.as_str(), document))
}

/// Formats blocks, with an empty line between them.
fn format_blocks(blocks: impl IntoIterator<Item = Block>) -> String {
    let texts = blocks.into_iter().map(|block| {
        let body = Body::builder().add_block(block).build();
        // Nothing in a block that is built here can fail to be written.
        hcl::format::to_string(&body).unwrap_or_default()
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn provider_block() -> Block {
    let source = json!({ "source": PROVIDER_SOURCE });
    let providers = Block::builder("required_providers")
        .add_attribute(("portkey", plain_value(&source)))
        .build();
    Block::builder("terraform")
        .add_attribute(("required_version", TERRAFORM_VERSION))
        .add_block(providers)
        .build()
}

/// The resources of a kind.
struct KindResources {
    kind: &'static str,
    text: String,
    count: usize,
}

/// Builds the blocks of an export.
struct Builder<'a> {
    snapshot: &'a Snapshot,
    /// Names of the resources that belong to others.
    names: Names,
    variables: Variables,
    left_out: BTreeMap<String, String>,
}

impl Builder<'_> {
    /// Returns a builder that knows which names are doubles.
    fn into_next_pass(self) -> Self {
        Self {
            snapshot: self.snapshot,
            names: self.names.into_next_pass(),
            variables: self.variables.into_next_pass(),
            left_out: BTreeMap::new(),
        }
    }

    /// Returns the resources of each kind.
    fn resources_of_kinds(&mut self) -> Vec<KindResources> {
        let doubles = self.double_names();
        let mut kinds = Vec::new();
        for resource in RESOURCES {
            let mut resources = KindResources {
                kind: resource.kind,
                text: String::new(),
                count: 0,
            };
            for (path, document) in documents_of(self.snapshot, resource.kind) {
                if let Some(block) = self.resource(resource, path, document, &doubles) {
                    resources.text.push_str(&block);
                    resources.count += 1;
                }
            }
            kinds.push(resources);
        }
        kinds
    }

    /// Returns the types and names that several resources would have.
    fn double_names(&self) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut doubles = BTreeSet::new();
        for resource in RESOURCES {
            for (path, _) in documents_of(self.snapshot, resource.kind) {
                let name = format!("{}.{}", resource.resource, name_of(path));
                if !seen.insert(name.clone()) {
                    doubles.insert(name);
                }
            }
        }
        doubles
    }

    /// Returns the id of the workspace of a document: the one that it names, or that of its folder.
    fn workspace_id(&self, path: &str, document: &Value) -> Option<String> {
        let folder = || path.strip_prefix("workspaces/")?.split('/').next();
        let of_folder = || self.snapshot.workspace_ids.get(folder()?).cloned();
        text_of(document, "workspace_id").or_else(of_folder)
    }

    /// Returns the text of a resource and of the blocks that belong to it; `None`, and notes it, if the
    /// provider cannot have it.
    fn resource(
        &mut self,
        resource: &TerraformResource,
        path: &str,
        document: &SnapshotDocument,
        doubles: &BTreeSet<String>,
    ) -> Option<String> {
        let value = &document.value;
        let workspace = self.workspace_id(path, value);
        let import = match resource.import {
            ImportId::Field(field) => text_of(value, field),
            ImportId::InWorkspace(separator, field) => workspace
                .as_ref()
                .zip(text_of(value, field))
                .map(|(workspace, id)| format!("{workspace}{separator}{id}")),
        };
        let Some(import) = import else {
            self.leave_out(path, "it has no id that Terraform could import");
            return None;
        };
        let mut name = name_of(path);
        if doubles.contains(&format!("{}.{name}", resource.resource)) {
            name = add_digest(&name, path);
        }
        let mut block = Block::builder("resource")
            .add_label(resource.resource)
            .add_label(name.as_str());
        let mut used: BTreeSet<&str> = BTreeSet::new();
        let mut cut = BTreeSet::new();
        for attribute in resource.attributes {
            let top = attribute.field.split('/').next().unwrap_or_default();
            used.insert(top);
            let prefix = format!("{}/{name}/{}", short_type(resource), attribute.name);
            let found = value.pointer(&format!("/{}", attribute.field));
            let expression = match attribute.form {
                Form::Workspace => workspace.as_deref().map(Into::into),
                _ => found.and_then(|found| {
                    self.variables
                        .expression(attribute, found, value, &prefix, &mut cut)
                }),
            };
            match expression {
                Some(expression) => block = block.add_attribute((attribute.name, expression)),
                None if attribute.is_required => {
                    let why = format!(
                        "it has no `{}`, which `{}` needs",
                        attribute.name, resource.resource
                    );
                    self.leave_out(path, &why);
                    return None;
                }
                None => {}
            }
        }
        if let Some((auth, expression)) = self.auth_block(value, &name) {
            block = block.add_attribute((auth, expression));
        }
        let unknown = value.as_object().into_iter().flatten();
        let unknown = unknown.filter(|(field, value)| {
            !used.contains(field.as_str())
                && !resource.computed.contains(&field.as_str())
                && !COMPUTED_FIELDS.contains(&field.as_str())
                && !is_empty(value)
        });
        let mut left: BTreeSet<String> = unknown.map(|(field, _)| field.clone()).collect();
        left.extend(cut);
        let mut text = format!("# {path}\n");
        if !left.is_empty() {
            let fields = left.into_iter().collect::<Vec<_>>().join(", ");
            text.push_str(&format!("# Not in Terraform: {fields}\n"));
            self.leave_out(path, &format!("without {fields}"));
        }
        text.push_str(&format_blocks([
            block.build(),
            import_block(resource.resource, &name, &import),
        ]));
        text.push('\n');
        text.push_str(&self.access_blocks(resource, value, &name));
        text.push_str(&self.capability_blocks(resource, path, value, &name));
        Some(text)
    }

    fn leave_out(&mut self, path: &str, why: &str) {
        self.left_out.insert(path.to_owned(), why.to_owned());
    }

    /// Returns the attribute with the sign-in of a secret reference.
    fn auth_block(&mut self, value: &Value, name: &str) -> Option<(&'static str, hcl::Expression)> {
        let config = value.get("auth_config")?;
        let auth = AUTH_BLOCKS.iter().find(|auth| {
            let (field, wanted) = auth.selector;
            text_of(config, field).as_deref() == Some(wanted)
        })?;
        let prefix = format!("secret_reference/{name}");
        let object = self.variables.known_fields(config, auth.fields, &prefix);
        Some((auth.name, object))
    }

    /// Returns the resource that switches the tools, prompts and resources of an MCP integration.
    fn capability_blocks(
        &mut self,
        resource: &TerraformResource,
        path: &str,
        value: &Value,
        name: &str,
    ) -> String {
        let rows = value.get("capabilities").and_then(Value::as_array);
        let handle = text_of(value, "id").filter(|_| resource.kind == "mcp-integrations");
        let (Some(rows), Some(handle)) = (rows, handle) else {
            return String::new();
        };
        let has_type = |row: &&Value| {
            let kind = text_of(row, "type");
            kind.is_some_and(|kind| CAPABILITY_TYPES.contains(&kind.as_str()))
        };
        let (known, other): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(has_type);
        if !other.is_empty() {
            let types: BTreeSet<String> = other
                .iter()
                .filter_map(|row| text_of(row, "type"))
                .collect();
            let types: Vec<_> = types.into_iter().collect();
            let why = format!(
                "the provider has no capabilities of type {}",
                types.join(", ")
            );
            self.leave_out(&format!("{path} capabilities"), &why);
        }
        if known.is_empty() {
            return String::new();
        }
        let capability = |row: &Value| -> Value {
            let fields = CAPABILITY
                .iter()
                .filter_map(|field| Some(((*field).to_owned(), row.get(*field)?.clone())));
            Value::Object(fields.collect())
        };
        let list: Value = known.into_iter().map(capability).collect();
        let kind = "portkey_mcp_integration_capabilities";
        let block = Block::builder("resource")
            .add_label(kind)
            .add_label(name)
            .add_attribute(("mcp_integration_id", handle.as_str()))
            .add_attribute(("capabilities", plain_value(&list)))
            .build();
        let mut text = format_blocks([block, import_block(kind, name, &handle)]);
        text.push('\n');
        text
    }

    /// Returns the resources by which workspaces and models are granted an integration.
    fn access_blocks(&mut self, resource: &TerraformResource, value: &Value, name: &str) -> String {
        let rows = |field: &str| {
            value
                .get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        let (access, argument, handle) = match resource.kind {
            "integrations" => (
                "portkey_integration_workspace_access",
                "integration_id",
                "slug",
            ),
            "mcp-integrations" => (
                "portkey_mcp_integration_workspace_access",
                "mcp_integration_id",
                "id",
            ),
            _ => return String::new(),
        };
        let Some(handle) = text_of(value, handle) else {
            return String::new();
        };
        let mut text = String::new();
        let mut add = |block: Block, import: Block| {
            text.push_str(&format_blocks([block, import]));
            text.push('\n');
        };
        let mut seen = BTreeSet::new();
        for row in rows("workspaces") {
            let workspace = text_of(row, "id").filter(|id| seen.insert(id.clone()));
            let Some(workspace) = workspace else {
                continue;
            };
            let id = format!("{handle}/{workspace}");
            let own = format!("{name}_{}", identifier(&workspace));
            let own = self.names.give(access, own, &id);
            let mut block = Block::builder("resource")
                .add_label(access)
                .add_label(own.as_str())
                .add_attribute((argument, handle.as_str()))
                .add_attribute(("workspace_id", workspace.as_str()))
                .add_attribute(("enabled", is_on(row)));
            if resource.kind == "integrations" {
                for (limits, fields) in [("usage_limits", ACCESS_LIMIT), ("rate_limits", RATE)] {
                    for limit in row
                        .get(limits)
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                    {
                        let known = fields.iter().filter_map(|field| {
                            let value = limit.get(*field).filter(|value| !value.is_null())?;
                            Some((*field, plain_value(value)))
                        });
                        let nested = known.fold(Block::builder(limits), |block, field| {
                            block.add_attribute(field)
                        });
                        block = block.add_block(nested.build());
                    }
                }
            }
            let import = import_block(access, &own, &id);
            add(block.build(), import);
        }
        // Models that Portkey enables by itself need no resource.
        let is_all = value.get("allow_all_models") == Some(&Value::Bool(true));
        let mut seen = BTreeSet::new();
        for row in rows("models") {
            let is_custom = row.get("is_custom") == Some(&Value::Bool(true));
            let model = text_of(row, "slug").filter(|_| !is_all || is_custom);
            let Some(model) = model.filter(|model| seen.insert(model.clone())) else {
                continue;
            };
            let access = "portkey_integration_model_access";
            let id = format!("{handle}/{model}");
            let own = format!("{name}_{}", identifier(&model));
            let own = self.names.give(access, own, &id);
            let block = Block::builder("resource")
                .add_label(access)
                .add_label(own.as_str())
                .add_attribute((argument, handle.as_str()))
                .add_attribute(("model_slug", model.as_str()))
                .add_attribute(("enabled", is_on(row)))
                .add_attribute(("is_custom", is_custom));
            let import = import_block(access, &own, &id);
            add(block.build(), import);
        }
        text
    }
}

fn import_block(resource: &str, name: &str, id: &str) -> Block {
    Block::builder("import")
        .add_attribute(("to", reference(resource, name)))
        .add_attribute(("id", id))
        .build()
}

fn is_on(row: &Value) -> bool {
    row.get("enabled") != Some(&Value::Bool(false))
}

/// Returns true for a value that is that of a new resource.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_set) => !is_set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

/// Returns the type of a resource without the name of the provider.
fn short_type(resource: &TerraformResource) -> &'static str {
    resource
        .resource
        .strip_prefix("portkey_")
        .unwrap_or(resource.resource)
}

/// Returns the name of the resource of a file: its workspace and its own name.
fn name_of(path: &str) -> String {
    let path = path.strip_suffix(".yaml").unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    identifier(&match parts.as_slice() {
        ["workspaces", workspace, "workspace"] => (*workspace).to_owned(),
        ["workspaces", workspace, _, name] => format!("{workspace}_{name}"),
        [.., name] => (*name).to_owned(),
        [] => String::new(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn grants_whose_names_are_alike_are_resources_of_their_own() {
        let integration = json!({
            "id": "1", "slug": "anthropic", "name": "Anthropic", "ai_provider_id": "anthropic",
            "models": [{ "slug": "gpt-4.1" }, { "slug": "gpt-4-1" }, { "slug": "gpt-4o" }, { "slug": "gpt-4o" }],
            "workspaces": [{ "id": "ws-a" }, { "id": "ws_a" }],
        });
        let mut snapshot = Snapshot::default();
        let document = SnapshotDocument {
            kind: find_kind("integrations").unwrap(),
            value: integration,
        };
        let path = "integrations/anthropic.yaml".to_owned();
        snapshot.documents.insert(path, document);
        let export = to_terraform(&snapshot);
        let text = export.files.get("integrations.tf").unwrap();
        let body: Body = hcl::parse(text).unwrap();
        let blocks = body.blocks();
        let resources = blocks.filter(|block| block.identifier() == "resource");
        let addresses: Vec<String> = resources
            .map(|block| {
                let labels = block.labels().iter().map(|label| label.as_str());
                labels.collect::<Vec<_>>().join(".")
            })
            .collect();
        let distinct: BTreeSet<&String> = addresses.iter().collect();
        assert_eq!((addresses.len(), distinct.len()), (6, 6), "{addresses:?}");
        let plain = "portkey_integration_model_access.anthropic_gpt_4o".to_owned();
        assert!(addresses.contains(&plain), "{addresses:?}");
        let double = "portkey_integration_model_access.anthropic_gpt_4_1".to_owned();
        assert!(!addresses.contains(&double), "{addresses:?}");
    }
}
