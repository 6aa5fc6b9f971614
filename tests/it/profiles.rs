//! Schema profiles and custom descriptions: every tool list satisfies the rules of the clients of
//! its profile.

use std::{fs, path::Path};

use portkey_api::catalog::Catalog;
use portkey_mcp::mcp::{server, surface::Surface};
use portkey_operation::{Presentation, Profile};
use rmcp::model::Tool;
use serde_json::{Value, json};

use crate::{
    catalog::visit_schemas,
    support::{process::run_cli, server::StdioServer},
};

/// Returns every tool in a profile: the operations, and the tools of the compact surface.
pub(crate) fn listed_tools(profile: Profile) -> Vec<Tool> {
    let catalog = Catalog::with_presentation(Presentation {
        profile,
        ..Presentation::default()
    });
    let listed = |surface| server::build_tools(surface, catalog.presentation(), catalog.iter());
    [listed(Surface::Operations), listed(Surface::Compact)].concat()
}

/// Keywords that every profile may use.
const COMMON_KEYWORDS: &[&str] = &[
    "type",
    "description",
    "enum",
    "items",
    "properties",
    "required",
];
const CONSTRAINTS: &[&str] = &[
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "additionalProperties",
    "writeOnly",
];

fn profile_keywords(profile: Profile) -> &'static [&'static str] {
    match profile {
        Profile::Portable | Profile::Gemini => &[],
        Profile::Full => CONSTRAINTS,
        Profile::OpenAiStrict => &["additionalProperties"],
    }
}

/// Returns the types that a schema permits.
fn schema_types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}

/// Returns the errors of one schema, at any depth.
fn schema_errors(profile: Profile, at: &str, schema: &Value) -> Vec<String> {
    let kinds = schema_types(schema);
    let mut faults = Vec::new();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("{at}: {what}"));
        }
    };
    let allowed =
        |key: &str| COMMON_KEYWORDS.contains(&key) || profile_keywords(profile).contains(&key);
    let odd = schema
        .as_object()
        .unwrap()
        .keys()
        .filter(|key| !allowed(key));
    demand(odd.count() == 0, "a keyword that some client does not take");
    let lean = matches!(profile, Profile::Portable | Profile::Gemini);
    demand(
        !kinds.is_empty() && (!lean || schema["type"].is_string()),
        "not one type",
    );
    if kinds.contains(&"array") {
        demand(
            schema["items"].get("type").is_some(),
            "lists things of no type",
        );
    }
    let words = schema["enum"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let is_word = |word: &Value| word.is_string() || (kinds.contains(&"null") && word.is_null());
    let few = profile != Profile::Portable || words.len() <= 40;
    demand(few && words.iter().all(is_word), "an odd enum");
    let described = schema["description"].as_str().unwrap_or_default();
    demand(described.len() <= 1024, "described in over 1024 bytes");
    if kinds.contains(&"object") {
        let fields = schema["properties"].as_object();
        let names: Vec<_> = fields
            .into_iter()
            .flatten()
            .map(|(name, _)| json!(name))
            .collect();
        let listed = schema["required"].as_array();
        let required = listed.cloned().unwrap_or_default();
        match profile {
            Profile::Portable => {}
            Profile::Full => {
                let says = schema.get("additionalProperties").is_some();
                demand(says || at.is_empty(), "does not say whether it is closed");
            }
            Profile::OpenAiStrict => {
                demand(schema["additionalProperties"] == false, "is not closed");
                demand(
                    listed.is_some() && required == names,
                    "not every field is required",
                );
            }
            Profile::Gemini => demand(at.is_empty() || !names.is_empty(), "says no field"),
        }
        let known = fields.is_none() || required.iter().all(|name| names.contains(name));
        demand(known, "requires what it does not show");
    }
    faults
}

