//! Exports for Terraform: read back, they import every resource of the sandbox and hold no secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use hcl::{Block, Body, Expression};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::exported::{Exported, SECRETS};

fn export(exported: &Exported, more: &[&str]) -> (i32, String) {
    exported.export(&[&["--format", "terraform"], more].concat())
}

fn files(exported: &Exported) -> BTreeMap<String, String> {
    let entries = fs::read_dir(exported.dir()).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "tf"));
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Returns the rows of a list in each workspace, with the id of the workspace.
async fn rows_of_workspaces(exported: &Exported, path: &str) -> Vec<(String, Value)> {
    let workspaces = exported.get("/admin/workspaces").await;
    let mut rows = Vec::new();
    for workspace in workspaces["data"].as_array().unwrap() {
        let id = workspace["id"].as_str().unwrap();
        let list = exported.get(&format!("{path}?workspace_id={id}")).await;
        let list = list["data"].as_array().unwrap().clone();
        rows.extend(list.into_iter().map(|row| (id.to_owned(), row)));
    }
    rows
}

/// The blocks of an export.
struct Blocks(Vec<Block>);

impl Blocks {
    fn parse(files: &BTreeMap<String, String>) -> Self {
        let parse = |(name, text): (&String, &String)| -> Vec<Block> {
            let body: Body =
                hcl::parse(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            body.into_blocks().collect()
        };
        Self(files.iter().flat_map(parse).collect())
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Block> {
        self.0
            .iter()
            .filter(move |block| block.identifier() == kind)
    }

    /// Returns the addresses of all resources.
    fn resources(&self) -> Vec<String> {
        let address = |block: &Block| {
            let labels = block.labels().iter().map(|label| label.as_str());
            labels.collect::<Vec<_>>().join(".")
        };
        self.of("resource").map(address).collect()
    }

    /// Returns the address and the id of each import.
    fn imports(&self) -> Vec<(String, String)> {
        let import = |block: &Block| {
            let to = attribute(block, "to").unwrap();
            let id = attribute(block, "id").unwrap();
            (
                hcl::format::to_string(to).unwrap().trim().to_owned(),
                text(id),
            )
        };
        self.of("import").map(import).collect()
    }

    /// Returns the ids with which resources of a type are imported.
    fn imported(&self, kind: &str) -> BTreeSet<String> {
        let prefix = format!("{kind}.");
        let imports = self.imports().into_iter();
        imports
            .filter(|(address, _)| address.starts_with(&prefix))
            .map(|(_, id)| id)
            .collect()
    }

    fn resource(&self, address: &str) -> &Block {
        let (kind, name) = address.split_once('.').unwrap();
        let mut blocks = self.of("resource");
        let is_it = |block: &&Block| {
            block.labels()[0].as_str() == kind && block.labels()[1].as_str() == name
        };
        blocks.find(is_it).unwrap_or_else(|| panic!("{address}"))
    }
}

fn attribute<'a>(block: &'a Block, name: &str) -> Option<&'a Expression> {
    let mut attributes = block.body().attributes();
    attributes
        .find(|attribute| attribute.key() == name)
        .map(hcl::Attribute::expr)
}

fn text(expression: &Expression) -> String {
    match expression {
        Expression::String(text) => text.clone(),
        other => panic!("no text: {other:?}"),
    }
}

/// Returns the document of a call of `jsonencode`.
fn encoded(expression: &Expression) -> Value {
    match expression {
        Expression::FuncCall(call) if call.name.name.as_str() == "jsonencode" => {
            serde_json::to_value(hcl::Value::from(call.args[0].clone())).unwrap()
        }
        other => panic!("not encoded: {other:?}"),
    }
}

fn ids(rows: &[(String, Value)], id: impl Fn(&str, &Value) -> String) -> BTreeSet<String> {
    rows.iter()
        .map(|(workspace, row)| id(workspace, row))
        .collect()
}

