//! `read-log-export`: figures that equal those of the sandbox, the writes it makes, and the addresses it
//! fetches.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::support::{
    form_client::{
        FormClient, FormReaction, FormSession, TRANSPORTS_AND_GENERATIONS, connect, connect_to,
    },
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
    server::ServerProcess,
    upstream::{MockUpstream, ReceivedRequest, ResponseAction, http_response, json_response},
};

const TOOL: &str = "read-log-export";

async fn sandbox_client(options: &[&str]) -> ConnectedClient {
    let options = [&["--sandbox"], options].concat();
    connect_everywhere(&options, &[]).await.remove(0)
}

/// Returns the day of some days ago.
fn day_before(days: i64) -> String {
    let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    day.to_string()[..10].to_owned()
}

/// Returns an hour of some days ago, in which the sandbox has a few hundred requests.
fn quiet_hour() -> (String, String) {
    let day = day_before(8);
    (format!("{day}T10:00:00Z"), format!("{day}T10:59:59Z"))
}

fn rows(answer: &Value) -> &Vec<Value> {
    answer["rows"].as_array().unwrap()
}

/// Returns the sums of a graph for requests of a workspace.
async fn sum(client: &ConnectedClient, graph: &'static str, filter: &Value) -> f64 {
    let graph = client.call(graph, filter.clone()).await.unwrap();
    graph["summary"]["total"].as_f64().unwrap()
}

