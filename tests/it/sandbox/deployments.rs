//! Deployments: served by v2 only, credentials shown once, extensible access lists.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, read_json as body, string_column};

impl Portkey {
    /// Returns status and body of a v2 response.
    async fn second(&self, method: Method, path: &str, sent: Value) -> (u16, Value) {
        let url = format!("http://{}/v2{path}", self.sandbox.address());
        let request = self
            .client
            .request(method, url)
            .header("x-portkey-api-key", "key");
        let answer = if sent.is_null() {
            request
        } else {
            request.json(&sent)
        };
        let answer = answer.send().await.unwrap();
        (answer.status().as_u16(), body(answer).await)
    }

    async fn deployment(&self, id: &str) -> Value {
        self.second(Method::GET, &format!("/deployments/{id}"), Value::Null)
            .await
            .1
    }
}

#[tokio::test]
async fn credentials_are_shown_once() {
    let portkey = Portkey::start().await;
    let (status, made) = portkey
        .second(Method::POST, "/deployments", json!({ "name": "New One" }))
        .await;
    assert_eq!(status, 200);
    let id = made["id"].as_str().unwrap();
    let path = format!("/deployments/{id}");
    let change = json!({ "name": "Renamed" });
    assert_eq!(
        portkey.second(Method::PUT, &path, change).await,
        (200, json!({}))
    );
    let (_, rotated) = portkey
        .second(Method::PUT, &path, json!({ "rotate_auth": true }))
        .await;
    let secrets: Vec<&str> = [&made, &rotated]
        .into_iter()
        .flat_map(|answer| {
            let credentials = &answer["credentials"];
            [
                &answer["client_auth"],
                &credentials["username"],
                &credentials["password"],
            ]
        })
        .map(|secret| secret.as_str().unwrap())
        .collect();
    let mut different = secrets.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 6, "a new credential is new");

    let read = portkey.deployment(id).await;
    assert_eq!(read["name"], "Renamed");
    assert!(
        read["slug"].as_str().unwrap().starts_with("new-one-"),
        "{}",
        read["slug"]
    );
    assert_eq!(
        (&read["connection_status"], &read["is_default"]),
        (&json!("unknown"), &json!(0))
    );
    let (_, list) = portkey
        .second(Method::GET, "/deployments", Value::Null)
        .await;
    for shown in [read.to_string(), list.to_string()] {
        assert!(
            secrets.iter().all(|secret| !shown.contains(secret)),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn access_lists_are_extended_reduced_and_replaced() {
    struct Case {
        settings: Value,
        replace: bool,
        workspaces: Vec<&'static str>,
        subjects: Vec<&'static str>,
    }

    let portkey = Portkey::start().await;
    let own = portkey.deployment("self").await;
    let path = format!("/deployments/{}", own["id"].as_str().unwrap());
    // Each row continues from the previous one.
    for Case {
        settings,
        replace,
        workspaces,
        subjects,
    } in [
        Case {
            settings: json!({ "workspaces_allowed": ["ws-research"] }),
            replace: false,
            workspaces: vec!["ws-shared", "ws-support-bot", "ws-research"],
            subjects: vec!["gateway-eu"],
        },
        Case {
            settings: json!({ "remove_workspaces_allowed": ["ws-shared"], "jwt_subs_allowed": ["b"] }),
            replace: false,
            workspaces: vec!["ws-support-bot", "ws-research"],
            subjects: vec!["gateway-eu", "b"],
        },
        Case {
            settings: json!({ "workspaces_allowed": ["ws-shared"] }),
            replace: true,
            workspaces: vec!["ws-shared"],
            subjects: vec!["gateway-eu", "b"],
        },
        Case {
            settings: json!({ "remove_subs_allowed": ["b"] }),
            replace: false,
            workspaces: vec!["ws-shared"],
            subjects: vec!["gateway-eu"],
        },
        Case {
            settings: json!({ "allow_all_workspaces": true }),
            replace: false,
            workspaces: vec![],
            subjects: vec!["gateway-eu"],
        },
    ] {
        let change = json!({ "auth_settings": settings, "override_existing": replace });
        assert_eq!(
            portkey.second(Method::PUT, &path, change).await,
            (200, json!({}))
        );
        let read = portkey.deployment("self").await["auth_settings"].clone();
        assert_eq!(read["workspaces_allowed"], json!(workspaces), "{settings}");
        assert_eq!(read["jwt_subs_allowed"], json!(subjects), "{settings}");
        assert_eq!(
            read["gateway_base_url"],
            own["auth_settings"]["gateway_base_url"]
        );
    }
}

#[tokio::test]
async fn deleted_deployment_is_archived_and_default_is_unique() {
    let portkey = Portkey::start().await;
    let new = json!({ "name": "US production", "slug": "us-production", "is_default": true, "tags": { "region": "us" },
        "auth_settings": { "workspaces_allowed": ["ws-research"] } });
    let (_, made) = portkey.second(Method::POST, "/deployments", new).await;
    assert_eq!(
        portkey.deployment("self").await["id"],
        made["id"],
        "the new default"
    );
    let path = format!("/deployments/{}", made["id"].as_str().unwrap());
    for (query, slugs) in [
        ("", vec!["eu-production", "trial", "us-production"]),
        ("?type=non_production", vec!["trial"]),
        (
            "?search=PRODUCTION&tags=%7B%22region%22:%22us%22%7D",
            vec!["us-production"],
        ),
        ("?workspace_slug=ws-research", vec!["us-production"]),
        (
            "?workspace_slug=ws-research&workspace_slug=ws-shared",
            vec!["eu-production", "us-production"],
        ),
    ] {
        let (_, list) = portkey
            .second(Method::GET, &format!("/deployments{query}"), Value::Null)
            .await;
        assert_eq!(string_column(&list["data"], "slug"), slugs, "{query}");
    }
    let ping = portkey
        .second(Method::GET, &format!("{path}/ping"), Value::Null)
        .await;
    assert_eq!(ping, (200, json!({})));
    assert_eq!(
        portkey.second(Method::DELETE, &path, Value::Null).await,
        (200, json!({}))
    );
    let gone = portkey.deployment(made["id"].as_str().unwrap()).await;
    assert_eq!(
        (&gone["status"], &gone["is_default"]),
        (&json!("archived"), &json!(0))
    );
    let (_, left) = portkey
        .second(Method::GET, "/deployments?status=active", Value::Null)
        .await;
    assert_eq!(
        string_column(&left["data"], "slug"),
        ["eu-production", "trial"]
    );
}

#[tokio::test]
async fn null_clears_the_tags() {
    let portkey = Portkey::start().await;
    let own = portkey.deployment("self").await;
    assert_eq!(own["tags"], json!({ "region": "eu" }));
    let path = format!("/deployments/{}", own["id"].as_str().unwrap());
    let change = json!({ "tags": null });
    assert_eq!(
        portkey.second(Method::PUT, &path, change).await,
        (200, json!({}))
    );
    assert_eq!(portkey.deployment("self").await["tags"], Value::Null);
}

#[tokio::test]
async fn invalid_deployment_requests_are_rejected() {
    struct Case {
        method: Method,
        path: &'static str,
        body: Value,
        status: u16,
    }

    let portkey = Portkey::start().await;
    let new = |settings: Value| json!({ "name": "New", "auth_settings": settings });
    for Case {
        method,
        path,
        body,
        status,
    } in [
        Case {
            method: Method::POST,
            path: "/deployments",
            body: json!({}),
            status: 400,
        },
        Case {
            method: Method::POST,
            path: "/deployments",
            body: json!({ "name": "New", "slug": "trial" }),
            status: 409,
        },
        Case {
            method: Method::POST,
            path: "/deployments",
            body: new(json!({ "is_dataservice_hosted": 2 })),
            status: 400,
        },
        Case {
            method: Method::POST,
            path: "/deployments",
            body: new(json!({ "workspaces_allowed": ["ws-none"] })),
            status: 403,
        },
        Case {
            method: Method::GET,
            path: "/deployments/trial",
            body: Value::Null,
            status: 404,
        },
        Case {
            method: Method::PUT,
            path: "/deployments/self",
            body: json!({ "status": "deleted" }),
            status: 400,
        },
        Case {
            method: Method::DELETE,
            path: "/deployments/none",
            body: Value::Null,
            status: 404,
        },
    ] {
        let answer = portkey.second(method.clone(), path, body).await;
        assert_eq!(answer.0, status, "{method} {path}: {}", answer.1);
    }
    let first = portkey.send(Method::GET, "/deployments", Value::Null).await;
    assert_eq!(first.status(), 400, "the first version has no deployments");
}