#[tokio::test]
async fn every_resource_is_imported_by_the_id_that_portkey_has() {
    let exported = Exported::start();
    let (code, output) = export(&exported, &[]);
    assert_eq!(code, 0, "{output}");
    let files = files(&exported);
    let blocks = Blocks::parse(&files);
    let resources = blocks.resources();
    let imports = blocks.imports();
    assert!(resources.len() > 40, "{resources:?}");
    let imported: Vec<_> = imports.iter().map(|(address, _)| address.clone()).collect();
    assert_eq!(imported, resources);
    let distinct: BTreeSet<_> = resources.iter().collect();
    assert_eq!(distinct.len(), resources.len(), "{resources:?}");

    let field =
        |name: &'static str| move |_: &str, row: &Value| row[name].as_str().unwrap().to_owned();
    let in_workspace =
        |workspace: &str, row: &Value| format!("{workspace}:{}", row["id"].as_str().unwrap());
    let workspaces = exported.get("/admin/workspaces").await;
    let workspaces: BTreeSet<_> = workspaces["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(blocks.imported("portkey_workspace"), workspaces);
    let integrations = exported.get("/integrations").await;
    let integrations: BTreeSet<_> = integrations["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["slug"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(blocks.imported("portkey_integration"), integrations);
    let configs = rows_of_workspaces(&exported, "/configs").await;
    assert_eq!(
        blocks.imported("portkey_config"),
        ids(&configs, field("slug"))
    );
    let providers = rows_of_workspaces(&exported, "/providers").await;
    assert_eq!(
        blocks.imported("portkey_provider"),
        ids(&providers, in_workspace)
    );
    let policies = rows_of_workspaces(&exported, "/policies/usage-limits").await;
    assert_eq!(
        blocks.imported("portkey_usage_limits_policy"),
        ids(&policies, field("id"))
    );
    let access = blocks.imported("portkey_integration_workspace_access");
    assert!(access.contains("anthropic/ws-support-bot"), "{access:?}");

    // The configuration itself comes back.
    for (_, row) in &configs {
        let slug = row["slug"].as_str().unwrap();
        let config = exported.get(&format!("/configs/{slug}")).await;
        let config = &config["config"];
        let expected: Value = match config.as_str() {
            Some(text) => serde_json::from_str(text).unwrap(),
            None => config.clone(),
        };
        let (address, _) = imports
            .iter()
            .find(|(address, id)| address.starts_with("portkey_config.") && id == slug)
            .unwrap();
        let block = blocks.resource(address);
        assert_eq!(
            encoded(attribute(block, "config").unwrap()),
            expected,
            "{slug}"
        );
    }
    let workspace = blocks.resource("portkey_workspace.ws_research");
    assert_eq!(text(attribute(workspace, "name").unwrap()), "Research");

    // What Terraform does not know is said.
    for left in [
        "labels",
        "deployments",
        "virtual-keys",
        "guard_plain-language",
        "security_settings",
    ] {
        assert!(output.contains(left), "{left}: {output}");
    }
    let (code, output) = export(&exported, &[]);
    assert!(
        code == 0 && output.contains(" 0 removed") && output.contains("0 written"),
        "{output}"
    );
}

/// Mappings of SCIM groups, capabilities of MCP integrations and open invitations have the resources and the ids of
/// import that the documents of the provider name.
#[tokio::test]
async fn mappings_capabilities_and_invites_are_resources() {
    let exported = Exported::start();
    let (code, output) = export(
        &exported,
        &[
            "--kinds",
            "mcp-integrations,scim-workspace-mappings,user-invites",
        ],
    );
    assert_eq!(code, 0, "{output}");
    let blocks = Blocks::parse(&files(&exported));
    let mappings = exported.get("/scim/workspaces").await;
    let mappings = mappings["mappings"].as_array().unwrap();
    let ids: BTreeSet<_> = mappings
        .iter()
        .map(|row| {
            let field = |name: &str| row[name].as_str().unwrap();
            format!("{}/{}", field("workspace_id"), field("id"))
        })
        .collect();
    assert_eq!(blocks.imported("portkey_scim_workspace_mapping"), ids);
    for (address, id) in blocks.imports() {
        let Some(row) = mappings
            .iter()
            .find(|row| id.ends_with(&format!("/{}", row["id"].as_str().unwrap())))
        else {
            continue;
        };
        let block = blocks.resource(&address);
        for name in ["workspace_id", "role", "scim_group_id"] {
            assert_eq!(text(attribute(block, name).unwrap()), row[name], "{id}");
        }
        assert_eq!(attribute(block, "scim_group_name"), None);
    }

    let integrations = exported.get("/mcp-integrations").await;
    let mut with_capabilities = BTreeSet::new();
    for row in integrations["data"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let answer = exported
            .get(&format!("/mcp-integrations/{id}/capabilities"))
            .await;
        let listed = answer["data"].as_array().unwrap();
        let known = ["tool", "prompt", "resource"];
        let expected: BTreeSet<String> = listed
            .iter()
            .filter(|row| known.iter().any(|kind| row["type"] == *kind))
            .map(|row| json!([row["name"], row["type"], row["enabled"]]).to_string())
            .collect();
        if expected.is_empty() {
            continue;
        }
        with_capabilities.insert(id.to_owned());
        let (address, _) = blocks
            .imports()
            .into_iter()
            .find(|(address, import)| {
                address.starts_with("portkey_mcp_integration_capabilities.") && import == id
            })
            .unwrap();
        let block = blocks.resource(&address);
        assert_eq!(text(attribute(block, "mcp_integration_id").unwrap()), id);
        let list = attribute(block, "capabilities").unwrap();
        let list = serde_json::to_value(hcl::Value::from(list.clone())).unwrap();
        let found: BTreeSet<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|row| json!([row["name"], row["type"], row["enabled"]]).to_string())
            .collect();
        assert_eq!(found, expected, "{id}");
    }
    assert!(!with_capabilities.is_empty());
    let imported = blocks.imported("portkey_mcp_integration_capabilities");
    assert_eq!(imported, with_capabilities);
    assert!(
        output.contains("capabilities of type resource_template"),
        "{output}"
    );

    let invites = exported.get("/admin/users/invites").await;
    let open: BTreeSet<_> = invites["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["status"] == "pending")
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(!open.is_empty() && open.len() < 3, "{invites}");
    assert_eq!(blocks.imported("portkey_user_invite"), open);
}

#[test]
fn secrets_are_sensitive_variables() {
    let exported = Exported::start();
    export(&exported, &[]);
    let files = files(&exported);
    let all: String = files.values().cloned().collect();
    for secret in SECRETS.iter().chain(&["\"***\"", "masked_"]) {
        assert!(!all.contains(secret), "{secret}");
    }
    let blocks = Blocks::parse(&files);
    let declared: BTreeSet<_> = blocks
        .of("variable")
        .map(|block| {
            assert_eq!(attribute(block, "sensitive"), Some(&Expression::Bool(true)));
            block.labels()[0].as_str().to_owned()
        })
        .collect();
    let used: BTreeSet<_> = all
        .match_indices("var.")
        .map(|(at, _)| {
            let name = all[at + 4..].chars();
            let name = name.take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
            name.collect::<String>()
        })
        .collect();
    assert!(declared.len() > 5, "{declared:?}");
    assert_eq!(declared, used);
    assert!(
        declared.contains("integration_openai_production_key"),
        "{declared:?}"
    );
    assert!(
        declared.contains("secret_reference_research_providers_vault_token"),
        "{declared:?}"
    );
}

#[test]
fn part_that_is_not_seen_leaves_its_file() {
    let exported = Exported::start();
    let dir = exported.dir();
    let args = ["export", dir.to_str().unwrap(), "--format", "terraform"];
    assert_eq!(exported.run_with_key("any", &args).0, 0);
    let before = files(&exported);
    // This key reads one workspace only.
    let (code, output) = exported.run_with_key("sandbox-workspace-ws-research", &args);
    assert_eq!(code, 3, "{output}");
    let after = files(&exported);
    assert_eq!(
        before["secret-references.tf"], after["secret-references.tf"],
        "{output}"
    );
    assert!(output.contains("secret-references.tf"), "{output}");
}

#[test]
fn folder_keeps_its_format() {
    let exported = Exported::start();
    let dir = exported.dir();
    export(&exported, &["--kinds", "configs"]);
    for (args, word) in [
        (
            ["export", dir.to_str().unwrap(), "--format", "yaml"].as_slice(),
            "another format",
        ),
        (
            ["drift", dir.to_str().unwrap()].as_slice(),
            "terraform plan",
        ),
    ] {
        let (code, output) = exported.run_with_key("any", args);
        assert!(code == 1 && output.contains(word), "{output}");
    }
    let (code, output) = exported.run_with_key("any", &["export", dir.to_str().unwrap()]);
    assert!(code == 0 && output.contains("0 written"), "{output}");
}

#[test]
fn file_of_the_user_is_not_replaced() {
    let exported = Exported::start();
    export(&exported, &["--kinds", "configs,prompts"]);
    let manifest = exported.dir().join("snapshot.yaml");
    let text = fs::read_to_string(&manifest).unwrap();
    let rest = text.lines().filter(|line| !line.contains("configs.tf"));
    let rest = rest.collect::<Vec<_>>().join("\n");
    assert_ne!(rest.lines().count(), text.lines().count(), "{text}");
    fs::write(&manifest, &rest).unwrap();
    let file = exported.dir().join("configs.tf");
    fs::write(&file, "# mine\n").unwrap();

    let (code, output) = export(&exported, &[]);
    assert!(
        code == 1 && output.contains("configs.tf is not of this snapshot"),
        "{output}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    assert_eq!(fs::read_to_string(&manifest).unwrap(), rest);

    fs::remove_file(&file).unwrap();
    let (code, output) = export(&exported, &[]);
    assert!(code == 0 && output.contains("1 written"), "{output}");
}

/// Texts that would be templates of Terraform, with the form in which a file has them.
const TEMPLATES: [(&str, &str); 4] = [
    (
        "${var.region} and ${file(\"/etc/passwd\")}",
        "$${var.region} and $${file(",
    ),
    ("%{ if true }yes%{ endif }", "%%{ if true }yes%%{ endif }"),
    ("100 % $ {plain} %%", "100 % $ {plain} %%"),
    (
        "{{customer}} \"quoted\"\n${next}",
        "{{customer}} \\\"quoted\\\"",
    ),
];

#[tokio::test]
async fn planted_templates_of_terraform_stay_text() {
    let exported = Exported::start();
    let planted: Vec<&str> = TEMPLATES.iter().map(|(text, _)| *text).collect();
    let all = planted.join(" | ");
    let config = json!({
        "strategy": { "mode": "single" },
        "targets": [{ "provider": "@openai-production",
            "override_params": { "model": "gpt-4o", "user": all, "stop": planted } }],
    });
    let name = "Trial ${split} %{x}";
    let body = json!({ "name": name, "config": config });
    exported
        .send(Method::PUT, "/configs/pc-trial-split", Some(body))
        .await;
    let body = json!({ "patch": true, "string": all });
    exported
        .send(Method::PUT, "/prompts/pp-refund-reply", Some(body))
        .await;
    // The version that is live, because the export has that one.
    let versions = exported.get("/prompts/pp-refund-reply/versions").await;
    let versions = versions.as_array().or(versions["data"].as_array()).unwrap();
    let latest = versions
        .iter()
        .map(|version| version["prompt_version"].as_u64());
    let body = json!({ "version": latest.max().flatten().unwrap() });
    exported
        .send(
            Method::PUT,
            "/prompts/pp-refund-reply/makeDefault",
            Some(body),
        )
        .await;

    let (code, output) = export(&exported, &["--kinds", "configs,prompts"]);
    assert_eq!(code, 0, "{output}");
    let files = files(&exported);
    for file in ["configs.tf", "prompts.tf"] {
        for (_, written) in TEMPLATES {
            assert!(files[file].contains(written), "{file}: {written}");
        }
        // Each opening is doubled, so that Terraform evaluates nothing.
        for opening in ["${", "%{"] {
            let text = &files[file];
            for (at, _) in text.match_indices(opening) {
                assert_eq!(text[..at].chars().next_back(), opening.chars().next());
            }
        }
    }
    let blocks = Blocks::parse(&files);
    let find = |kind: &str, id: &str| {
        let imports = blocks.imports().into_iter();
        let mut of_kind = imports.filter(|(address, _)| address.starts_with(kind));
        of_kind.find(|(_, found)| found == id).unwrap().0
    };
    let block = blocks.resource(&find("portkey_config.", "pc-trial-split"));
    assert_eq!(text(attribute(block, "name").unwrap()), name);
    assert_eq!(encoded(attribute(block, "config").unwrap()), config);
    let block = blocks.resource(&find("portkey_prompt.", "pp-refund-reply"));
    assert_eq!(text(attribute(block, "template").unwrap()), all);
}
