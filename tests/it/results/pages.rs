//! Reads of stored results: complete pages, searches, and invalid pointers.

use portkey_mcp::mcp::results::{PartRequest, ResultError, Results};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::{STORABLE, block_on, handle_of, json_size, results_with_limit};
use crate::support::upstream::principal_named;

const MAX_BYTES: usize = 2_000;

fn store_whole(results: &Results, whole: &Value) -> String {
    handle_of(&block_on(results.render(
        &principal_named("alice"),
        whole.clone(),
        STORABLE,
    )))
}

fn read_part(results: &Results, handle: &str, request: &PartRequest) -> Result<Value, ResultError> {
    block_on(results.read(&principal_named("alice"), handle, request)).map(|part| part.value)
}

/// Reads everything at a pointer, with the arguments that each page gives for the next.
fn read_all_pages(results: &Results, handle: &str, pointer: &str, limit: Option<usize>) -> Value {
    let mut request = PartRequest {
        pointer: pointer.to_owned(),
        limit,
        ..PartRequest::default()
    };
    let mut whole: Option<Value> = None;
    loop {
        let page = read_part(results, handle, &request).unwrap();
        assert!(
            json_size(&page) <= MAX_BYTES,
            "{} bytes at {pointer}",
            json_size(&page)
        );
        let data = page["data"].clone();
        whole = Some(match (whole, data) {
            (None, data) => data,
            (Some(Value::Array(mut all)), Value::Array(more)) => {
                all.extend(more);
                all.into()
            }
            (Some(Value::Object(mut all)), Value::Object(more)) => {
                all.extend(more);
                all.into()
            }
            (Some(Value::String(all)), Value::String(more)) => (all + &more).into(),
            (whole, data) => panic!("{data} after {whole:?}"),
        });
        let next = &page["next"];
        if next.is_null() {
            return whole.unwrap();
        }
        assert_eq!(
            (&next["handle"], &next["pointer"]),
            (&json!(handle), &json!(pointer))
        );
        let offset = next["offset"].as_u64().unwrap() as usize;
        assert!(offset > request.offset, "{page}");
        assert!(
            limit.is_none_or(|limit| offset - request.offset <= limit),
            "{page}"
        );
        request.offset = offset;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pages_of_a_stored_result_are_complete(
        items in vec(("[a-zé😀]{0,30}", any::<i32>()), 0..150),
        entries in vec(("[a-z~/é]{1,12}", any::<bool>()), 0..150),
        text in "[a-z\"\n\u{1}é😀]{2000,6000}",
        limit in proptest::option::of(1..100_usize),
    ) {
        let map: serde_json::Map<_, _> =
            entries.into_iter().map(|(name, value)| (name, json!(value))).collect();
        let whole = json!({ "data": { "items": items, "map": map, "text": text }, "n": 7 });
        let results = results_with_limit(MAX_BYTES);
        let handle = store_whole(&results, &whole);
        for pointer in ["/data/items", "/data/map", "/data/text", "/n"] {
            let limit = limit.filter(|limit| pointer != "/data/text" || *limit > 50);
            let joined = read_all_pages(&results, &handle, pointer, limit);
            prop_assert_eq!(Some(&joined), whole.pointer(pointer));
        }
    }
}

#[test]
fn item_larger_than_a_page_is_truncated_and_readable() {
    let whole = json!({ "data": [{ "id": 0, "text": "x".repeat(9_000) }, { "id": 1 }] });
    let results = results_with_limit(MAX_BYTES);
    let handle = store_whole(&results, &whole);
    let request = PartRequest {
        pointer: "/data".to_owned(),
        ..PartRequest::default()
    };
    let page = read_part(&results, &handle, &request).unwrap();
    assert_eq!(
        (&page["returned"], &page["next"]["offset"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(page["cut"][0]["pointer"], "/data/0/text");
    assert_eq!(
        read_all_pages(&results, &handle, "/data/0/text", None),
        whole["data"][0]["text"]
    );
    let page = read_part(
        &results,
        &handle,
        &PartRequest {
            offset: 1,
            ..request
        },
    )
    .unwrap();
    assert_eq!(
        (&page["data"], &page["next"]),
        (&json!([{ "id": 1 }]), &Value::Null)
    );
}

#[test]
fn search_finds_names_and_values() {
    let mut items: Vec<Value> = (0..300)
        .map(|i| json!({ "id": i, "slug": format!("team-{i}") }))
        .collect();
    items[7]["Budget"] = json!("none");
    items[9]["note"] = json!(format!(
        "{}the BUDGET is spent{}",
        "a".repeat(500),
        "z".repeat(500)
    ));
    let whole = json!({ "data": items });
    let results = results_with_limit(6_000);
    let handle = store_whole(&results, &whole);
    let search = |words: &str, pointer: &str, offset| {
        let pointer = pointer.to_owned();
        let request = PartRequest {
            pointer,
            offset,
            search: Some(words.to_owned()),
            limit: None,
        };
        read_part(&results, &handle, &request).unwrap()
    };
    let found = search("budget", "", 0);
    assert_eq!((&found["total"], &found["next"]), (&json!(2), &Value::Null));
    assert_eq!(
        found["matches"][0],
        json!({ "pointer": "/data/7/Budget", "excerpt": "none" })
    );
    let excerpt = found["matches"][1]["excerpt"].as_str().unwrap();
    assert!(
        excerpt.contains("the BUDGET is spent") && excerpt.len() < 200,
        "{excerpt}"
    );
    assert_eq!(search("budget", "/data/9", 0)["total"], 1);
    assert_eq!(search("nowhere", "", 0)["total"], 0);
    // Case is ignored in other alphabets as well; text outside ASCII is never in ASCII text.
    items[11]["note"] = json!("ÄRGER with the Kelvin sign \u{212a}");
    let handle = store_whole(&results, &json!({ "data": items }));
    let search = |words: &str, pointer: &str, offset| {
        let pointer = pointer.to_owned();
        let request = PartRequest {
            pointer,
            offset,
            search: Some(words.to_owned()),
            limit: None,
        };
        read_part(&results, &handle, &request).unwrap()
    };
    for (words, total) in [
        ("ärger", 1),
        ("SIGN K", 1),
        ("kelvin SIGN", 1),
        ("ärgern", 0),
    ] {
        assert_eq!(search(words, "", 0)["total"], total, "{words}");
    }
    // A long list of matches is paged as well.
    let mut offset = 0;
    let mut seen = 0;
    loop {
        let page = search("team-", "", offset);
        assert_eq!(page["total"], 300);
        let matches = page["matches"].as_array().unwrap();
        assert!(matches.len() <= 50 && json_size(&page) <= 6_000, "{page}");
        assert_eq!(matches[0]["pointer"], format!("/data/{seen}/slug"));
        seen += matches.len();
        let Some(next) = page["next"]["offset"].as_u64() else {
            break;
        };
        assert_eq!(page["next"]["search"], "team-");
        offset = next as usize;
    }
    assert_eq!(seen, 300);
}

#[test]
fn invalid_pointer_is_rejected_with_a_hint() {
    let whole =
        json!({ "data": [{ "a/b": 1, "name": "x" }], "total": 1, "pad": "x".repeat(5_000) });
    let results = results_with_limit(MAX_BYTES);
    let handle = store_whole(&results, &whole);
    let cases = [
        ("data", "begins with `/`"),
        ("/dta", "the whole has `data`, `total`, `pad`"),
        ("/data/7", "`/data` is a list of 1 items"),
        ("/data/x/y", "`/data` is a list"),
        ("/data/0/nme/deep", "`/data/0` has `a~1b`, `name`"),
        ("/total/x", "`/total` is a single value"),
    ];
    for (pointer, hint) in cases {
        let request = PartRequest {
            pointer: pointer.to_owned(),
            ..PartRequest::default()
        };
        let error = read_part(&results, &handle, &request)
            .unwrap_err()
            .to_string();
        assert!(error.contains(hint), "{pointer}: {error}");
    }
    let escaped = PartRequest {
        pointer: "/data/0/a~1b".to_owned(),
        ..PartRequest::default()
    };
    assert_eq!(read_part(&results, &handle, &escaped).unwrap()["data"], 1);
}
