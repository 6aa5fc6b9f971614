//! Incomplete lists: the warnings about pages that could not be read.

use portkey_api::catalog::Catalog;
use portkey_mcp::mcp::results::{Listing, MAX_LIST_PAGES, PageCollector};
use serde_json::{Value, json};

use crate::support::{
    official_client::connect_everywhere,
    upstream::{MockUpstream, json_response},
};

const TOOL: &str = "list-all-integrations";

struct Case {
    what: &'static str,
    args: Value,
    pages: Vec<Value>,
    warnings: Value,
    returned: usize,
    next: Value,
}

fn page_json(total: u64, ids: std::ops::Range<u64>) -> Value {
    json!({ "total": total, "data": ids.map(|id| json!({ "id": id })).collect::<Vec<_>>() })
}

/// Collects a list from these pages.
fn collect_pages(args: &Value, pages: Vec<Value>) -> Value {
    let listing = Listing::for_operation(Catalog::full().find(TOOL).unwrap().compiled()).unwrap();
    let mut args = args.as_object().unwrap().clone();
    let wishes = listing.take_options(&mut args).unwrap();
    let mut pages = pages.into_iter();
    let mut gathered = PageCollector::new(&listing, &wishes, &args, pages.next().unwrap());
    while gathered.next_page().is_some() {
        gathered.add_page(pages.next().unwrap());
    }
    gathered.finish()
}