#[tokio::test]
async fn rows_are_those_of_the_analytics() {
    let (from, to) = quiet_hour();
    for client in connect_everywhere(&["--sandbox"], &[]).await {
        let way = client.way;
        let args = json!({ "workspace_id": "ws-research", "from": from, "to": to, "limit": 500,
            "fields": ["id", "cost", "ai_model", "metadata.project", "request.body.messages.0.content"] });
        let all = client.call(TOOL, args.clone()).await.unwrap();
        let filter = json!({ "workspace_slug": "ws-research", "time_of_generation_min": from,
            "time_of_generation_max": to });
        let requests = sum(&client, "get-requests-graph", &filter).await;
        assert!(requests > 10.0, "{way}: {requests}");
        for name in ["read", "matched", "returned"] {
            assert_eq!(all[name].as_f64(), Some(requests), "{way} {name}: {all}");
        }
        assert_eq!(
            (&all["skipped"], &all["export"]["created"], &all["not_seen"]),
            (&json!(0), &json!(true), &Value::Null),
            "{way}: {all}"
        );
        let cents: f64 = rows(&all)
            .iter()
            .map(|row| row["cost"].as_f64().unwrap())
            .sum();
        let cost = sum(&client, "get-cost-graph", &filter).await;
        assert!((cents - cost).abs() < 0.01, "{way}: {cents} {cost}");
        let text = &rows(&all)[0]["request.body.messages.0.content"];
        assert!(
            text.as_str().unwrap().starts_with("Question"),
            "{way}: {text}"
        );

        // The same export again, with other filters.
        let id = all["export"]["id"].as_str().unwrap();
        let model = "gemini-2.5-flash";
        let again = json!({ "export_id": id, "model": model, "limit": 3 });
        let some = client.call(TOOL, again).await.unwrap();
        let expected = rows(&all).iter().filter(|row| row["ai_model"] == model);
        assert_eq!(some["read"], all["read"], "{way}: {some}");
        assert_eq!(some["matched"], expected.count(), "{way}: {some}");
        assert_eq!(
            (&some["returned"], &some["export"]["created"]),
            (&json!(3), &json!(false)),
            "{way}: {some}"
        );
        assert!(
            some["next"].as_str().unwrap().contains("`offset` 3"),
            "{way}: {some}"
        );
        assert_eq!(rows(&some)[0].get("request"), None, "{way}: {some}");

        // Repeated, it takes the export that it has made.
        let repeated = client.call(TOOL, args).await.unwrap();
        assert_eq!(repeated["export"]["id"], id, "{way}");
        let exports = json!({ "workspace_id": "ws-research" });
        let exports = client.call("list-all-log-exports", exports).await.unwrap();
        let exports = exports["data"].as_array().unwrap();
        let own = exports.iter().filter(|export| {
            let description = export["description"].as_str();
            description.is_some_and(|text| text.contains(TOOL))
        });
        assert_eq!(own.count(), 1, "{way}: {exports:?}");
        for answer in [&all, &some] {
            let text = answer.to_string();
            assert!(
                !text.contains("signature") && !text.contains("http"),
                "{way}: {text}"
            );
        }
        let result = client.result(TOOL, json!({ "export_id": id })).await;
        let untrusted = result.meta.unwrap().0.get("portkey-mcp/untrusted").cloned();
        assert_eq!(untrusted, Some(true.into()), "{way}");
        client.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn failures_of_an_incident_are_found_by_status_and_text() {
    let client = sandbox_client(&[]).await;
    let day = day_before(3);
    let from = format!("{day}T14:00:00Z");
    let to = format!("{day}T14:30:00Z");
    let args = json!({ "workspace_id": "ws-support-bot", "from": from, "to": to, "status": ["5xx"],
        "limit": 1 });
    let failed = client.call(TOOL, args).await.unwrap();
    let filter = json!({ "workspace_slug": "ws-support-bot", "time_of_generation_min": from,
        "time_of_generation_max": to, "status_code": "503,500" });
    let errors = sum(&client, "get-errors-graph", &filter).await;
    assert!(errors > 50.0, "{errors}");
    assert_eq!(failed["matched"].as_f64(), Some(errors), "{failed}");

    // This workspace keeps prompts and completions out of exports.
    let args = json!({ "workspace_id": "ws-support-bot", "from": from, "to": to,
        "fields": ["id", "response"], "contains": "overloaded" });
    let denied = client.call(TOOL, args).await.unwrap();
    assert_eq!(denied["matched"], 0, "{denied}");
    let notes = denied["not_seen"].to_string();
    assert!(
        notes.contains("`response`") && notes.contains("`request`"),
        "{notes}"
    );
}

#[tokio::test]
async fn export_of_a_period_that_is_not_over_is_made_again() {
    let client = sandbox_client(&[]).await;
    let in_future = (day_before(0), day_before(-5));
    for ((from, to), is_created) in [(in_future, true), (quiet_hour(), false)] {
        let args = json!({ "workspace_id": "ws-shared", "from": from, "to": to, "limit": 1 });
        let first = client.call(TOOL, args.clone()).await.unwrap();
        assert_eq!(first["export"]["status"], "success", "{first}");
        let again = client.call(TOOL, args).await.unwrap();
        assert_eq!(again["export"]["created"], is_created, "{to}: {again}");
    }
}

#[tokio::test]
async fn secrets_in_rows_are_masked_before_they_are_looked_for() {
    let client = sandbox_client(&[]).await;
    let secret = "sk-abcdefghijklmnopqrstuvwx0123456789ABCDEF";
    let log = json!({ "logs": [{
        "request": { "url": "https://api.openai.com/v1/chat/completions",
            "body": { "model": "gpt-4o", "messages": [
                { "role": "user", "content": format!("My key is {secret}, is the parcel lost?") }] } },
        "response": { "status": 418, "body": { "error": "no coffee" } } }] });
    client.call("insert-logs", log).await.unwrap();
    let search = async |text: &str| {
        let args = json!({ "period": "1h", "status": "418", "contains": text, "fields": ["id", "request"] });
        client.call(TOOL, args).await.unwrap()
    };
    let found = search("PARCEL").await;
    assert_eq!(found["matched"], 1, "{found}");
    let text = found.to_string();
    assert!(
        text.contains("parcel lost") && !text.contains("abcdefghijkl"),
        "{text}"
    );
    assert!(
        rows(&found)[0]["found"]
            .as_str()
            .unwrap()
            .contains("parcel"),
        "{found}"
    );
    let probed = search("abcdefghijkl").await;
    assert_eq!(probed["matched"], 0, "{probed}");
}

#[tokio::test]
async fn redacted_values_are_hidden_from_filters() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - name: no-texts\n    redact: [\"rows[].request\"]\n    match: { tools: [download-log-export] }\n",
    );
    let client = sandbox_client(&["--policy", policy.path()]).await;
    let (from, to) = quiet_hour();
    let args = json!({ "workspace_id": "ws-research", "from": from, "to": to, "fields": ["id", "request"],
        "limit": 2 });
    let answer = client.call(TOOL, args.clone()).await.unwrap();
    assert_eq!(
        rows(&answer)[0]["request"],
        "[redacted by policy]",
        "{answer}"
    );
    let mut probe = args;
    probe["contains"] = "Question".into();
    let answer = client.call(TOOL, probe).await.unwrap();
    assert_eq!(answer["matched"], 0, "{answer}");
}

#[tokio::test]
async fn portkey_does_not_filter_by_redacted_values() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - name: no-costs\n    redact: [\"rows[].cost\"]\n    match: { tools: [download-log-export] }\n",
    );
    let client = sandbox_client(&["--policy", policy.path()]).await;
    let (from, to) = quiet_hour();
    let mut args = json!({ "workspace_id": "ws-research", "from": from, "to": to, "limit": 1 });
    let all = client.call(TOOL, args.clone()).await.unwrap();
    assert!(all["read"].as_u64().unwrap() > 0, "{all}");
    for probe in [json!({ "cost_max": 0 }), json!({ "model": "none" })] {
        let probe = probe.as_object().unwrap().clone();
        args.as_object_mut().unwrap().extend(probe);
        let answer = client.call(TOOL, args.clone()).await.unwrap();
        assert_eq!(
            (&answer["read"], &answer["matched"]),
            (&all["read"], &json!(0)),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn dry_run_says_what_would_be_done() {
    for options in [&[][..], &["--dry-run"]] {
        let client = sandbox_client(options).await;
        let args = json!({ "workspace_id": "ws-shared", "dry_run": options.is_empty() });
        let planned = client.call(TOOL, args).await.unwrap();
        assert_eq!(planned["dry_run"], true, "{planned}");
        let calls = planned["would_call"].to_string();
        for name in ["logs/exports", "start-log-export", "download-log-export"] {
            let is_there = calls.contains(name) || calls.contains("create-log-export");
            assert!(is_there, "{name}: {calls}");
        }
        let exports = json!({ "workspace_id": "ws-shared" });
        let exports = client.call("list-all-log-exports", exports).await.unwrap();
        assert_eq!(exports["data"], json!([]));
    }
}

/// A client of 2026-07-28 repeats the whole call with each response, and the export is made once.
#[tokio::test]
async fn creation_and_start_are_approved() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(true);
        let session = connect(way, &human, &["--approve-writes"]).await;
        human.set_reaction(FormReaction::Accept(json!({ "approve": true })));
        let args = json!({ "workspace_id": "ws-shared", "period": "1h" });
        let (done, text) = session.call_text(TOOL, args).await;
        assert!(done && text.contains("\"read\""), "{way:?}: {text}");
        assert_eq!(human.request_count(), 2, "{way:?}");
        let exports = json!({ "workspace_id": "ws-shared" });
        let (_, text) = session.call_text("list-all-log-exports", exports).await;
        let exports: Value = serde_json::from_str(&text).unwrap();
        let exports = exports["data"].as_array().unwrap();
        assert_eq!(exports.len(), 1, "{way:?}: {text}");
        assert_eq!(exports[0]["status"], "success", "{way:?}: {text}");
        session.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_rejected() {
    struct Case {
        args: Value,
        error: &'static str,
    }
    let client = sandbox_client(&[]).await;
    let cases = [
        Case {
            args: json!({ "export_id": "x", "period": "1h" }),
            error: "is for a new export",
        },
        Case {
            args: json!({ "fields": ["status"] }),
            error: "no field of an export",
        },
        Case {
            args: json!({ "period": "soon" }),
            error: "period",
        },
        Case {
            args: json!({ "export_id": "none" }),
            error: "404",
        },
    ];
    for case in cases {
        let error = client.call(TOOL, case.args.clone()).await.unwrap_err();
        assert!(error.contains(case.error), "{}: {error}", case.args);
    }
}

/// Starts an upstream with a finished export, whose file is at an address.
async fn upstream_with_file(address: String, file: Vec<u8>) -> MockUpstream {
    MockUpstream::start_by(move |request: &ReceivedRequest, _| {
        match request.target.rsplit('/').next().unwrap() {
            "download" => {
                let host = request.header("host").unwrap();
                let address = address.replace("HOST", host);
                json_response(&json!({ "signed_url": address }).to_string())
            }
            file_name if file_name.starts_with("file") => {
                let length = file.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                ResponseAction::Write([head.as_bytes(), &file].concat())
            }
            name if name.starts_with("moved") => {
                http_response("302 Found", "location: /v1/file?stolen\r\n", "")
            }
            _ => json_response(&json!({ "id": "e", "status": "success" }).to_string()),
        }
    })
    .await
}

/// Starts a server for an upstream.
async fn connect_to_upstream(upstream: &MockUpstream) -> (ServerProcess, FormSession) {
    let server = ServerProcess::http()
        .upstream(&upstream.base_url)
        .api_key("pk-any-key-0123456789")
        .start();
    let session = connect_to(&server, &FormClient::new(true)).await;
    (server, session)
}

#[tokio::test]
async fn file_is_fetched_without_a_key_and_only_where_portkey_signed_it() {
    struct Case {
        address: &'static str,
        /// Text of the error; empty if the file is read.
        error: &'static str,
    }
    let cases = [
        Case {
            address: "http://HOST/v1/file?signature=TOPSECRET",
            error: "",
        },
        Case {
            address: "http://HOST/v1/moved?signature=TOPSECRET",
            error: "redirect",
        },
        Case {
            address: "http://10.0.0.1/v1/file?signature=TOPSECRET",
            error: "is not encrypted",
        },
        Case {
            address: "http://127.0.0.1:1/v1/file?signature=TOPSECRET",
            error: "is not encrypted",
        },
        Case {
            address: "https://me:TOPSECRET@127.0.0.1:1/file",
            error: "has a user name",
        },
        Case {
            address: "file:///etc/passwd?TOPSECRET",
            error: "is not encrypted",
        },
        Case {
            address: "TOPSECRET",
            error: "is no URL",
        },
        Case {
            address: "https://127.0.0.1:1/file?signature=TOPSECRET",
            error: "could not be read",
        },
    ];
    let file = "{\"id\":\"a\",\"cost\":1}\n\nno json\n[1]\n{\"id\":\"b\",\"cost\":3}";
    for case in cases {
        let upstream = upstream_with_file(case.address.to_owned(), file.into()).await;
        let (_server, session) = connect_to_upstream(&upstream).await;
        let args = json!({ "export_id": "e", "cost_min": 2 });
        let (is_done, text) = session.call_text(TOOL, args).await;
        assert!(!text.contains("TOPSECRET"), "{text}");
        let requests = upstream.requests();
        let fetched = requests
            .iter()
            .filter(|request| request.target.contains("signature"));
        for request in fetched.clone() {
            assert!(!request.head.contains("pk-any-key"), "{}", request.head);
        }
        assert!(
            !requests
                .iter()
                .any(|request| request.target.contains("stolen"))
        );
        match case.error {
            "" => {
                assert!(is_done, "{text}");
                let answer: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(fetched.count(), 1);
                assert_eq!(
                    (&answer["read"], &answer["matched"], &answer["skipped"]),
                    (&json!(2), &json!(1), &json!(2)),
                    "{answer}"
                );
                assert_eq!(rows(&answer), &[json!({ "id": "b", "cost": 3 })]);
                assert!(
                    answer["not_seen"].to_string().contains("no JSON objects"),
                    "{answer}"
                );
            }
            error => assert!(!is_done && text.contains(error), "{}: {text}", case.address),
        }
    }
}

#[tokio::test]
async fn compressed_file_is_read_and_a_broken_one_says_so() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for number in 0..5_000 {
        writeln!(
            encoder,
            "{{\"id\":{number},\"ai_model\":\"m{}\"}}",
            number % 5
        )
        .unwrap();
    }
    let whole = encoder.finish().unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    for (file, is_whole) in [(whole, true), (half, false)] {
        let address = "http://HOST/v1/file?signature=s".to_owned();
        let upstream = upstream_with_file(address, file).await;
        let (_server, session) = connect_to_upstream(&upstream).await;
        let args = json!({ "export_id": "e", "model": ["m1", "m2"], "offset": 10, "limit": 2 });
        let (_, text) = session.call_text(TOOL, args).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows(&answer)[0]["id"], 26, "{answer}");
        let read = answer["read"].as_u64().unwrap();
        assert_eq!(read == 5_000, is_whole, "{answer}");
        assert_eq!(answer["not_seen"].is_null(), is_whole, "{answer}");
    }
}
