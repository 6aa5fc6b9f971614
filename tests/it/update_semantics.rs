//! Every update declares how it behaves, and what it declares exists.

use std::path::Path;

use portkey_api::{
    catalog::{Catalog, CatalogEntry},
    domains::DOMAINS,
};
use portkey_operation::{Effect, FieldUpdate, Operation, UpdateSemantics};
use serde_json::Value;

/// Returns true if an operation changes a resource that exists.
fn is_update(operation: &Operation) -> bool {
    operation.effect() == Effect::Update
        || matches!(*operation.method(), http::Method::PUT | http::Method::PATCH)
}

/// Returns the file that declares an operation.
fn declaring_file(domain: &str) -> String {
    let name = domain.replace('-', "_");
    let folder = format!("crates/portkey-api/src/domains/{name}/mod.rs");
    match Path::new(&folder).exists() {
        true => folder,
        false => format!("crates/portkey-api/src/domains/{name}.rs"),
    }
}

#[test]
fn every_update_declares_its_semantics() {
    let mut missing = Vec::new();
    for domain in DOMAINS {
        let updates = domain
            .operations
            .iter()
            .filter(|operation| is_update(operation));
        for operation in updates.filter(|operation| operation.update_semantics().is_none()) {
            let name = operation.name();
            missing.push(format!(
                "{}: `{name}` does not say how it updates. Add to its row `.with_update(UpdateRules::read_by(\"get-…\"))`, \
                 with the fields that are not simply replaced, or `.without_patch(\"why\")`",
                declaring_file(domain.name)
            ));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn only_updates_declare_update_semantics() {
    let operations = DOMAINS.iter().flat_map(|domain| domain.operations);
    for operation in operations.filter(|operation| !is_update(operation)) {
        assert!(operation.update_semantics().is_none(), "{operation:?}");
    }
}

fn properties(entry: &CatalogEntry) -> &serde_json::Map<String, Value> {
    entry.compiled().full_schema()["properties"]
        .as_object()
        .unwrap()
}

#[test]
fn declared_reads_fields_and_lists_exist() {
    let catalog = Catalog::full();
    for entry in catalog.iter() {
        let Some(rules) = entry.operation.update_rules() else {
            continue;
        };
        let name = entry.operation.name();
        let read = catalog.find(rules.read()).unwrap();
        assert_eq!(read.operation.effect(), Effect::Read, "{name}");
        for place in read.operation.placeholders() {
            let is_known = entry.operation.placeholders().any(|known| known == place);
            assert!(is_known, "{name}: `{}` needs `{place}`", rules.read());
        }
        for (argument, _) in rules.read_arguments() {
            assert!(
                properties(read).contains_key(*argument),
                "{name}: {argument}"
            );
        }
        let fields = properties(entry);
        for field in rules.fields() {
            assert!(
                fields.contains_key(field.name()),
                "{name}: {}",
                field.name()
            );
            if matches!(field.update(), FieldUpdate::MergeEntries(_)) {
                let mut lists = rules.list_rules().0.iter();
                assert!(
                    lists.any(|list| list.path == field.name() && list.keys.len() == 1),
                    "{name}: `{}` has no key",
                    field.name()
                );
            }
        }
        for list in rules.list_rules().0 {
            let first = list.path.split(['.', '[']).next().unwrap();
            assert!(fields.contains_key(first), "{name}: {}", list.path);
        }
        for field in rules.create_only() {
            assert!(!fields.contains_key(*field), "{name} takes `{field}`");
        }
        if let Some(flag) = rules.partial_flag() {
            assert!(
                fields.contains_key(flag.argument),
                "{name}: {}",
                flag.argument
            );
        }
    }
}

#[test]
fn updates_without_a_patch_say_why() {
    for operation in DOMAINS.iter().flat_map(|domain| domain.operations) {
        if let Some(UpdateSemantics::NoPatch(reason)) = operation.update_semantics() {
            assert!(
                !reason.ends_with('.') && !reason.is_empty(),
                "{operation:?}: {reason}"
            );
        }
    }
}
