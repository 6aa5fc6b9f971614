//! The binary as an OAuth resource server: responses to clients and requests to Portkey.

use std::fs;

use http::{HeaderMap, StatusCode};
use reqwest::RequestBuilder;
use rmcp::{
    ClientLifecycleMode,
    model::{CallToolRequestParams, ProtocolVersion},
    service::ClientServiceExt,
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{RESOURCE, claims, claims_with, seconds_from_now, settings};
use crate::support::{
    oauth_issuer::{Issuer, IssuerResponse, KEYS_PATH},
    policy::PolicyFile,
    process::run_cli,
    requests::{
        call_request, client, initialize_request, post_request, send_request, stateless_request,
    },
    server::ServerProcess,
    token_signer::Signer,
    upstream::{MockUpstream, json_response},
};

const METADATA_URL: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";

/// A server, its issuer and a recording Portkey upstream.
struct OAuthFixture {
    issuer: Issuer,
    signer: Signer,
    portkey: MockUpstream,
    folder: TempDir,
    server: ServerProcess,
}

impl OAuthFixture {
    async fn start() -> Self {
        Self::with("", &[]).await
    }

    /// Starts with a further line for the tenant and further options.
    async fn with(tenant: &str, options: &[&str]) -> Self {
        let signer = Signer::es256("a");
        let issuer = Issuer::with_keys(&[signer.jwk()]).await;
        let portkey =
            MockUpstream::start(|_| json_response(r#"{"object":"list","data":[],"total":0}"#))
                .await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "pk-alice\n").unwrap();
        let key = folder.path().join("key").display().to_string();
        let tenant = format!(
            "[[tenant]]\nname = \"staff\"\nvalue = \"alice\"\nportkey_key = \"file:{key}\"\n{tenant}"
        );
        let file = folder.path().join("oauth.toml");
        fs::write(&file, settings(&issuer, "", &tenant)).unwrap();
        fs::write(
            folder.path().join("own.yaml"),
            "version: '1'\nhide: ['*-integration']",
        )
        .unwrap();
        let server = ServerProcess::http()
            .auth("oauth")
            .args(&["--auth-file", file.to_str().unwrap()])
            .upstream(&portkey.base_url)
            .args(&["--log-level", "debug"])
            .args(options)
            .start();
        Self {
            issuer,
            signer,
            portkey,
            folder,
            server,
        }
    }

    fn token(&self, scope: &str) -> String {
        self.signer
            .token(&claims_with(&self.issuer, json!({ "scope": scope })))
    }

    fn list(&self) -> RequestBuilder {
        call_request(&self.server, "list-all-integrations", json!({}))
    }

    fn delete(&self) -> RequestBuilder {
        call_request(
            &self.server,
            "delete-integration",
            json!({ "slug": "openai" }),
        )
    }
}

struct HttpResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl HttpResponse {
    async fn send(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status();
        let headers = response.headers().clone();
        let body = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        Self {
            status,
            headers,
            body,
        }
    }

    fn challenge(&self) -> &str {
        self.headers
            .get("www-authenticate")
            .map_or("", |value| value.to_str().unwrap())
    }

    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap()
    }
}

#[tokio::test]
async fn caller_is_authenticated_by_its_token() {
    let world = OAuthFixture::start().await;
    let beginning = format!("Bearer resource_metadata=\"{METADATA_URL}\", ");

    let nobody = HttpResponse::send(world.list()).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        nobody.challenge(),
        format!("{beginning}scope=\"portkey:read\"")
    );
    assert!(
        nobody.message().contains("access token"),
        "{}",
        nobody.message()
    );

    let expired = world.signer.token(&claims_with(
        &world.issuer,
        json!({ "exp": seconds_from_now(-60) }),
    ));
    for bad in [expired.as_str(), "opaque"] {
        let refused = HttpResponse::send(world.list().bearer_auth(bad)).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        let error = format!("{beginning}error=\"invalid_token\"");
        assert!(
            refused.challenge().starts_with(&error),
            "{}",
            refused.challenge()
        );
        assert_eq!(refused.message(), "the access token was not accepted");
    }

    let bob = world
        .signer
        .token(&claims_with(&world.issuer, json!({ "sub": "bob" })));
    let unmapped = HttpResponse::send(world.list().bearer_auth(&bob)).await;
    assert_eq!(
        (unmapped.status, unmapped.challenge()),
        (StatusCode::FORBIDDEN, "")
    );
    assert!(
        unmapped.message().contains("no key of this server"),
        "{}",
        unmapped.message()
    );

    let token = world.token("portkey:read");
    let mixed = world
        .list()
        .bearer_auth(&token)
        .header("x-portkey-api-key", "pk-mine");
    assert_eq!(
        HttpResponse::send(mixed).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(world.portkey.count(), 0);

    let (status, body) = send_request(world.list().bearer_auth(&token)).await;
    assert_eq!(
        (status, &body["result"]["isError"]),
        (StatusCode::OK, &json!(false)),
        "{body}"
    );
}

#[tokio::test]
async fn unavailable_issuer_differs_from_an_invalid_token() {
    let world = OAuthFixture::start().await;
    world
        .issuer
        .set_response(KEYS_PATH, IssuerResponse::Status(503));
    let refused = HttpResponse::send(world.list().bearer_auth(world.token("portkey:read"))).await;
    assert_eq!(
        (refused.status, refused.challenge()),
        (StatusCode::SERVICE_UNAVAILABLE, "")
    );
    assert_eq!(refused.headers["retry-after"], "5");
    let ready = client().get(world.server.url.replace("/mcp", "/readyz"));
    let ready = HttpResponse::send(ready).await;
    assert_eq!(
        (ready.status, &ready.body["status"]),
        (StatusCode::OK, &json!("degraded"))
    );
    let issuer = json!({ "status": "degraded", "reason": "error_status" });
    assert_eq!(ready.body["components"]["oauth_issuer"], issuer);
}

/// The token is valid for this server only, so it is not forwarded. It is not logged either.
#[tokio::test]
async fn token_is_neither_forwarded_nor_logged() {
    let mut world = OAuthFixture::start().await;
    let token = world.token("portkey:read");
    let (_, body) = send_request(world.list().bearer_auth(&token)).await;
    assert_eq!(body["result"]["isError"], false, "{body}");
    let seen = world.portkey.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("x-portkey-api-key"), Some("pk-alice"));
    assert_eq!(seen[0].header("authorization"), None);
    let signature = token.rsplit_once('.').unwrap().1;
    assert!(!format!("{:?}", seen[0]).contains(signature));

    let log = world.server.read_until("answered");
    assert!(log.contains("staff/"), "{log}");
    let (_, rest) = world.server.terminate();
    for secret in [signature, "pk-alice", "alice"] {
        assert!(
            !log.contains(secret) && !rest.contains(secret),
            "{secret}: {log}{rest}"
        );
    }
}