#[test]
fn every_tool_schema_satisfies_its_profile() {
    let mut all = Vec::new();
    for profile in Profile::ALL {
        for tool in listed_tools(profile) {
            let root = Value::Object((*tool.input_schema).clone());
            let describe = |fault: String| format!("{} {}{fault}", profile.as_str(), tool.name);
            if root["type"] != "object" || !root["properties"].is_object() {
                all.push(describe(" is no plain object".to_owned()));
            }
            visit_schemas("", &root, &mut |at, schema| {
                all.extend(schema_errors(profile, at, schema).into_iter().map(describe));
            });
            if let Err(error) = jsonschema::meta::validate(&root) {
                all.push(describe(format!(" is no schema: {error}")));
            }
            jsonschema::validator_for(&root).unwrap();
        }
    }
    assert!(all.is_empty(), "{} faults\n{}", all.len(), all.join("\n"));
}

/// Required arguments are in every profile, and every listed argument is accepted.
#[test]
fn every_profile_has_the_same_arguments() {
    let catalog = Catalog::full();
    for profile in Profile::ALL {
        for tool in listed_tools(profile) {
            let Ok(entry) = catalog.find(&tool.name) else {
                continue;
            };
            let full = &entry.compiled().full_schema()["properties"];
            let shown = tool.input_schema["properties"].as_object().unwrap();
            // The server replaces a patch by arguments before they are validated.
            let takes_patch = entry.operation.update_rules().is_some();
            let strange = shown.keys().filter(|name| {
                let is_patch = takes_patch && *name == "patch";
                full.get(name).is_none() && *name != "clear" && !is_patch
            });
            assert_eq!(strange.count(), 0, "{} {}", profile.as_str(), tool.name);
            let required = &entry.compiled().full_schema()["required"];
            for name in required.as_array().into_iter().flatten() {
                let name = name.as_str().unwrap();
                assert!(
                    shown.contains_key(name),
                    "{} {}: {name}",
                    profile.as_str(),
                    tool.name
                );
            }
        }
    }
}

/// `null` omits a field that it otherwise clears, and `clear` clears it.
#[test]
fn strict_profile_clears_fields_by_name() {
    struct Case {
        tool: &'static str,
        given: Value,
        expected: Value,
    }

    let presentation = Presentation {
        profile: Profile::OpenAiStrict,
        ..Presentation::default()
    };
    let catalog = Catalog::with_presentation(presentation);
    let admit = |tool: &str, args: Value| {
        let args = args.as_object().unwrap().clone();
        catalog
            .find(tool)
            .unwrap()
            .compiled()
            .validate_with_defaults(args)
            .map(Value::Object)
    };
    for Case {
        tool,
        given,
        expected,
    } in [
        Case {
            tool: "update-api-key",
            given: json!({ "id": "a", "name": "n", "expires_at": null, "clear": null }),
            expected: json!({ "id": "a", "name": "n" }),
        },
        Case {
            tool: "update-api-key",
            given: json!({ "id": "a", "clear": ["/expires_at"] }),
            expected: json!({ "id": "a", "expires_at": null }),
        },
    ] {
        assert_eq!(
            admit(tool, given.clone()).map_err(|e| e.to_string()),
            Ok(expected),
            "{given}"
        );
    }
    for (named, message) in [
        (
            "/name",
            "`clear[0]`: `/name` is nothing that can be cleared",
        ),
        (
            "/nobody",
            "`clear[0]`: `/nobody` is nothing that can be cleared",
        ),
        ("", "`clear[0]`: takes a length of at least 1, got 0"),
        (
            "description",
            "`clear[0]`: `description` is nothing that can be cleared",
        ),
    ] {
        let refused = admit("update-api-key", json!({ "id": "a", "clear": [named] })).unwrap_err();
        assert!(refused.to_string().contains(message), "{named}: {refused}");
    }
}

#[test]
fn value_of_a_cleared_field_is_rejected() {
    let presentation = Presentation {
        profile: Profile::OpenAiStrict,
        ..Presentation::default()
    };
    let catalog = Catalog::with_presentation(presentation);
    let args = json!({ "id": "a", "expires_at": "2099-01-01T00:00:00Z", "clear": ["/expires_at"] });
    let published = catalog.find("update-api-key").unwrap().compiled();
    let refused = published
        .validate_with_defaults(args.as_object().unwrap().clone())
        .unwrap_err();
    let message = "`clear[0]`: `/expires_at` has a value, too; leave out one of the two";
    assert_eq!(refused.to_string(), message);
}

