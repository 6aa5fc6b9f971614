//! Collections: nested folders, and the default one that cannot be deleted.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

#[tokio::test]
async fn deleting_a_collection_deletes_its_children() {
    let portkey = Portkey::start().await;
    let outer = json!({ "name": "Letters", "workspace_id": "ws-shared" });
    let outer = portkey.post("/collections", outer).await;
    let slug = outer["slug"].as_str().unwrap();
    let path = format!("/collections/{slug}");
    let inner = json!({ "name": "Late Ones", "workspace_id": "ws-shared",
        "parent_collection_id": slug });
    let inner = portkey.post("/collections", inner).await;
    let inner_path = format!("/collections/{}", inner["slug"].as_str().unwrap());

    let read = portkey.get(&path).await;
    assert_eq!(
        read,
        portkey
            .get(&format!("/collections/{}", outer["id"].as_str().unwrap()))
            .await
    );
    assert_eq!(
        string_column(&read["child_collections"], "id"),
        [inner["id"].as_str().unwrap()]
    );
    let child = portkey.get(&inner_path).await;
    assert_eq!(
        child["parent_collection_id"], outer["id"],
        "a slug went in, an id comes out"
    );
    assert_eq!(child["child_collections"], json!([]));
    assert_eq!(
        (&read["is_default"], &child["is_default"]),
        (&json!(0), &json!(0))
    );

    let listed = portkey
        .get("/collections?workspace_id=ws-shared&search=LETT")
        .await;
    assert_eq!(string_column(&listed["data"], "slug"), [slug]);
    assert_eq!(
        listed["data"][0]["collection_details"]["child_collections_count"],
        1
    );

    assert_eq!(
        portkey.put(&path, json!({ "name": "Post" })).await,
        json!({})
    );
    let read = portkey.get(&path).await;
    assert_eq!(
        (read["name"].as_str(), read["slug"].as_str()),
        (Some("Post"), Some(slug))
    );

    assert_eq!(portkey.delete(&path).await, json!({}));
    for path in [&path, &inner_path] {
        assert_eq!(
            portkey.refusal(Method::GET, path, Value::Null).await.0,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn default_collection_cannot_be_deleted() {
    let portkey = Portkey::start().await;
    let late = portkey
        .post("/admin/workspaces", json!({ "name": "Late" }))
        .await;
    for workspace in [
        "ws-shared",
        "ws-support-bot",
        late["slug"].as_str().unwrap(),
    ] {
        let path = format!("/collections?workspace_id={workspace}");
        let listed = portkey.get(&path).await;
        let fields: Vec<&String> = listed.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["total", "data"]);
        let own = listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|c| c["is_default"] == 1);
        let own: Vec<&str> = own.map(|c| c["slug"].as_str().unwrap()).collect();
        assert_eq!(own.len(), 1, "{workspace}");
        let path = format!("/collections/{}", own[0]);
        let refusal = portkey.refusal(Method::DELETE, &path, Value::Null).await;
        assert_eq!(
            (refusal.0, refusal.1.as_str()),
            (404, "AB08"),
            "{workspace}"
        );
        portkey.get(&path).await;
    }
}

#[tokio::test]
async fn invalid_collection_requests_are_rejected() {
    let portkey = Portkey::start().await;
    let create = |body: Value| (Method::POST, "/collections", body);
    let inside = |parent: &str| json!({ "name": "N", "workspace_id": "ws-shared", "parent_collection_id": parent });
    for ((method, path, body), status, part) in [
        (
            create(json!({ "workspace_id": "ws-shared" })),
            400,
            "`name`",
        ),
        (create(inside("co-none")), 404, "co-none"),
        (
            create(inside("co-customers")),
            400,
            "`parent_collection_id`",
        ),
        (
            (Method::PUT, "/collections/co-customers", json!({})),
            400,
            "`name`",
        ),
        (
            (
                Method::PUT,
                "/collections/co-customers",
                json!({ "name": "" }),
            ),
            400,
            "`name`",
        ),
        (
            (Method::PUT, "/collections/co-none", json!({ "name": "N" })),
            404,
            "co-none",
        ),
        (
            (
                Method::GET,
                "/collections?workspace_id=ws-none",
                Value::Null,
            ),
            403,
            "ws-none",
        ),
    ] {
        let (got, _, message) = portkey.refusal(method, path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {message}");
        assert!(message.contains(part), "{path} {body}: {message}");
    }
}