#[test]
fn incomplete_list_warns_about_missing_items() {
    let all = || json!({ "all": true, "page_size": 2 });
    let cases = [
        Case {
            what: "the page is ignored",
            args: all(),
            pages: vec![page_json(250, 0..2), page_json(250, 0..2)],
            warnings: json!([
                "the same page came twice, so paging was given up: the upstream ignores the \
                page that is asked for; 248 of 250 items are missing"
            ]),
            returned: 2,
            next: Value::Null,
        },
        Case {
            what: "an earlier page comes again",
            args: all(),
            pages: vec![page_json(6, 0..2), page_json(6, 2..4), page_json(6, 0..2)],
            warnings: json!([
                "the same page came twice, so paging was given up: the upstream ignores the \
                page that is asked for; 2 of 6 items are missing"
            ]),
            returned: 4,
            next: Value::Null,
        },
        Case {
            what: "the page is ignored and no total given",
            args: all(),
            pages: vec![json!({ "data": [1, 2] }), json!({ "data": [1, 2] })],
            warnings: json!([
                "the same page came twice, so paging was given up: the upstream ignores the \
                page that is asked for; how many items are missing is not known"
            ]),
            returned: 2,
            next: Value::Null,
        },
        Case {
            what: "the total shrinks",
            args: all(),
            pages: vec![page_json(4, 0..2), page_json(3, 2..3)],
            warnings: json!([
                "the list changed while its pages were read: the total was 4, then 3; items \
                may be missing or listed twice"
            ]),
            returned: 3,
            next: Value::Null,
        },
        Case {
            what: "the total grows",
            args: all(),
            pages: vec![page_json(3, 0..2), page_json(5, 2..4), page_json(5, 4..5)],
            warnings: json!([
                "the list changed while its pages were read: the total was 3, then 5; items \
                may be missing or listed twice"
            ]),
            returned: 5,
            next: Value::Null,
        },
        Case {
            what: "a page is empty",
            args: all(),
            pages: vec![page_json(9, 0..2), page_json(9, 0..0)],
            warnings: json!(["page 2 is empty; 7 of 9 items are missing"]),
            returned: 2,
            next: Value::Null,
        },
        Case {
            what: "the first page is empty",
            args: json!({}),
            pages: vec![page_json(9, 0..0)],
            warnings: json!(["the page is empty; 9 of 9 items are missing"]),
            returned: 0,
            next: Value::Null,
        },
        Case {
            what: "a page behind the end is empty",
            args: json!({ "page_size": 5, "current_page": 2 }),
            pages: vec![page_json(9, 0..0)],
            warnings: Value::Null,
            returned: 0,
            next: Value::Null,
        },
        Case {
            what: "a page is declared the last",
            args: all(),
            pages: vec![
                json!({ "total": 9, "has_more": true, "data": [1, 2] }),
                json!({ "total": 9, "has_more": false, "data": [3] }),
            ],
            warnings: json!(["page 2 is said to be the last; 6 of 9 items are missing"]),
            returned: 3,
            next: Value::Null,
        },
        Case {
            what: "pages are smaller than they were asked to be",
            args: json!({ "all": true, "page_size": 50 }),
            pages: vec![page_json(5, 0..2), page_json(5, 2..4), page_json(5, 4..5)],
            warnings: Value::Null,
            returned: 5,
            next: Value::Null,
        },
        Case {
            what: "one page of them is wanted, and goes on in its own size",
            args: json!({ "page_size": 50 }),
            pages: vec![page_json(5, 0..2)],
            warnings: Value::Null,
            returned: 2,
            next: json!({ "page_size": 2, "current_page": 1 }),
        },
        Case {
            what: "the bound on pages is reached",
            args: all(),
            pages: (0..MAX_LIST_PAGES as u64)
                .map(|i| page_json(90, 2 * i..2 * i + 2))
                .collect(),
            warnings: json!([
                "reading stopped at the bound of 20 pages; 50 of 90 items are missing; `next` \
                goes on"
            ]),
            returned: 40,
            next: json!({ "all": true, "page_size": 2, "current_page": 20 }),
        },
        Case {
            what: "the bound on items is reached",
            args: json!({ "all": true }),
            pages: vec![page_json(2_500, 0..1_200)],
            warnings: json!([
                "reading stopped at the bound of 1000 items; 1300 of 2500 items are missing; \
                `next` goes on"
            ]),
            returned: 1_200,
            next: json!({ "all": true, "page_size": 1_200, "current_page": 1 }),
        },
        Case {
            what: "warnings of single pages stay",
            args: all(),
            pages: vec![
                json!({ "total": 3, "data": [1, 2], "warnings": ["one"] }),
                json!({ "total": 3, "data": [3], "warnings": ["one"] }),
            ],
            warnings: json!(["one"]),
            returned: 3,
            next: Value::Null,
        },
        Case {
            what: "nothing is missing",
            args: all(),
            pages: vec![page_json(4, 0..2), page_json(4, 2..4)],
            warnings: Value::Null,
            returned: 4,
            next: Value::Null,
        },
    ];
    for Case {
        what,
        args,
        pages,
        warnings,
        returned,
        next,
    } in cases
    {
        let list = collect_pages(&args, pages);
        assert_eq!(list["warnings"], warnings, "{what}");
        assert_eq!(
            (&list["returned"], &list["next"]),
            (&json!(returned), &next),
            "{what}: {list}"
        );
    }
}

#[test]
fn failed_page_is_reported_as_a_warning() {
    let listing = Listing::for_operation(Catalog::full().find(TOOL).unwrap().compiled()).unwrap();
    let mut args = json!({ "all": true, "page_size": 2 })
        .as_object()
        .unwrap()
        .clone();
    let wishes = listing.take_options(&mut args).unwrap();
    let mut gathered = PageCollector::new(&listing, &wishes, &args, page_json(9, 0..2));
    gathered.stop("no".to_owned());
    let list = gathered.finish();
    let warning = "a page could not be read (see `stopped`); 7 of 9 items are missing";
    assert_eq!(list["warnings"], json!([warning]), "{list}");
}

/// Over both transports and both protocols.
#[tokio::test]
async fn ignored_page_parameter_is_reported() {
    let upstream = MockUpstream::start(|_| json_response(&page_json(250, 0..2).to_string())).await;
    let args = ["--base-url", &upstream.base_url];
    for connected in connect_everywhere(&args, &[("PORTKEY_API_KEY", "pk-any-0123456789")]).await {
        let list = connected.call(TOOL, json!({ "all": true })).await.unwrap();
        let warnings = list["warnings"].as_array().unwrap();
        assert!(
            warnings[0].as_str().unwrap().contains("248 of 250"),
            "{}: {list}",
            connected.way
        );
    }
}