#[tokio::test]
async fn insufficient_scope_error_names_the_needed_scope() {
    struct Case {
        tool: &'static str,
        arguments: Value,
        scope: &'static str,
        status: StatusCode,
    }

    let world = OAuthFixture::start().await;
    let reader = world.token("portkey:read email");
    let opened = initialize_request(&world.server)
        .bearer_auth(&reader)
        .send()
        .await
        .unwrap();
    let session = opened.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let arguments = json!({ "name": "delete_integration", "arguments": { "slug": "openai" } });
    let message = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": arguments });
    let legacy =
        post_request(&world.server, &message.to_string()).header("mcp-session-id", session);
    for (generation, request) in [("modern", world.delete()), ("legacy", legacy)] {
        let refused = HttpResponse::send(request.bearer_auth(&reader)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{generation}");
        let challenge = refused.challenge();
        assert!(
            challenge.contains("error=\"insufficient_scope\""),
            "{challenge}"
        );
        assert!(
            challenge.ends_with("scope=\"portkey:read portkey:delete\""),
            "{challenge}"
        );
        assert!(
            refused.message().contains("`portkey:delete`"),
            "{}",
            refused.message()
        );
    }
    assert_eq!(world.portkey.count(), 0);

    for (scope, status) in [
        ("portkey:delete", StatusCode::OK),
        ("portkey:integrations:delete", StatusCode::OK),
        ("portkey:prompts:delete", StatusCode::FORBIDDEN),
        ("portkey:write", StatusCode::FORBIDDEN),
        ("", StatusCode::FORBIDDEN),
    ] {
        let answered = HttpResponse::send(world.delete().bearer_auth(world.token(scope))).await;
        assert_eq!(answered.status, status, "{scope}: {}", answered.body);
    }
    assert_eq!(world.portkey.count(), 2);

    // A call through a compact tool needs the scope of its operation.
    let through = |tool: &str, arguments: Value| call_request(&world.server, tool, arguments);
    let delete = json!({ "operation": "delete-integration", "arguments": { "slug": "openai" } });
    let list = json!({ "operation": "list-all-integrations" });
    for Case {
        tool,
        arguments,
        scope,
        status,
    } in [
        Case {
            tool: "delete-operation",
            arguments: delete.clone(),
            scope: "portkey:read",
            status: StatusCode::FORBIDDEN,
        },
        Case {
            tool: "delete_operation",
            arguments: delete.clone(),
            scope: "portkey:read",
            status: StatusCode::FORBIDDEN,
        },
        Case {
            tool: "delete-operation",
            arguments: delete.clone(),
            scope: "portkey:delete",
            status: StatusCode::OK,
        },
        Case {
            tool: "read-operation",
            arguments: list.clone(),
            scope: "portkey:delete",
            status: StatusCode::FORBIDDEN,
        },
        Case {
            tool: "read-operation",
            arguments: list,
            scope: "portkey:read",
            status: StatusCode::OK,
        },
        // A scope does not help if the compact tool is the wrong one or no operation is named.
        Case {
            tool: "read-operation",
            arguments: delete,
            scope: "portkey:read",
            status: StatusCode::OK,
        },
        Case {
            tool: "delete-operation",
            arguments: json!({ "operation": "make-coffee" }),
            scope: "portkey:read",
            status: StatusCode::OK,
        },
        Case {
            tool: "delete-operation",
            arguments: json!({ "operation": 7 }),
            scope: "portkey:read",
            status: StatusCode::OK,
        },
        Case {
            tool: "delete-operation",
            arguments: json!({}),
            scope: "portkey:read",
            status: StatusCode::OK,
        },
        Case {
            tool: "whoami",
            arguments: json!({}),
            scope: "portkey:prompts:read",
            status: StatusCode::OK,
        },
    ] {
        let request = through(tool, arguments.clone()).bearer_auth(world.token(scope));
        let answered = HttpResponse::send(request).await;
        assert_eq!(
            answered.status, status,
            "{tool} {arguments} {scope}: {}",
            answered.body
        );
        if status == StatusCode::FORBIDDEN {
            let needed = if tool == "read-operation" {
                "read"
            } else {
                "delete"
            };
            let challenge = answered.challenge();
            assert!(
                challenge.contains("error=\"insufficient_scope\""),
                "{challenge}"
            );
            assert!(
                challenge.contains(&format!("portkey:{needed}")),
                "{challenge}"
            );
        }
    }
    assert_eq!(world.portkey.count(), 4);
    // A tool that lacks a scope is still listed, so the client can request the scope.
    let (_, body) = send_request(
        stateless_request(&world.server, "tools/list", json!({})).bearer_auth(&reader),
    )
    .await;
    let tools = body["result"]["tools"].as_array().unwrap();
    assert!(
        tools
            .iter()
            .any(|tool| tool["name"] == "delete-integration")
    );
}

/// A scope challenge for a disabled tool would lead to a useless token.
#[tokio::test]
async fn tool_disabled_for_all_gets_no_scope_challenge() {
    struct Case<'a> {
        world: &'a OAuthFixture,
        scope: &'static str,
        words: &'static str,
    }

    let off = OAuthFixture::with("", &["--no-delete"]).await;
    let hidden = OAuthFixture::with("policy = \"own.yaml\"", &[]).await;
    for Case {
        world,
        scope,
        words,
    } in [
        Case {
            world: &off,
            scope: "portkey:read",
            words: "`--no-delete` leaves no tools that delete",
        },
        Case {
            world: &hidden,
            scope: "portkey:delete",
            words: "hidden by the policy of this server",
        },
    ] {
        let answered = HttpResponse::send(world.delete().bearer_auth(world.token(scope))).await;
        assert_eq!(answered.status, StatusCode::OK, "{}", answered.body);
        let text = answered.body["result"]["content"][0]["text"]
            .as_str()
            .unwrap();
        assert!(text.contains(words), "{text}");
        assert_eq!(world.portkey.count(), 0);
    }
}

