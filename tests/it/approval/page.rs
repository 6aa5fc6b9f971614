//! The page of a ticket: its content and its form.

use reqwest::{Client, StatusCode, header};
use serde_json::json;

use crate::support::{
    approvals::{AdminFolder, SLUG, TOOL, form_token, serve_with_admin, ticket_page_url},
    audit::read_entries,
    mcp_client::McpClient,
    requests::client,
};

async fn post_decision(
    client: &Client,
    page: &str,
    token: &str,
    decision: &str,
) -> (StatusCode, String) {
    post_form(
        client,
        page,
        &format!("token={token}&by=Dana+D.&decision={decision}"),
    )
    .await
}

/// Sends the form of a page as a browser does.
async fn post_form(client: &Client, page: &str, body: &str) -> (StatusCode, String) {
    let body = body.to_owned();
    let request = client.post(page).body(body);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn ticket_page_shows_the_call_and_its_form_decides() {
    let admin = AdminFolder::new();
    let mut server = serve_with_admin(&admin, &[]);
    let alice = McpClient::new(&server.url, "pk-alice");
    let http = client();
    let at = ticket_page_url(&mut server, &alice, SLUG).await;
    for _ in 0..2 {
        let shown = http.get(&at).send().await.unwrap();
        let policy = shown.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert_eq!(shown.headers()[header::CACHE_CONTROL], "no-store");
        let html = shown.text().await.unwrap();
        assert!(html.contains(SLUG) && html.contains("for good") && !html.contains("<script>"));
    }
    // Reading the page makes no decision.
    let waits = alice
        .modern(TOOL, &json!({ "slug": SLUG }))
        .await
        .unwrap()
        .message;
    assert!(
        waits.to_string().contains("waits for the approval"),
        "{waits}"
    );
    let html = http.get(&at).send().await.unwrap().text().await.unwrap();
    let token = form_token(&html);
    let (status, _) = post_decision(&http, &at, "another", "approve").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    // A decision for a page with other content is rejected.
    let (serial, digest) = token.split_once("&digest=").unwrap();
    for other in [
        serial.to_owned(),
        format!("{serial}&digest=0"),
        format!("{token}0"),
    ] {
        assert_eq!(
            post_decision(&http, &at, &other, "approve").await.0,
            StatusCode::CONFLICT,
            "{digest}"
        );
    }
    let (status, said) = post_decision(&http, &at, &token, "approve").await;
    assert!(
        status == StatusCode::OK && said.contains("Approved"),
        "{said}"
    );
    // The ticket is gone then, and another caller cannot use the approval.
    assert_eq!(
        post_decision(&http, &at, &token, "deny").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        http.get(&at).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    let bob = McpClient::new(&server.url, "pk-bob");
    let bobs = bob
        .modern(TOOL, &json!({ "slug": SLUG }))
        .await
        .unwrap()
        .message;
    assert!(
        bobs.to_string().contains("waits for the approval"),
        "{bobs}"
    );
    let done = alice
        .modern(TOOL, &json!({ "slug": SLUG }))
        .await
        .unwrap()
        .message;
    assert_eq!(done["result"]["isError"], false, "{done}");
}

/// Returns the first button of the form, which the Enter key presses.
fn first_button(html: &str) -> &str {
    html.split("data-decide")
        .nth(1)
        .unwrap()
        .split("<button ")
        .nth(1)
        .unwrap()
        .split('>')
        .next()
        .unwrap()
}

#[tokio::test]
async fn enter_key_on_the_page_decides_nothing() {
    let admin = AdminFolder::new();
    let mut server = serve_with_admin(&admin, &["--approve-by-name"]);
    let alice = McpClient::new(&server.url, "pk-alice");
    let http = client();
    let at = ticket_page_url(&mut server, &alice, SLUG).await;
    let html = http.get(&at).send().await.unwrap().text().await.unwrap();
    let button = first_button(&html);
    assert!(
        button.contains("value=\"none\"") && !button.contains("disabled"),
        "{button}"
    );
    let name = html
        .split("type <b>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    let entered = format!(
        "token={}&by=Dana&name={}",
        form_token(&html),
        name.replace(' ', "+")
    );
    for decision in ["&decision=none", "&decision=", ""] {
        let (status, html) = post_form(&http, &at, &format!("{entered}{decision}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{html}");
        assert!(html.contains("press Approve or Deny"), "{html}");
        // The entered values are still in the form.
        for value in ["Dana", name] {
            assert!(
                html.contains(&format!("value=\"{value}\"")),
                "{value}: {html}"
            );
        }
    }
    let (status, html) = post_form(&http, &at, &format!("{entered}&decision=approve")).await;
    assert!(
        status == StatusCode::OK && html.contains("Approved"),
        "{html}"
    );
}

#[tokio::test]
async fn decision_on_the_page_requires_a_name() {
    let admin = AdminFolder::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let mut server = serve_with_admin(&admin, &["--audit-log", log.to_str().unwrap()]);
    let alice = McpClient::new(&server.url, "pk-alice");
    let http = client();
    let at = ticket_page_url(&mut server, &alice, SLUG).await;
    let token = form_token(&http.get(&at).send().await.unwrap().text().await.unwrap());
    for by in ["", "&by=", "&by=+"] {
        for decision in ["approve", "deny"] {
            let body = format!("token={token}{by}&decision={decision}");
            let (status, html) = post_form(&http, &at, &body).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {html}");
            assert!(html.contains("enter your name"), "{html}");
        }
    }
    assert_eq!(
        post_decision(&http, &at, &token, "approve").await.0,
        StatusCode::OK
    );
    let line = server.read_until("a human decided");
    assert!(line.contains("state=\"approved\" by=\"Dana D.\""), "{line}");
    let (_, list, _) = admin.run_approvals(&["list"]);
    assert!(list.contains("approved by Dana D."), "{list}");
    let done = alice
        .modern(TOOL, &json!({ "slug": SLUG }))
        .await
        .unwrap()
        .message;
    assert_eq!(done["result"]["isError"], false, "{done}");
    assert!(server.terminate().0.success());
    let approvals: Vec<_> = read_entries(&log)
        .iter()
        .filter(|line| !line["approval_method"].is_null())
        .map(|line| (line["approval_method"].clone(), line["approved_by"].clone()))
        .collect();
    assert_eq!(approvals, [(json!("ticket"), json!("Dana D."))]);
}
