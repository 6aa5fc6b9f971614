//! Prompt partials: a changed text is unused until it is published.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const SEEDED_PARTIAL: &str = "/prompts/partials/pp-house-style";

#[tokio::test]
async fn partial_is_created_listed_and_deleted() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "Closing Words", "string": "Yours, {{agent}}",
        "workspace_id": "ws-shared", "version_description": "First" });
    let made = portkey.post("/prompts/partials", body).await;
    let slug = made["slug"].as_str().unwrap();

    let path = format!("/prompts/partials/{slug}");
    let path = path.as_str();
    let read = portkey.get(path).await;
    assert_eq!(read["string"], "Yours, {{agent}}");
    assert_eq!(
        (read["version"].as_u64(), &read["version_description"]),
        (Some(1), &json!("First"))
    );
    assert_eq!(read["prompt_partial_version_id"], made["version_id"]);
    let by_id = format!("/prompts/partials/{}", made["id"].as_str().unwrap());
    assert_eq!(read, portkey.get(&by_id).await);

    let collections = portkey.get("/collections?workspace_id=ws-shared").await;
    assert_eq!(
        read["collection_id"], collections["data"][0]["id"],
        "the workspace's own"
    );
    for query in [
        "workspace_id=ws-shared",
        "workspace_id=ws-shared&search=CLOSING",
    ] {
        let listed = portkey.get(&format!("/prompts/partials?{query}")).await;
        assert_eq!(string_column(&listed["data"], "slug"), [slug], "{query}");
        assert_eq!(listed["data"][0].get("string"), None, "{query}");
    }
    let inside = format!(
        "/prompts/partials?collection_id={}",
        read["collection_id"].as_str().unwrap()
    );
    assert_eq!(portkey.get(&inside).await["total"], 1);

    assert_eq!(portkey.delete(path).await, json!({}));
    for path in [path.to_owned(), format!("{path}/versions")] {
        assert_eq!(
            portkey.refusal(Method::GET, &path, Value::Null).await.0,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn changed_text_is_unused_until_published() {
    let portkey = Portkey::start().await;
    let first = portkey.get(SEEDED_PARTIAL).await;
    let change = json!({ "string": "Be brief.", "version_description": "Shorter" });
    let added = portkey.put(SEEDED_PARTIAL, change).await;
    assert_eq!(portkey.get(SEEDED_PARTIAL).await["string"], first["string"]);
    for (asked, text) in [
        ("latest", &json!("Be brief.")),
        ("2", &json!("Be brief.")),
        ("1", &first["string"]),
        ("default", &first["string"]),
    ] {
        let read = portkey
            .get(&format!("{SEEDED_PARTIAL}?version={asked}"))
            .await;
        assert_eq!(read["string"], *text, "{asked}");
    }
    let listed = portkey.get(&format!("{SEEDED_PARTIAL}/versions")).await;
    let numbers = [&listed["data"][0]["version"], &listed["data"][1]["version"]];
    assert_eq!(numbers, [&json!(2), &json!(1)]);
    assert_eq!(
        listed["data"][0]["prompt_partial_version_id"],
        added["prompt_partial_version_id"]
    );
    assert_eq!(listed["data"][0]["description"], "Shorter");

    let publish = format!("{SEEDED_PARTIAL}/makeDefault");
    for (version, text) in [(2, &json!("Be brief.")), (1, &first["string"])] {
        assert_eq!(
            portkey.put(&publish, json!({ "version": version })).await,
            json!({})
        );
        assert_eq!(
            portkey.get(SEEDED_PARTIAL).await["string"],
            *text,
            "{version}"
        );
    }
}

#[tokio::test]
async fn renaming_adds_no_version() {
    let portkey = Portkey::start().await;
    assert_eq!(
        portkey.put(SEEDED_PARTIAL, json!({ "name": "Tone" })).await,
        json!({})
    );
    assert_eq!(portkey.get(SEEDED_PARTIAL).await["name"], "Tone");
    assert_eq!(
        portkey.get(&format!("{SEEDED_PARTIAL}/versions")).await["total"],
        1
    );
    // The specification's name of the description is accepted as well.
    portkey
        .put(
            SEEDED_PARTIAL,
            json!({ "string": "New", "description": "Old word" }),
        )
        .await;
    let latest = portkey
        .get(&format!("{SEEDED_PARTIAL}?version=latest"))
        .await;
    assert_eq!(latest["version_description"], "Old word");
}

#[tokio::test]
async fn invalid_partial_requests_are_rejected() {
    struct Case {
        method: Method,
        path: &'static str,
        body: Value,
        status: u16,
        part: &'static str,
    }

    let portkey = Portkey::start().await;
    let list = "/prompts/partials";
    let publish = "/prompts/partials/pp-house-style/makeDefault";
    for Case {
        method,
        path,
        body,
        status,
        part,
    } in [
        Case {
            method: Method::POST,
            path: list,
            body: json!({ "name": "N", "workspace_id": "ws-shared" }),
            status: 400,
            part: "`string`",
        },
        Case {
            method: Method::GET,
            path: "/prompts/partials?workspace_id=ws-none",
            body: Value::Null,
            status: 403,
            part: "ws-none",
        },
        Case {
            method: Method::GET,
            path: "/prompts/partials?collection_id=co-none",
            body: Value::Null,
            status: 404,
            part: "co-none",
        },
        Case {
            method: Method::GET,
            path: "/prompts/partials/pp-house-style?version=new",
            body: Value::Null,
            status: 400,
            part: "`version`",
        },
        Case {
            method: Method::GET,
            path: "/prompts/partials/pp-house-style?version=9",
            body: Value::Null,
            status: 404,
            part: "9",
        },
        Case {
            method: Method::PUT,
            path: publish,
            body: json!({ "version": 9 }),
            status: 404,
            part: "9",
        },
        Case {
            method: Method::PUT,
            path: publish,
            body: json!({ "version": "1" }),
            status: 400,
            part: "`version`",
        },
        Case {
            method: Method::PUT,
            path: publish,
            body: json!({}),
            status: 400,
            part: "`version`",
        },
        Case {
            method: Method::PUT,
            path: SEEDED_PARTIAL,
            body: json!({ "string": null }),
            status: 400,
            part: "`string`",
        },
        Case {
            method: Method::PUT,
            path: "/prompts/partials/pp-none",
            body: json!({ "name": "N" }),
            status: 404,
            part: "pp-none",
        },
    ] {
        let (got, _, message) = portkey.refusal(method, path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {message}");
        assert!(message.contains(part), "{path} {body}: {message}");
    }
    let wrong = portkey
        .send(
            Method::PUT,
            &format!("{SEEDED_PARTIAL}/publish"),
            json!({ "version": 1 }),
        )
        .await;
    assert_eq!(
        wrong.status(),
        400,
        "the path that the documentation suggests is none"
    );
}
