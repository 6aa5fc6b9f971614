//! Properties of patches and differences that hold for any documents.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::*;

const NAME: KeyField = KeyField {
    name: "name",
    default: None,
};
const RULES: ListRules = ListRules(&[KeyedList::new("targets", &[EntryKey(&[NAME])])]);

/// Documents of a few names, so that two of them have many names in common.
fn documents(with_nulls: bool) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..4_i64).prop_map(Value::from),
        select(vec!["", "x", "line\nline"]).prop_map(Value::from),
        Just(if with_nulls { Value::Null } else { json!(7) }),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((select(vec!["a", "b", "c/d", "e~f"]), inner), 0..4).prop_map(|fields| {
                let fields = fields.into_iter();
                Value::Object(fields.map(|(name, v)| (name.to_owned(), v)).collect())
            }),
        ]
    });
    let entries = vec((select(vec!["p", "q", "r", "s"]), value.clone()), 0..4);
    (
        vec((select(vec!["a", "b", "c/d", "e~f"]), value), 0..4),
        entries,
    )
        .prop_map(|(fields, entries)| {
            let mut document: Map<String, Value> = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            let mut seen = Vec::new();
            let mut targets = Vec::new();
            for (name, value) in entries {
                if !seen.contains(&name) {
                    seen.push(name);
                    targets.push(json!({ "name": name, "value": value }));
                }
            }
            document.insert("targets".to_owned(), targets.into());
            Value::Object(document)
        })
}

proptest! {
    #[test]
    fn difference_applied_to_the_old_document_is_the_new_one(
        old in documents(true), new in documents(true),
    ) {
        let diff = Diff::between(&old, &new, RULES);
        prop_assert_eq!(diff.apply(&old), new);
    }

    #[test]
    fn inverted_difference_restores_the_old_document(
        old in documents(true), new in documents(true),
    ) {
        let back = Diff::between(&new, &old, RULES);
        prop_assert_eq!(back.apply(&new), old);
    }

    #[test]
    fn equal_documents_have_no_difference(document in documents(true)) {
        prop_assert!(Diff::between(&document, &document, RULES).is_empty());
        prop_assert_eq!(merge_patch_between(&document, &document), None);
    }

    /// A merge patch cannot store `null`, so that the documents have none.
    #[test]
    fn merge_patch_between_documents_yields_the_new_one(
        old in documents(false), new in documents(false),
    ) {
        let patch = merge_patch_between(&old, &new).unwrap_or_else(|| json!({}));
        let patched = Patch::parse(patch.clone()).unwrap().apply(&old, ListRules::default());
        // A list that becomes an object is refused, because a caller rarely means that.
        if let Ok(patched) = patched {
            prop_assert_eq!(&patched, &new);
            let mut standard = old;
            json_patch::merge(&mut standard, &patch);
            prop_assert_eq!(standard, new);
        }
    }

    #[test]
    fn merge_patch_has_the_same_outcome_twice(document in documents(false), patch in documents(true)) {
        let patch = Patch::parse(patch).unwrap();
        if let Ok(once) = patch.apply(&document, RULES) {
            prop_assert_eq!(patch.apply(&once, RULES), Ok(once));
        }
    }

    #[test]
    fn merge_patch_keeps_entries_that_it_does_not_name(
        document in documents(false), patch in documents(true),
    ) {
        let parsed = Patch::parse(patch.clone()).unwrap();
        let Ok(patched) = parsed.apply(&document, RULES) else { return Ok(()) };
        let named = |entry: &Value| {
            patch["targets"].as_array().unwrap().iter().any(|one| one["name"] == entry["name"])
        };
        for entry in document["targets"].as_array().unwrap().iter().filter(|entry| !named(entry)) {
            prop_assert!(patched["targets"].as_array().unwrap().contains(entry));
        }
    }

    #[test]
    fn deleted_entry_is_gone(document in documents(false), name in select(vec!["p", "q", "r"])) {
        let patch = json!({ "targets": [{ "name": name, "_delete": true }] });
        let patched = Patch::parse(patch).unwrap().apply(&document, RULES).unwrap();
        let targets = patched["targets"].as_array().unwrap();
        prop_assert!(targets.iter().all(|entry| entry["name"] != name));
        prop_assert!(!patched.to_string().contains(DELETE_MARKER));
    }

    #[test]
    fn operations_between_documents_yield_the_new_one(
        old in documents(true), new in documents(true),
    ) {
        let operations = serde_json::to_value(json_patch::diff(&old, &new)).unwrap();
        let patched = Patch::parse(operations).unwrap().apply(&old, RULES).unwrap();
        prop_assert_eq!(patched, new);
    }

    #[test]
    fn path_of_a_change_finds_its_values(old in documents(true), new in documents(true)) {
        for change in Diff::between(&old, &new, RULES).changes {
            if let Some(value) = &change.new {
                prop_assert_eq!(change.path.find(&new), Some(value));
                prop_assert_eq!(new.pointer(&change.path.pointer()), Some(value));
            }
        }
    }
}

#[test]
fn patch_that_doubles_a_document_is_rejected() {
    let operations: Vec<_> = (0..MAX_OPERATIONS)
        .map(|i| json!({ "op": "copy", "from": "", "path": format!("/c{i}") }))
        .collect();
    let patch = Patch::parse(operations.into()).unwrap();
    let outcome = patch.apply(&json!({ "a": 1 }), ListRules::default());
    assert_eq!(outcome, Err(PatchError::TooLarge));
}

#[test]
fn failed_operations_say_where() {
    let document = json!({ "config": { "targets": [{ "weight": 1 }] } });
    let apply = |operation| {
        let patch = Patch::parse(json!([operation])).unwrap();
        patch.apply(&document, ListRules::default()).unwrap_err()
    };
    let test = apply(json!({ "op": "test", "path": "/config/targets/0/weight", "value": 2 }));
    assert!(matches!(test, PatchError::TestFailed { index: 0, path } if path.ends_with("weight")));
    let missing = apply(json!({ "op": "replace", "path": "/config/targets/3/weight", "value": 2 }));
    assert!(
        matches!(missing, PatchError::NoSuchPath { index: 0, .. }),
        "{missing:?}"
    );
}

#[test]
fn object_does_not_replace_a_list() {
    let document = json!({ "config": { "targets": [{ "weight": 1 }] } });
    let patch = json!({ "config": { "targets": { "0": { "weight": 2 } } } });
    let outcome = Patch::parse(patch)
        .unwrap()
        .apply(&document, ListRules::default());
    assert_eq!(
        outcome,
        Err(PatchError::ObjectForList("config.targets".to_owned()))
    );
}

#[test]
fn values_that_are_no_patch_are_rejected() {
    for value in [json!("x"), json!(1), json!(null), json!(true)] {
        assert_eq!(Patch::parse(value).unwrap_err(), PatchError::NoPatch);
    }
    let unknown = Patch::parse(json!([{ "op": "set", "path": "/a", "value": 1 }]));
    assert!(matches!(
        unknown,
        Err(PatchError::InvalidOperation { index: 0, .. })
    ));
}

#[test]
fn long_texts_are_compared_line_by_line() {
    let old = "one\ntwo\nthree\nfour\n";
    let diff = diff_lines(old, &old.replace("three", "3")).unwrap();
    assert!(diff.contains("-three\n+3\n"), "{diff}");
    assert_eq!(diff_lines("one", "two"), None);
}
