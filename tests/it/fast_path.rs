//! Calls on the fast path, compared with calls through rmcp: equal results and equal rejections.

use http::{HeaderMap, HeaderName, HeaderValue};
use portkey_mcp::transport::http::DirectCallHandler;
use reqwest::StatusCode;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ServerCapabilities, ServerConfig,
        Tool,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::support::{
    in_process::InProcessServer,
    requests::{client, send_request},
    server::{ServerProcess, serve_sandbox},
    upstream::{MockUpstream, ResponseAction},
};

/// A call as most clients make it.
#[derive(Clone)]
struct FastPathCall {
    head: HeaderMap,
    body: String,
}

impl FastPathCall {
    fn new(tool: &str, arguments: Value) -> Self {
        let head = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ];
        let head = head.map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let body =
            json!({ "jsonrpc": "2.0", "id": "a-1", "method": "tools/call", "params": params });
        Self {
            head: head.into_iter().collect(),
            body: body.to_string(),
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.head
            .insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn and(mut self, name: &'static str, value: &str) -> Self {
        self.head
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.head.remove(name);
        self
    }

    fn saying(mut self, before: &str, now: &str) -> Self {
        assert!(self.body.contains(before), "{}", self.body);
        self.body = self.body.replace(before, now);
        self
    }

    async fn answer(self, server: &ServerProcess) -> (StatusCode, Value) {
        let request = client()
            .post(&server.url)
            .headers(self.head)
            .body(self.body);
        let (status, mut body) = send_request(request).await;
        if let Some(Value::String(text)) = body.pointer_mut("/result/content/0/text") {
            // The request id of Portkey differs for each response.
            text.truncate(text.find("(request id").unwrap_or(text.len()));
        }
        (status, body)
    }
}

/// Returns variants of a call, each of which needs more than the fast path.
fn rmcp_variants(call: &FastPathCall, host: &str) -> Vec<(&'static str, FastPathCall)> {
    let call = || call.clone();
    let meta = r#""_meta":{"#;
    vec![
        (
            "weighted types",
            call().with("accept", "application/json;q=0.9, text/event-stream"),
        ),
        ("anything", call().with("accept", "*/*")),
        ("JSON alone", call().with("accept", "application/json")),
        (
            "two lists",
            call()
                .with("accept", "text/event-stream")
                .and("accept", "application/json"),
        ),
        (
            "a charset",
            call().with("content-type", "application/json; charset=utf-8"),
        ),
        ("a host in capitals", call().with("host", host)),
        ("an escape", call().saying("tools/call", r"tools\/call")),
        ("another field", call().saying(r#""id":"#, r#""x":1,"id":"#)),
        (
            "progress",
            call().saying(meta, r#""_meta":{"progressToken":1,"#),
        ),
        (
            "no name of a client",
            call().saying(r#""name":"test","#, ""),
        ),
    ]
}

#[tokio::test]
async fn fast_path_and_rmcp_give_the_same_results() {
    struct Case {
        what: &'static str,
        call: FastPathCall,
        status: u16,
    }

    let server = serve_sandbox(&[]);
    let host = server
        .url
        .replace("http://127.0.0.1", "LOCALHOST")
        .replace("/mcp", "");
    let calls = [
        Case {
            what: "an answer",
            call: FastPathCall::new("list-all-integrations", json!({ "page_size": 2 })),
            status: 200,
        },
        Case {
            what: "no arguments",
            call: FastPathCall::new("get-current-workspace", json!(null)),
            status: 200,
        },
        Case {
            what: "a refusal",
            call: FastPathCall::new("get-integration", json!({ "slug": "no-such" })),
            status: 200,
        },
        Case {
            what: "bad arguments",
            call: FastPathCall::new("get-integration", json!({ "slgu": "x" })),
            status: 200,
        },
        Case {
            what: "an unknown tool",
            call: FastPathCall::new("no-such-tool", json!({})),
            status: 200,
        },
        Case {
            what: "one of our own",
            call: FastPathCall::new("whoami", json!({})),
            status: 200,
        },
    ];
    for Case { what, call, status } in calls {
        let (got, plain) = call.clone().answer(&server).await;
        assert_eq!(got, status, "{what}: {plain}");
        assert_eq!(
            (&plain["jsonrpc"], &plain["id"]),
            (&json!("2.0"), &json!("a-1")),
            "{what}"
        );
        for (how, call) in rmcp_variants(&call, &host) {
            assert_eq!(
                call.answer(&server).await,
                (got, plain.clone()),
                "{what}, {how}"
            );
        }
    }
}

/// A result is scanned as one text if it contains no escapes.
#[tokio::test]
async fn results_of_any_json_are_complete_and_masked() {
    let key = "sk-abcdefghijklmnopqrstuvwxyz0123456789";
    let mask = "[masked by portkey-mcp]";
    let bodies = [
        (
            r#"{"a":[1,{"b":null}]}"#.to_owned(),
            json!({ "a": [1, { "b": null }] }),
        ),
        (r#"[{"a":1}]"#.to_owned(), json!({ "data": [{ "a": 1 }] })),
        (r#""a text""#.to_owned(), json!({ "data": "a text" })),
        ("17".to_owned(), json!({ "data": 17 })),
        (
            r#"{"a":"\"{}\" é \\ \n"}"#.to_owned(),
            json!({ "a": "\"{}\" é \\ \n" }),
        ),
        (format!(r#"{{"a":"{key}"}}"#), json!({ "a": mask })),
        (
            format!(r#"{{"a":"\u0073k-{}"}}"#, &key[3..]),
            json!({ "a": mask }),
        ),
        (
            format!(r#"{{"a":"s\u200bk-{}"}}"#, &key[3..]),
            json!({ "a": mask }),
        ),
        (
            format!("{{\"a\":\"s\u{200b}k-{}\"}}", &key[3..]),
            json!({ "a": mask }),
        ),
        (
            r#"{"a":"http://me:hidden@host/x"}"#.to_owned(),
            json!({ "a": format!("http://{mask}@host/x") }),
        ),
        (r#"{"a":"our-own-key-1"}"#.to_owned(), json!({ "a": mask })),
        (
            r#"{"a":{"password":"p"}}"#.to_owned(),
            json!({ "a": { "password": mask } }),
        ),
    ];
    let served = bodies.clone();
    let portkey = MockUpstream::start(move |count| {
        let body = &served[count / 2].0;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
        let length = body.len();
        ResponseAction::Write(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into())
    })
    .await;
    let server = ServerProcess::http()
        .api_key("our-own-key-1")
        .upstream(&portkey.base_url)
        .start();
    for (body, expected) in bodies {
        let call = FastPathCall::new("get-integration", json!({ "slug": "x" }));
        let (_, plain) = call.clone().answer(&server).await;
        assert_eq!(plain["result"]["structuredContent"], expected, "{body}");
        let other = call.with("content-type", "application/json; charset=utf-8");
        assert_eq!(other.answer(&server).await.1, plain, "{body}");
    }
}

/// Each call differs in one point from a call on the fast path.
#[tokio::test]
async fn fast_path_rejects_invalid_headers_and_messages() {
    struct Case {
        what: &'static str,
        call: FastPathCall,
        status: u16,
    }

    let server = serve_sandbox(&[]);
    let call = || FastPathCall::new("get-integration", json!({ "slug": "openai-prod" }));
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
    let cases = [
        Case {
            what: "another site",
            call: call().with("origin", "https://evil.example"),
            status: 403,
        },
        Case {
            what: "another host",
            call: call().with("host", "evil.example"),
            status: 403,
        },
        Case {
            what: "a host that ends as ours",
            call: call().with("host", "evil.example:localhost"),
            status: 400,
        },
        Case {
            what: "another type",
            call: call().with("content-type", "text/plain"),
            status: 415,
        },
        Case {
            what: "another form",
            call: call().with("accept", "text/html"),
            status: 406,
        },
        Case {
            what: "nothing wanted",
            call: call().with("accept", "application/json;q=0"),
            status: 406,
        },
        Case {
            what: "another tool",
            call: call().with("mcp-name", "delete-integration"),
            status: 400,
        },
        Case {
            what: "no tool",
            call: call().without("mcp-name"),
            status: 400,
        },
        Case {
            what: "another method",
            call: call().with("mcp-method", "tools/list"),
            status: 400,
        },
        Case {
            what: "no method",
            call: call().without("mcp-method"),
            status: 400,
        },
        Case {
            what: "another revision",
            call: call().saying(version, &version.replace("2026", "2027")),
            status: 400,
        },
        Case {
            what: "no capabilities",
            call: call().saying(&format!("{capabilities},"), ""),
            status: 400,
        },
        Case {
            what: "capabilities that are none",
            call: call().saying(capabilities, &capabilities.replace("{}", "1")),
            status: 400,
        },
        Case {
            what: "no JSON-RPC",
            call: call().saying(r#""2.0""#, r#""1.0""#),
            status: 400,
        },
        Case {
            what: "an id that is none",
            call: call().saying(r#""a-1""#, "{}"),
            status: 400,
        },
        Case {
            what: "no JSON",
            call: call().saying(r#"{"jsonrpc""#, r#"{{"jsonrpc""#),
            status: 400,
        },
    ];
    for Case { what, call, status } in cases {
        let (got, body) = call.answer(&server).await;
        assert_eq!(got, status, "{what}: {body}");
        assert!(body["error"]["code"].is_number(), "{what}: {body}");
    }
}

/// Has one tool with an argument that a header repeats, and one without.
#[derive(Clone)]
struct RegionHandler;

impl DirectCallHandler for RegionHandler {}

impl ServerHandler for RegionHandler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let region = match name {
            "in-region" => json!({ "type": "string", "x-mcp-header": "Region" }),
            "anywhere" => json!({ "type": "string" }),
            _ => return None,
        };
        let schema = json!({ "type": "object", "properties": { "region": region } });
        let Value::Object(schema) = schema else {
            return None;
        };
        Some(Tool::new(name.to_owned(), "", schema))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::from(request.arguments.unwrap_or_default());
        Ok(CallToolResult::structured(arguments).into())
    }
}

#[tokio::test]
async fn argument_header_must_match_the_argument() {
    #[derive(Clone)]
    struct Case {
        what: &'static str,
        call: FastPathCall,
        status: u16,
    }

    let url = InProcessServer::new(RegionHandler).serve().await;
    let call = |tool| FastPathCall::new(tool, json!({ "region": "eu" }));
    let cases = [
        Case {
            what: "the same",
            call: call("in-region").with("mcp-param-region", "eu"),
            status: 200,
        },
        Case {
            what: "another",
            call: call("in-region").with("mcp-param-region", "us"),
            status: 400,
        },
        Case {
            what: "nothing",
            call: call("in-region"),
            status: 400,
        },
        Case {
            what: "no need",
            call: call("anywhere"),
            status: 200,
        },
    ];
    // Twice, because the tool's properties are cached.
    for Case {
        what,
        call: FastPathCall { head, body },
        status,
    } in cases.clone().into_iter().chain(cases)
    {
        let (got, body) = send_request(client().post(&url).headers(head).body(body)).await;
        assert_eq!(got, status, "{what}: {body}");
        let answered = &body["result"]["structuredContent"]["region"];
        assert_eq!(
            *answered,
            json!((status == 200).then_some("eu")),
            "{what}: {body}"
        );
    }
}