fn export_descriptions(more: &[&str]) -> String {
    let (ok, out, log) = run_cli(&[&["tools", "--export-descriptions"], more].concat());
    assert!(ok, "{more:?}: {log}");
    out
}

/// Exported descriptions that are loaded again change nothing, in any profile.
#[test]
fn exported_descriptions_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    for profile in Profile::ALL {
        for surface in ["operations", "compact"] {
            let form = ["--schema-profile", profile.as_str(), "--surface", surface];
            let file = folder.path().join("words.toml");
            fs::write(&file, export_descriptions(&form)).unwrap();
            let list =
                |more: &[&str]| run_cli(&[&["tools", "--format=json"], &form[..], more].concat());
            let (ok, with, log) = list(&["--descriptions", file.to_str().unwrap()]);
            assert!(ok, "{log}");
            assert!(with == list(&[]).1, "{form:?}");
        }
    }
}

#[test]
fn custom_descriptions_are_shown_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("words.toml");
    let words = r#"
        [get-config]
        title = "Konfiguration lesen"
        description = "Liest eine Konfiguration."
        arguments = { slug = "Ihr Name." }

        [bulk-update-integration-models]
        arguments = { "models[].slug" = "Das Modell." }

        [whoami]
        description = "Wer fragt."
    "#;
    fs::write(&file, words).unwrap();
    let mut pipe = StdioServer::builder()
        .args(&["stdio"])
        .sandbox()
        .args(&["--surface", "operations"])
        .variables(&[("PORTKEY_MCP_DESCRIPTIONS", file.to_str().unwrap())])
        .start();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let mut ask = |method: &str, mut params: Value| {
        params["_meta"] = meta.clone();
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        pipe.send(&request.to_string());
        pipe.receive()["result"].take()
    };
    let list = ask("tools/list", json!({}));
    let tool = |name: &str| {
        let tools = list["tools"].as_array().unwrap();
        tools.iter().find(|tool| tool["name"] == name).unwrap()
    };
    let config = tool("get-config");
    assert_eq!(config["title"], "Konfiguration lesen");
    assert_eq!(config["description"], "Liest eine Konfiguration.");
    let slug = &config["inputSchema"]["properties"]["slug"];
    assert_eq!(slug["description"], "Ihr Name.");
    let models = &tool("bulk-update-integration-models")["inputSchema"]["properties"]["models"];
    assert_eq!(
        models["items"]["properties"]["slug"]["description"],
        "Das Modell."
    );
    assert_eq!(tool("whoami")["description"], "Wer fragt.");
    let call = json!({ "name": "describe-operation", "arguments": { "operation": "get-config" } });
    let described = ask("tools/call", call)["structuredContent"].take();
    assert_eq!(described["title"], "Konfiguration lesen");
    assert_eq!(described["arguments"]["properties"]["slug"], *slug);
}

#[test]
fn invalid_descriptions_fail_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("words.toml");
    let long = format!("[get-config]\ntitle = \"{}\"", "a".repeat(2049));
    for (words, message) in [
        (
            "[get-confg]\ntitle = \"A\"",
            "there is no tool `get-confg`, did you mean `get-config`?",
        ),
        ("[get-config]\nname = \"A\"", "unknown field `name`"),
        (
            "[get-config]\ntitle = \" \"",
            "get-config: `title` has 0 characters; give 1 to 2048",
        ),
        (&long, "get-config: `title` has 2049 characters"),
        (
            "[get-config.arguments]\nslugs = \"A\"",
            "get-config: the tool shows no argument `slugs`",
        ),
        ("[get-config", "--descriptions"),
    ] {
        fs::write(&file, words).unwrap();
        let (ok, _, log) = run_cli(&["tools", "--descriptions", file.to_str().unwrap()]);
        assert!(!ok && log.contains(message), "{words}: {log}");
    }
    let missing = Path::new("/nowhere/words.toml");
    let (ok, _, log) = run_cli(&["tools", "--descriptions", missing.to_str().unwrap()]);
    assert!(!ok && log.contains("/nowhere/words.toml"), "{log}");
}
