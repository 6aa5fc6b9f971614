//! Prompts: versioned templates that are published, labelled, rendered and run.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Portkey, string_column};

const SEEDED_PROMPT: &str = "/prompts/pp-refund-reply";

#[tokio::test]
async fn prompt_is_created_listed_and_deleted() {
    let portkey = Portkey::start().await;
    let body = json!({
        "name": "Good Morning", "collection_id": "co-replies", "virtual_key": "anthropic",
        "string": "Greet {{name}} with {{>pp-house-style}}", "model": "claude-sonnet-4",
        "parameters": { "temperature": 0 }, "template_metadata": { "owner": "support" },
    });
    let made = portkey.post("/prompts", body).await;
    assert_eq!(made["object"], "prompt");

    let path = format!("/prompts/{}", made["slug"].as_str().unwrap());
    let path = path.as_str();
    let read = portkey.get(path).await;
    assert_eq!(read["prompt_version_id"], made["version_id"]);
    assert_eq!(
        (&read["prompt_version"], &read["is_raw_template"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(read["variable_components"]["variables"], json!(["name"]));
    assert_eq!(
        read["variable_components"]["partials"],
        json!(["pp-house-style"])
    );
    assert_eq!(read["template_metadata"]["owner"], "support");
    let by_id = format!("/prompts/{}", made["id"].as_str().unwrap());
    assert_eq!(read, portkey.get(&by_id).await);
    let collection = portkey.get("/collections/co-replies").await;
    assert_eq!(
        read["collection_id"], collection["id"],
        "a slug went in, an id comes out"
    );
    assert_eq!(
        read["prompt_owning_workspace_id"],
        collection["workspace_id"]
    );

    for (query, total) in [
        ("collection_id=co-replies", 2),
        ("workspace_id=ws-support-bot&search=MORNING", 1),
        ("workspace_id=ws-support-bot&page_size=1", 2),
        ("workspace_id=ws-support-bot&type=shared", 0),
        ("workspace_id=ws-research", 0),
    ] {
        let listed = portkey.get(&format!("/prompts?{query}")).await;
        assert_eq!(listed["total"], total, "{query}");
    }
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
async fn deleting_a_collection_deletes_its_prompts() {
    let portkey = Portkey::start().await;
    let listed = portkey
        .get("/collections?workspace_id=ws-support-bot&search=replies")
        .await;
    assert_eq!(listed["data"][0]["collection_details"]["prompts_count"], 1);
    portkey
        .put(SEEDED_PROMPT, json!({ "collection_id": "co-customers" }))
        .await;
    let listed = portkey
        .get("/collections?workspace_id=ws-support-bot&search=replies")
        .await;
    assert_eq!(listed["data"][0]["collection_details"]["prompts_count"], 0);
    portkey.delete("/collections/co-customers").await;
    assert_eq!(
        portkey
            .refusal(Method::GET, SEEDED_PROMPT, Value::Null)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn change_adds_a_complete_version() {
    let portkey = Portkey::start().await;
    let first = portkey.get(SEEDED_PROMPT).await;
    let whole =
        json!({ "string": "Short", "parameters": {}, "model": "m", "virtual_key": "azure" });
    // Each row continues from the previous one.
    for (change, versions, template) in [
        (json!({ "name": "Money Back" }), 1, first["string"].clone()),
        (
            json!({ "patch": true, "model": "gpt-4o-mini" }),
            2,
            first["string"].clone(),
        ),
        (whole, 3, json!("Short")),
        (
            json!({ "patch": true, "prompt_metadata": { "a": 1 } }),
            4,
            json!("Short"),
        ),
    ] {
        let answer = portkey.put(SEEDED_PROMPT, change.clone()).await;
        let listed = portkey.get(&format!("{SEEDED_PROMPT}/versions")).await;
        assert_eq!(listed["total"], versions, "{change}");
        let newest = portkey
            .get(&format!("{SEEDED_PROMPT}?version=latest"))
            .await;
        assert_eq!(newest["string"], template, "{change}");
        match answer.get("prompt_version_id") {
            Some(id) => assert_eq!(*id, listed["data"][0]["id"], "{change}"),
            None => assert_eq!(answer, json!({}), "{change}"),
        }
        let served = portkey.get(SEEDED_PROMPT).await;
        assert_eq!(
            served["prompt_version_id"], first["prompt_version_id"],
            "not published"
        );
    }
    let second = portkey.get(&format!("{SEEDED_PROMPT}?version=2")).await;
    assert_eq!(second["model"], "gpt-4o-mini");
    assert_eq!(
        second["virtual_key"], first["virtual_key"],
        "patched from the one before"
    );
    let last = portkey.get(&format!("{SEEDED_PROMPT}?version=4")).await;
    assert_eq!(last["template_metadata"], json!({ "a": 1 }));

    assert_eq!(
        portkey
            .put(
                &format!("{SEEDED_PROMPT}/makeDefault"),
                json!({ "version": 3 })
            )
            .await,
        json!({})
    );
    assert_eq!(portkey.get(SEEDED_PROMPT).await["string"], "Short");
    let listed = portkey.get("/prompts?collection_id=co-replies").await;
    assert_eq!(
        listed["data"][0]["model"], "m",
        "lists show the published version's model"
    );
}

#[tokio::test]
async fn null_parameters_count_as_absent() {
    let portkey = Portkey::start().await;
    let body = json!({ "name": "Bare", "collection_id": "co-replies", "virtual_key": "anthropic",
        "string": "Hello", "parameters": null, "tool_choice": "auto", "tools": [] });
    let made = portkey.post("/prompts", body).await;
    let path = format!("/prompts/{}", made["slug"].as_str().unwrap());
    let read = portkey.get(&path).await;
    assert_eq!(
        (&read["parameters"], &read["tool_choice"]),
        (&json!({}), &json!("auto"))
    );

    let renamed = portkey
        .put(&path, json!({ "name": "Renamed", "parameters": null }))
        .await;
    assert_eq!(renamed, json!({}), "a name alone makes no version");
    assert_eq!(portkey.get(&path).await["name"], "Renamed");
    let whole = json!({ "string": "Hi", "parameters": null, "model": "m", "virtual_key": "azure" });
    assert!(portkey.put(&path, whole).await["prompt_version_id"].is_string());
    assert_eq!(
        portkey.get(&format!("{path}?version=2")).await["parameters"],
        json!({})
    );
    // A version that is written as a float is truncated.
    portkey
        .put(&format!("{path}/makeDefault"), json!({ "version": 2.0 }))
        .await;
    assert_eq!(portkey.get(&path).await["string"], "Hi");
}

#[tokio::test]
async fn null_label_id_removes_the_label() {
    let portkey = Portkey::start().await;
    let label = portkey.get("/labels?search=staging").await["data"][0]["id"].clone();
    let version = portkey.get(SEEDED_PROMPT).await["prompt_version_id"].clone();
    let path = format!("{SEEDED_PROMPT}/versions/{}", version.as_str().unwrap());
    portkey.put(&path, json!({ "label_id": label })).await;
    assert_eq!(portkey.get(&path).await["prompt_version_label_id"], label);
    assert_eq!(
        portkey.put(&path, json!({ "label_id": null })).await,
        json!({})
    );
    assert_eq!(
        portkey.get(&path).await["prompt_version_label_id"],
        Value::Null
    );
}

#[tokio::test]
async fn invalid_prompt_is_rejected_without_a_version() {
    let portkey = Portkey::start().await;
    let before = portkey.get(SEEDED_PROMPT).await;
    for change in [
        json!({ "patch": true, "string": "[\"Hello\"]" }),
        json!({ "patch": true, "parameters": { "temperature": "hot" } }),
        json!({ "patch": true, "tool_choice": 1 }),
    ] {
        let refusal = portkey
            .refusal(Method::PUT, SEEDED_PROMPT, change.clone())
            .await;
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "AB01"), "{change}");
    }
    assert_eq!(
        portkey
            .get(&format!("{SEEDED_PROMPT}?version=latest"))
            .await,
        before
    );
}

#[tokio::test]
async fn label_is_on_one_version_of_a_prompt() {
    let portkey = Portkey::start().await;
    let label = portkey.get("/labels?search=staging").await["data"][0]["id"].clone();
    portkey
        .put(
            SEEDED_PROMPT,
            json!({ "patch": true, "string": "Second {{order}}" }),
        )
        .await;
    let versions = portkey.get(&format!("{SEEDED_PROMPT}/versions")).await;
    let ids: Vec<String> = string_column(&versions["data"], "id")
        .iter()
        .map(|id| (*id).to_owned())
        .collect();
    for (on, off) in [(0, 1), (1, 0), (0, 1)] {
        let path = |index: usize| format!("{SEEDED_PROMPT}/versions/{}", ids[index]);
        assert_eq!(
            portkey.put(&path(on), json!({ "label_id": label })).await,
            json!({})
        );
        let read = portkey.get(&path(on)).await;
        assert_eq!(read["prompt_version_label_id"], label);
        assert_eq!(read["prompt_version_label_name"], "staging");
        assert_eq!(
            portkey.get(&path(off)).await["prompt_version_label_id"],
            Value::Null
        );
    }
    let render = format!("{SEEDED_PROMPT}@staging/render");
    let rendered = portkey
        .post(&render, json!({ "variables": { "order": 7 } }))
        .await;
    assert_eq!(rendered["data"]["prompt"], "Second 7");
    portkey
        .delete(&format!("/labels/{}", label.as_str().unwrap()))
        .await;
    let read = portkey
        .get(&format!("{SEEDED_PROMPT}/versions/{}", ids[0]))
        .await;
    assert_eq!(
        read["prompt_version_label_id"],
        Value::Null,
        "it goes with its label"
    );
}

#[tokio::test]
async fn render_fills_the_template_and_accepts_overrides() {
    let portkey = Portkey::start().await;
    let style = portkey.get("/prompts/partials/pp-house-style").await["string"].clone();
    let body = json!({ "variables": { "customer": "A \"quoted\" name", "order": 4711 },
        "temperature": 0.9, "thinking": { "type": "enabled" } });
    let rendered = portkey.post(&format!("{SEEDED_PROMPT}/render"), body).await;
    assert_eq!(rendered["success"], true);
    let request = &rendered["data"];
    assert_eq!(
        request["messages"][0]["content"], style,
        "the published partial"
    );
    let asked = request["messages"][1]["content"].as_str().unwrap();
    assert!(
        asked.contains("A \"quoted\" name") && asked.contains("4711"),
        "{asked}"
    );
    assert!(!asked.contains("{{"), "{asked}");
    assert_eq!(
        (&request["temperature"], &request["max_tokens"]),
        (&json!(0.9), &json!(400))
    );
    assert_eq!(
        request["thinking"]["type"], "enabled",
        "any parameter passes"
    );
    assert_eq!(request.get("variables"), None);
}

#[tokio::test]
async fn completion_identifies_the_sandbox() {
    let portkey = Portkey::start().await;
    let path = format!("{SEEDED_PROMPT}/completions");
    let body = json!({ "variables": { "order": 4711 }, "n": 2 });
    let answer = portkey.post(&path, body.clone()).await;
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    let content = answer["choices"][1]["message"]["content"].as_str().unwrap();
    for part in ["sandbox", "pp-refund-reply", "order=4711"] {
        assert!(content.contains(part), "{content}");
    }
    let usage = &answer["usage"];
    let sum =
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    let again = portkey.post(&path, body).await;
    assert_eq!(again["choices"], answer["choices"]);
    assert_ne!(again["id"], answer["id"]);
    let whole =
        json!({ "string": "Say {{word}}", "parameters": {}, "model": "m", "virtual_key": "v" });
    portkey.put(SEEDED_PROMPT, whole).await;
    let text = portkey
        .post(
            &format!("{SEEDED_PROMPT}@2/completions"),
            json!({ "variables": {} }),
        )
        .await;
    assert_eq!(
        text["object"], "text_completion",
        "its template is no list of messages"
    );
    assert!(
        text["choices"][0]["text"]
            .as_str()
            .unwrap()
            .contains("no variables")
    );
}

#[tokio::test]
async fn invalid_prompt_requests_are_rejected() {
    struct Case {
        method: Method,
        path: &'static str,
        body: Value,
        status: u16,
        part: &'static str,
    }

    let portkey = Portkey::start().await;
    let prompt = |collection: &str| {
        json!({ "name": "N", "collection_id": collection, "string": "S", "parameters": {},
            "virtual_key": "anthropic" })
    };
    let default = portkey.get("/collections?workspace_id=ws-research").await;
    let foreign = json!({ "collection_id": default["data"][0]["id"] });
    for Case {
        method,
        path,
        body,
        status,
        part,
    } in [
        Case {
            method: Method::POST,
            path: "",
            body: prompt("co-none"),
            status: 404,
            part: "co-none",
        },
        Case {
            method: Method::POST,
            path: "",
            body: json!({ "name": "N", "collection_id": "co-replies" }),
            status: 400,
            part: "`string`",
        },
        Case {
            method: Method::GET,
            path: "?workspace_id=ws-none",
            body: Value::Null,
            status: 403,
            part: "ws-none",
        },
        Case {
            method: Method::GET,
            path: "?workspace_id=ws-shared&type=mine",
            body: Value::Null,
            status: 400,
            part: "`type`",
        },
        Case {
            method: Method::GET,
            path: "/pp-refund-reply?version=new",
            body: Value::Null,
            status: 400,
            part: "`version`",
        },
        Case {
            method: Method::GET,
            path: "/pp-refund-reply?version=9",
            body: Value::Null,
            status: 404,
            part: "9",
        },
        Case {
            method: Method::GET,
            path: "/pp-refund-reply/versions/none",
            body: Value::Null,
            status: 404,
            part: "none",
        },
        Case {
            method: Method::PUT,
            path: "/pp-refund-reply",
            body: json!({ "string": "S" }),
            status: 400,
            part: "`parameters`",
        },
        Case {
            method: Method::PUT,
            path: "/pp-refund-reply",
            body: foreign,
            status: 400,
            part: "`collection_id`",
        },
        Case {
            method: Method::PUT,
            path: "/pp-refund-reply/makeDefault",
            body: json!({ "version": 2 }),
            status: 404,
            part: "2",
        },
        Case {
            method: Method::POST,
            path: "/pp-refund-reply/render",
            body: json!({}),
            status: 400,
            part: "`variables`",
        },
        Case {
            method: Method::POST,
            path: "/pp-refund-reply@9/render",
            body: json!({ "variables": {} }),
            status: 404,
            part: "9",
        },
        Case {
            method: Method::POST,
            path: "/pp-none/completions",
            body: json!({ "variables": {} }),
            status: 404,
            part: "pp-none",
        },
    ] {
        let path = format!("/prompts{path}");
        let (got, _, message) = portkey.refusal(method, &path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {message}");
        assert!(message.contains(part), "{path} {body}: {message}");
    }
    let id = portkey.get(&format!("{SEEDED_PROMPT}/versions")).await["data"][0]["id"].clone();
    let path = format!("{SEEDED_PROMPT}/versions/{}", id.as_str().unwrap());
    let refusal = portkey
        .refusal(Method::PUT, &path, json!({ "label_id": "production" }))
        .await;
    assert_eq!(refusal.0, 404, "a label goes by its id");
}