/// A message that a simple parser reads as a call of another tool is still denied.
#[tokio::test]
async fn ambiguous_message_does_not_bypass_the_scopes() {
    let world = OAuthFixture::start().await;
    let reader = world.token("portkey:read");
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}"#;
    for body in [
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"list-all-integrations","name":"delete-integration","arguments":{{"slug":"a"}},{meta}}}}}"#
        ),
        format!(
            r#"[{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"delete-integration","arguments":{{"slug":"a"}},{meta}}}}}]"#
        ),
    ] {
        let request = post_request(&world.server, &body)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "delete-integration");
        request.bearer_auth(&reader).send().await.unwrap();
    }
    let deletes = world
        .portkey
        .requests()
        .into_iter()
        .filter(|seen| seen.method == "DELETE");
    assert_eq!(deletes.count(), 0);
}

#[tokio::test]
async fn resource_metadata_is_public() {
    let world = OAuthFixture::start().await;
    let place = world
        .server
        .url
        .replace("/mcp", "/.well-known/oauth-protected-resource");
    for url in [place.clone(), format!("{place}/mcp")] {
        let request = client()
            .get(url)
            .header("origin", "https://anywhere.example.com");
        let read = HttpResponse::send(request).await;
        assert_eq!(read.status, StatusCode::OK);
        assert_eq!(read.headers["content-type"], "application/json");
        assert_eq!(read.headers["access-control-allow-origin"], "*");
        assert_eq!(read.body["resource"], RESOURCE);
        assert_eq!(
            read.body["authorization_servers"],
            json!([world.issuer.url])
        );
    }
    let asked = client()
        .request(http::Method::OPTIONS, &place)
        .header("origin", "https://anywhere.example.com")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "mcp-protocol-version");
    let allowed = asked.send().await.unwrap();
    assert!(allowed.status().is_success());
    assert_eq!(allowed.headers()["access-control-allow-headers"], "*");
    let elsewhere = client().get(format!("{place}/other")).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);

    // Without OAuth there is no metadata.
    let open = ServerProcess::http().sandbox().start();
    let place = open
        .url
        .replace("/mcp", "/.well-known/oauth-protected-resource");
    assert_eq!(
        client().get(place).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

/// Behind a proxy that keeps the prefix, the URL in the challenge leads to the metadata.
#[tokio::test]
async fn challenge_of_each_endpoint_links_to_its_metadata() {
    for prefix in ["", "/portkey"] {
        let world = OAuthFixture::with("", &["--path-prefix", prefix]).await;
        let base = world
            .server
            .url
            .strip_suffix(&format!("{prefix}/mcp"))
            .unwrap()
            .to_owned();
        for endpoint in ["/mcp", "/mcp/", "/mcp/readonly", "/mcp/x/prompts/readonly/"] {
            let url = format!("{base}{prefix}{endpoint}");
            let refused = HttpResponse::send(client().post(url)).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{endpoint}");
            let document = refused.challenge().split('"').nth(1).unwrap();
            let path = document.strip_prefix("https://mcp.example.com").unwrap();
            let read = HttpResponse::send(client().get(format!("{base}{path}"))).await;
            assert_eq!(
                (read.status, &read.headers["cache-control"]),
                (StatusCode::OK, &"no-store".parse().unwrap())
            );
            let below = endpoint.strip_prefix("/mcp").unwrap().trim_end_matches('/');
            assert_eq!(
                read.body["resource"],
                format!("{RESOURCE}{below}"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn client_with_a_token_works_in_both_generations() {
    let world = OAuthFixture::start().await;
    let token = world.signer.token(&claims(&world.issuer));
    let modern = || vec![ProtocolVersion::V_2026_07_28];
    for lifecycle in [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover {
            preferred_versions: modern(),
        },
    ] {
        let config = StreamableHttpClientTransportConfig::with_uri(world.server.url.clone())
            .auth_header(token.clone());
        let transport = StreamableHttpClientTransport::with_client(client(), config);
        let client = ().serve_with_lifecycle(transport, lifecycle).await.unwrap();
        assert!(!client.list_all_tools().await.unwrap().is_empty());
        let listed = client
            .call_tool(CallToolRequestParams::new("list-all-integrations"))
            .await
            .unwrap();
        assert_eq!(listed.is_error, Some(false));
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn changed_files_are_reloaded() {
    let mut world = OAuthFixture::start().await;
    let token = world.token("portkey:read");
    let key = world.folder.path().join("key");
    fs::write(&key, "pk-alice-2").unwrap();
    world.server.read_until("reloaded the changed file");
    send_request(world.list().bearer_auth(&token)).await;
    assert_eq!(
        world.portkey.requests()[0].header("x-portkey-api-key"),
        Some("pk-alice-2")
    );

    let file = world.folder.path().join("oauth.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("alice", "bob").replace("file:", "")).unwrap();
    let log = world.server.read_until("the change is invalid");
    assert!(
        log.contains("oauth.toml") && log.contains("env:VARIABLE"),
        "{log}"
    );
    let (status, _) = send_request(world.list().bearer_auth(&token)).await;
    assert_eq!(status, StatusCode::OK);

    fs::write(&file, text.replace("\"alice\"", "\"bob\"")).unwrap();
    world.server.read_until("reloaded the changed file");
    let (status, _) = send_request(world.list().bearer_auth(&token)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn reload_keeps_the_known_issuer_keys() {
    let mut world = OAuthFixture::start().await;
    let token = world.token("portkey:read");
    let (status, _) = send_request(world.list().bearer_auth(&token)).await;
    assert_eq!(status, StatusCode::OK);
    world
        .issuer
        .set_response(KEYS_PATH, IssuerResponse::Status(503));
    let key = world.folder.path().join("key");
    fs::write(&key, "pk-alice-2").unwrap();
    world.server.read_until("reloaded the changed file");
    let (status, _) = send_request(world.list().bearer_auth(&token)).await;
    assert_eq!(
        (status, world.issuer.request_count(KEYS_PATH)),
        (StatusCode::OK, 1)
    );
}

/// With the sandbox callers are still authenticated, and no upstream key is needed.
#[tokio::test]
async fn sandbox_needs_no_upstream_key() {
    let signer = Signer::es256("a");
    let issuer = Issuer::with_keys(&[signer.jwk()]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oauth.toml");
    let tenant = "[[tenant]]\nvalue = \"alice\"\nportkey_key = \"env:NO_SUCH_VARIABLE_HERE\"";
    fs::write(&file, settings(&issuer, "", tenant)).unwrap();
    let with_file = || {
        let file = ["--auth-file", file.to_str().unwrap()];
        ServerProcess::http().auth("oauth").args(&file)
    };
    let server = with_file().sandbox().start();
    let list = || call_request(&server, "list-all-integrations", json!({}));
    assert_eq!(
        HttpResponse::send(list()).await.status,
        StatusCode::UNAUTHORIZED
    );
    let (status, body) = send_request(list().bearer_auth(signer.token(&claims(&issuer)))).await;
    assert_eq!(
        (status, &body["result"]["isError"]),
        (StatusCode::OK, &json!(false)),
        "{body}"
    );

    let failed = with_file().command().output().unwrap();
    let log = String::from_utf8(failed.stderr).unwrap();
    assert!(
        !failed.status.success()
            && log.contains("line 6: the variable NO_SUCH_VARIABLE_HERE is not set"),
        "{log}"
    );
}

#[test]
fn invalid_oauth_options_are_rejected() {
    for (args, words) in [
        (
            &["--auth", "oauth"] as &[&str],
            "--auth oauth needs --auth-file",
        ),
        (
            &["--auth", "oauth", "--auth-file", "/no/such"],
            "cannot use /no/such",
        ),
        (
            &[
                "--auth",
                "oauth",
                "--auth-file",
                "/no/such",
                "--api-key",
                "k",
            ],
            "PORTKEY_API_KEY",
        ),
        (
            &["--auth", "key", "--auth-file", "/no/such"],
            "--auth-file belongs to",
        ),
    ] {
        let (ok, _, log) = run_cli(&[&["http", "--listen", "127.0.0.1:0"], args].concat());
        assert!(!ok && log.contains(words), "{args:?}: {log}");
    }
}

async fn open_stream(world: &OAuthFixture, token: &str) -> reqwest::Response {
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    let listen =
        stateless_request(&world.server, "subscriptions/listen", filter).bearer_auth(token);
    let stream = listen.send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    stream
}

async fn read_to_end(mut stream: reqwest::Response) {
    while stream.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn stream_ends_when_its_token_expires() {
    let world = OAuthFixture::start().await;
    // The permitted clock difference is 30 seconds.
    let claims = claims_with(&world.issuer, json!({ "exp": seconds_from_now(-27) }));
    read_to_end(open_stream(&world, &world.signer.token(&claims)).await).await;
}

#[tokio::test]
async fn stream_ends_when_the_settings_change() {
    let world = OAuthFixture::start().await;
    let stream = open_stream(&world, &world.token("portkey:read")).await;
    let file = world.folder.path().join("oauth.toml");
    let changed = fs::read_to_string(&file).unwrap().replace("alice", "bob");
    fs::write(&file, changed).unwrap();
    read_to_end(stream).await;
}

#[tokio::test]
async fn claims_of_the_token_decide_in_policies() {
    let policy = PolicyFile::with(
        "
version: '1'
default: deny
rules:
  - name: admins
    action: allow
    when: has(principal.claims.realm_access.roles) && 'admin' in principal.claims.realm_access.roles
  - name: no token id
    action: deny
    when: has(principal.claims.jti)
",
    );
    let world = OAuthFixture::with("", &["--policy", policy.path()]).await;
    let is_error = async |claims: Value| {
        let token = world.signer.token(&claims_with(&world.issuer, claims));
        let answer = HttpResponse::send(world.list().bearer_auth(token)).await;
        answer.body["result"]["isError"] == true
    };
    let scope = "portkey:read";
    let roles =
        |roles: &[&str]| json!({ "scope": scope, "jti": "x", "realm_access": { "roles": roles } });
    assert!(!is_error(roles(&["user", "admin"])).await);
    assert!(is_error(roles(&["user"])).await);
    // Without `has` on the outer claim, the expression is an error, and denies.
    assert!(is_error(json!({ "scope": scope })).await);
    let many: Vec<usize> = (0..1_500).collect();
    let large = json!({ "scope": scope, "many": many, "realm_access": { "roles": ["admin"] } });
    assert!(is_error(large).await, "claims beyond the limits deny");
}
