//! Truncation: within the limit, with the same shape, and only with content of the whole.

use portkey_mcp::mcp::results::{RenderedResult, ResultFlags, Results};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::{STORABLE, block_on, handle_of, json_size, results_with_limit};
use crate::support::upstream::principal_named;

fn render(results: &Results, answer: &Value, origin: ResultFlags) -> RenderedResult {
    block_on(results.render(&principal_named("alice"), answer.clone(), origin))
}

/// Generates any JSON, often large enough to be truncated.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[a-z\"\\\\\n\u{1}é😀]{200,900}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 120, 12, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..12).prop_map(Value::from),
            vec(("[a-z~/\"é]{0,12}", inner), 0..12)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Returns true if a truncated value contains only content of the whole, at the same place.
fn is_prefix_of(head: &Value, whole: &Value) -> bool {
    match (head, whole) {
        (Value::Array(head), Value::Array(whole)) => {
            head.len() <= whole.len() && head.iter().zip(whole).all(|(a, b)| is_prefix_of(a, b))
        }
        (Value::Object(head), Value::Object(whole)) => {
            head.len() <= whole.len()
                && head
                    .iter()
                    .zip(whole)
                    .all(|((a, x), (b, y))| a == b && is_prefix_of(x, y))
        }
        (Value::String(head), Value::String(whole)) if head != whole => {
            let (start, mark) = head.rsplit_once("… (").unwrap();
            let rest = whole.strip_prefix(start).unwrap();
            mark == format!("{} more characters)", rest.chars().count())
        }
        (head, whole) => head == whole,
    }
}

/// Returns true if an entry of the truncation notice is correct.
fn is_truncated_as_reported(cut: &Value, head: &Value, whole: &Value) -> bool {
    let pointer = cut["pointer"].as_str().unwrap();
    let count = |value: &Value| match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.chars().count(),
        other => panic!("{other} is cut"),
    };
    let head = head.pointer(pointer).unwrap();
    let whole = whole.pointer(pointer).unwrap();
    let returned = cut["returned"].as_u64().unwrap() as usize;
    // A truncated text has a marker after the returned part.
    (head.is_string() || count(head) == returned)
        && cut["of"] == count(whole)
        && returned < count(whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn truncated_result_is_a_prefix_of_the_whole(answer in any_json(), most in 1_024..6_000_usize) {
        let results = results_with_limit(most);
        let shown = render(&results, &answer, STORABLE);
        let whole = if answer.is_object() { answer.clone() } else { json!({ "data": answer }) };
        prop_assert_eq!(serde_json::from_str::<Value>(&shown.text).unwrap_or_default(),
            if shown.structured.get("truncated").is_some() || answer.is_object() {
                shown.structured.clone()
            } else {
                answer
            });
        prop_assert!(json_size(&shown.structured) <= most && shown.text.len() <= most);
        if json_size(&whole) <= most {
            prop_assert_eq!(shown.structured, whole);
            return Ok(());
        }
        let mut head = shown.structured;
        let notice = head.as_object_mut().unwrap().shift_remove("truncated").unwrap();
        prop_assert_eq!(&notice["bytes"], json_size(&whole));
        prop_assert!(is_prefix_of(&head, &whole), "{} of {}", head, whole);
        for cut in notice["cut"].as_array().unwrap() {
            prop_assert!(is_truncated_as_reported(cut, &head, &whole), "{} in {}", cut, head);
        }
    }
}

#[test]
fn list_is_truncated_to_whole_items() {
    let items: Vec<Value> = (0..200)
        .map(|i| json!({ "id": i, "name": "n".repeat(80) }))
        .collect();
    let list = json!({ "object": "list", "total": 200, "data": items });
    let shown = render(&results_with_limit(4_000), &list, STORABLE).structured;
    let data = shown["data"].as_array().unwrap();
    assert!(data.len() > 30, "{}", data.len());
    assert_eq!(data[..], items[..data.len()]);
    assert_eq!(
        (&shown["object"], &shown["total"]),
        (&json!("list"), &json!(200))
    );
    let cut = json!([{ "pointer": "/data", "returned": data.len(), "of": 200 }]);
    assert_eq!(shown["truncated"]["cut"], cut);
}

#[test]
fn large_fields_share_the_remaining_size() {
    let long = json!({ "a": "x".repeat(9_000), "id": "one", "b": "y".repeat(9_000), "n": 7 });
    let shown = render(&results_with_limit(4_000), &long, STORABLE).structured;
    assert_eq!((&shown["id"], &shown["n"]), (&json!("one"), &json!(7)));
    for (name, letter) in [("a", 'x'), ("b", 'y')] {
        let text = shown[name].as_str().unwrap();
        assert!(text.matches(letter).count() > 1_200, "{text}");
        assert!(text.ends_with(" more characters)"), "{text}");
    }
}

#[test]
fn equal_results_are_truncated_equally() {
    let list = json!((0..5_000).collect::<Vec<_>>());
    let results = results_with_limit(2_000);
    let plain = |shown: RenderedResult| shown.text.replace(&handle_of(&shown), "");
    let once = render(&results, &list, STORABLE);
    let again = render(&results, &list, STORABLE);
    assert_ne!(handle_of(&once), handle_of(&again));
    assert_eq!(plain(once), plain(again));
}

#[test]
fn unlimited_results_are_not_truncated() {
    use portkey_mcp::mcp::results::{DEFAULT_RESULT_TTL, ResultContent};
    let list = json!({ "data": "x".repeat(100_000) });
    let shown = render(
        &Results::new(None, ResultContent::Both, DEFAULT_RESULT_TTL),
        &list,
        STORABLE,
    );
    assert_eq!(shown.structured, list);
}

#[test]
fn result_with_a_one_time_secret_is_not_stored() {
    let list = json!({ "data": "x".repeat(9_000) });
    let shown = render(
        &results_with_limit(2_000),
        &list,
        ResultFlags {
            is_untrusted: false,
            returns_secret: true,
        },
    );
    let notice = &shown.structured["truncated"];
    assert_eq!(notice["handle"], Value::Null);
    assert!(
        notice["read"].as_str().unwrap().contains("not kept"),
        "{notice}"
    );
}
