//! Tool filters: an excluded tool is neither listed nor callable, by any name and over any
//! transport.

use std::{collections::HashMap, fs, path::Path};

use http::{HeaderMap, HeaderName, HeaderValue};
use portkey_api::{
    catalog::{Catalog, CatalogEntry},
    domains::{DOMAINS, GROUPS},
};
use portkey_mcp::{
    auth::principal::{AccessDenied, ToolFilter, ToolSelection, Toolsets},
    mcp::surface::Surface,
    workflows::WORKFLOWS,
};
use portkey_operation::Effect;
use reqwest::StatusCode;
use rmcp::{
    ClientLifecycleMode, RoleClient,
    model::{CallToolRequestParams, ProtocolVersion},
    service::{ClientServiceExt, RunningService},
    transport::{
        StreamableHttpClientTransport, TokioChildProcess,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};

use crate::support::{
    catalogs::default_catalog,
    generated::{assert_same_names, check_generated_file},
    process::{command, run_cli},
    requests::{client_builder, initialize_request, post_request, send_request, stateless_request},
    server::{ServerProcess, serve_sandbox},
    upstream::operator,
};

type McpClient = RunningService<RoleClient, ()>;

/// Decides if a tool filter keeps an entry.
type EntryFilter = fn(&CatalogEntry) -> bool;

const READ_ONLY: EntryFilter = |entry| entry.operation.hints().read_only;
const NO_DELETE: EntryFilter = |entry| entry.operation.effect() != Effect::Delete;
const TWO_DOMAINS: EntryFilter = |entry| ["providers", "labels"].contains(&entry.domain.name);
const LIST_TOOLS: EntryFilter = |entry| {
    let mut names = entry
        .operation
        .alias_names()
        .iter()
        .copied()
        .chain([tool_name(entry)]);
    names.any(|name| name.starts_with("list-"))
};
const WITHOUT_KEY_LIST: EntryFilter = |entry| tool_name(entry) != "list-all-virtual-keys";
const READ_ONLY_INTEGRATIONS: EntryFilter =
    |entry| READ_ONLY(entry) && tool_name(entry).ends_with("-integration");
const NO_TOOLS: EntryFilter = |_| false;

fn tool_name(entry: &CatalogEntry) -> &'static str {
    entry.operation.name()
}

fn offered_names(left: EntryFilter) -> Vec<String> {
    let catalog = default_catalog();
    // Built-in tools without an operation are always offered.
    let own = ["read-result", "whoami"];
    let operations = catalog.iter().filter(|entry| left(entry)).map(tool_name);
    let operations: Vec<_> = operations.collect();
    let workflows = WORKFLOWS
        .iter()
        .filter(|workflow| Surface::Operations.lists(workflow.listing))
        .filter(|workflow| workflow.needs.iter().all(|name| operations.contains(name)))
        .map(|workflow| workflow.operation.name());
    let writes = catalog
        .iter()
        .any(|entry| left(entry) && entry.operation.effect() != Effect::Read);
    let plans = ["apply-plan", "plan-changes"]
        .into_iter()
        .filter(|_| writes);
    let names = operations
        .iter()
        .copied()
        .chain(workflows)
        .chain(own)
        .chain(plans);
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// The lifecycles of both protocol generations.
fn lifecycles() -> [ClientLifecycleMode; 2] {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover { preferred_versions },
    ]
}

async fn connect_http(server: &ServerProcess, headers: &[(&str, &str)]) -> Vec<McpClient> {
    connect_to(&server.url, headers).await
}

async fn connect_to(url: &str, headers: &[(&str, &str)]) -> Vec<McpClient> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect();
    let mut clients = Vec::new();
    for lifecycle in lifecycles() {
        let http = client_builder()
            .default_headers(headers.clone())
            .build()
            .unwrap();
        let config = StreamableHttpClientTransportConfig::with_uri(url.to_owned());
        let transport = StreamableHttpClientTransport::with_client(http, config);
        clients.push(().serve_with_lifecycle(transport, lifecycle).await.unwrap());
    }
    clients
}

async fn connect_stdio(args: &[&str]) -> Vec<McpClient> {
    let mut clients = Vec::new();
    for lifecycle in lifecycles() {
        let args: Vec<_> = args.iter().copied().chain(["--sandbox"]).collect();
        let process = TokioChildProcess::new(tokio::process::Command::from(command(&args)));
        clients.push(
            ().serve_with_lifecycle(process.unwrap(), lifecycle)
                .await
                .unwrap(),
        );
    }
    clients
}

/// Calls a tool that must be rejected and returns the error text.
async fn rejection_text(client: &McpClient, tool: &str) -> String {
    let call = CallToolRequestParams::new(tool.to_owned());
    let answer = client.call_tool(call).await.unwrap();
    assert_eq!(answer.is_error, Some(true), "{tool}: {answer:?}");
    answer.content[0].as_text().unwrap().text.clone()
}

/// Checks that exactly the promised tools are listed, and that the forbidden tool is rejected with
/// the given text under each of its names.
async fn assert_offers_only(
    client: &McpClient,
    promised: EntryFilter,
    forbidden: &str,
    words: &str,
) {
    let listed = client.list_all_tools().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|tool| tool.name.to_string()).collect();
    assert_same_names(words, &listed, &offered_names(promised));
    let catalog = Catalog::full();
    let operation = catalog.find(forbidden).unwrap().operation;
    let names = operation
        .alias_names()
        .iter()
        .copied()
        .chain([operation.name()]);
    for name in names.flat_map(|name| [name.to_owned(), name.replace('-', "_")]) {
        let message = rejection_text(client, &name).await;
        assert!(message.contains(words), "{name}: {message}");
    }
    if listed.iter().any(|tool| tool == "list-all-integrations") {
        let call = CallToolRequestParams::new("list_all_integrations");
        assert_eq!(
            client.call_tool(call).await.unwrap().is_error,
            Some(false),
            "{words}"
        );
    }
}

#[tokio::test]
async fn filter_options_apply_to_every_transport_and_generation() {
    struct Case {
        args: &'static [&'static str],
        promised: EntryFilter,
        forbidden: &'static str,
        words: &'static str,
    }

    let table: &[Case] = &[
        Case {
            args: &["--read-only"],
            promised: READ_ONLY,
            forbidden: "create-integration",
            words: "`--read-only` leaves only",
        },
        Case {
            args: &["--no-delete"],
            promised: NO_DELETE,
            forbidden: "delete-integration",
            words: "`--no-delete` leaves no",
        },
        Case {
            args: &["--toolsets", "providers, labels"],
            promised: TWO_DOMAINS,
            forbidden: "list-virtual-keys",
            words: "`--toolsets` does not name its toolset",
        },
        Case {
            args: &["--tools", "list_*"],
            promised: LIST_TOOLS,
            forbidden: "get-integration",
            words: "`--tools` does not name it",
        },
        Case {
            args: &["--exclude-tools", "list_virtual_keys"],
            promised: WITHOUT_KEY_LIST,
            forbidden: "list-all-virtual-keys",
            words: "`--exclude-tools` names it",
        },
        // The options combine: `--tools` names the tool and `--read-only` still forbids it.
        Case {
            args: &["--tools", "*-integration", "--read-only"],
            promised: READ_ONLY_INTEGRATIONS,
            forbidden: "delete-integration",
            words: "`--read-only` leaves only",
        },
    ];
    for Case {
        args,
        promised,
        forbidden,
        words,
    } in table
    {
        let server = serve_sandbox(args);
        for client in connect_stdio(args)
            .await
            .iter()
            .chain(&connect_http(&server, &[]).await)
        {
            assert_offers_only(client, *promised, forbidden, words).await;
        }
        let called: Vec<_> = ["call", *forbidden]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        let (ok, _, message) = run_cli(&called);
        assert!(!ok && message.contains(words), "{message}");
        let tools: Vec<_> = ["tools", "--format", "json", "--sandbox"]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        let listed: Vec<Value> = serde_json::from_str(&run_cli(&tools).1).unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        assert_same_names(&format!("{args:?}"), &listed, &offered_names(*promised));
    }
}

#[tokio::test]
async fn filter_headers_narrow_and_never_widen_the_options() {
    struct Case {
        args: &'static [&'static str],
        headers: Vec<(&'static str, &'static str)>,
        promised: EntryFilter,
        forbidden: &'static str,
        words: &'static str,
    }

    let open: &'static [&'static str] = &[];
    let header = |name: &'static str| move |text: &'static str| (name, text);
    let (read_only, toolsets, tools) = (
        header("x-portkey-mcp-readonly"),
        header("X-Portkey-MCP-Toolsets"),
        header("X-Portkey-MCP-Tools"),
    );
    let table = [
        Case {
            args: open,
            headers: vec![read_only("TRUE")],
            promised: READ_ONLY,
            forbidden: "create-integration",
            words: "header `X-Portkey-MCP-Readonly` leaves only",
        },
        Case {
            args: open,
            headers: vec![toolsets("providers ,labels")],
            promised: TWO_DOMAINS,
            forbidden: "list-all-virtual-keys",
            words: "header `X-Portkey-MCP-Toolsets` does not name its toolset",
        },
        Case {
            args: open,
            headers: vec![tools("list-*")],
            promised: LIST_TOOLS,
            forbidden: "get-integration",
            words: "header `X-Portkey-MCP-Tools` does not name it",
        },
        Case {
            args: open,
            headers: vec![tools("*-integration"), read_only("true")],
            promised: READ_ONLY_INTEGRATIONS,
            forbidden: "delete-integration",
            words: "header `X-Portkey-MCP-Readonly`",
        },
        Case {
            args: &["--read-only"],
            headers: vec![read_only("false")],
            promised: READ_ONLY,
            forbidden: "create-integration",
            words: "`--read-only` leaves only",
        },
        Case {
            args: &["--no-delete"],
            headers: vec![tools("delete-integration")],
            promised: NO_TOOLS,
            forbidden: "delete-integration",
            words: "`--no-delete` leaves no",
        },
    ];
    for Case {
        args,
        headers,
        promised,
        forbidden,
        words,
    } in table
    {
        let server = serve_sandbox(args);
        for client in connect_http(&server, &headers).await {
            assert_offers_only(&client, promised, forbidden, words).await;
        }
    }
}

#[tokio::test]
async fn tool_filter_applies_per_request_of_a_session() {
    let server = serve_sandbox(&[]);
    let opened = initialize_request(&server)
        .header("x-portkey-mcp-readonly", "true")
        .send()
        .await
        .unwrap();
    let session = opened.headers()["mcp-session-id"].clone();
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "delete-integration", "arguments": { "slug": "none" },
    } });
    for (read_only, is_withheld) in [("false", false), ("true", true), ("false", false)] {
        let request = post_request(&server, &call.to_string())
            .header("mcp-session-id", &session)
            .header("x-portkey-mcp-readonly", read_only);
        let text = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(
            text.contains("is not on offer"),
            is_withheld,
            "{read_only}: {text}"
        );
    }
    // A client must not cache a list that depends on the headers of its request.
    let ttl = async |request: reqwest::RequestBuilder| {
        send_request(request).await.1["result"]["ttlMs"]
            .as_u64()
            .unwrap()
    };
    let list = || stateless_request(&server, "tools/list", json!({}));
    assert!(ttl(list()).await > 0);
    assert_eq!(ttl(list().header("x-portkey-mcp-tools", "list-*")).await, 0);
}

#[tokio::test]
async fn invalid_filter_header_is_rejected() {
    let server = serve_sandbox(&[]);
    let many = vec!["list-*"; 65].join(",");
    let table = [
        ("x-portkey-mcp-readonly", "yes", "`true` or `false`"),
        ("x-portkey-mcp-readonly", "", "`true` or `false`"),
        (
            "x-portkey-mcp-toolsets",
            "promts",
            "did you mean `prompts`?",
        ),
        ("x-portkey-mcp-toolsets", "", "no toolset"),
        (
            "x-portkey-mcp-tools",
            "list-*,,",
            "neither a tool's name nor a glob",
        ),
        (
            "x-portkey-mcp-tools",
            "{a,b}",
            "neither a tool's name nor a glob",
        ),
        (
            "x-portkey-mcp-tools",
            "creat-integration",
            "did you mean `create-integration`?",
        ),
        ("x-portkey-mcp-tools", &many, "more than 64"),
    ];
    for (header, value, words) in table {
        let (status, body) =
            send_request(stateless_request(&server, "tools/list", json!({})).header(header, value))
                .await;
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{header}: {value}");
        assert!(
            message.contains(header) && message.contains(words),
            "{header}: {value}: {message}"
        );
    }
    let twice = stateless_request(&server, "tools/list", json!({}))
        .header("x-portkey-mcp-tools", "list-*")
        .header("x-portkey-mcp-tools", "*");
    let (status, body) = send_request(twice).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("given twice"),
        "{body}"
    );
}

#[test]
fn invalid_filter_option_stops_the_start() {
    let table: &[(&[&str], &[&str])] = &[
        (
            &["--toolsets", "promts"],
            &["--toolsets", "did you mean `prompts`?"],
        ),
        (
            &["--tools", "creat-integration"],
            &["--tools", "did you mean `create-integration`?"],
        ),
        (
            &["--tools", "list-*,purge-*"],
            &["--tools", "no tool is called `purge-*`"],
        ),
        (
            &["--exclude-tools", "[a-z]"],
            &["--exclude-tools", "neither a tool's name nor a glob"],
        ),
        (&["--exclude-tools", ""], &["--exclude-tools", "neither"]),
    ];
    for (args, words) in table {
        for command in [&["stdio"] as &[&str], &["http", "--sandbox"], &["tools"]] {
            let args: Vec<_> = command.iter().chain(*args).copied().collect();
            let (ok, _, message) = run_cli(&args);
            assert!(
                !ok && words.iter().all(|word| message.contains(word)),
                "{args:?}: {message}"
            );
        }
    }
}

/// Serves clients that can configure only a URL. Path, headers and options combine, and each only
/// narrows.
#[tokio::test]
async fn filter_path_narrows_like_a_filter_header() {
    struct Case {
        path: &'static str,
        headers: &'static [(&'static str, &'static str)],
        promised: EntryFilter,
        forbidden: &'static str,
        words: &'static str,
    }

    let server = serve_sandbox(&["--no-delete"]);
    let of_mcp = |entry: &CatalogEntry| entry.domain.name.starts_with("mcp-");
    let mcp: EntryFilter = |entry| {
        let more = ["agent-servers", "enkrypt-mcp-gateway"].contains(&entry.domain.name);
        (more || entry.domain.name.starts_with("mcp-")) && NO_DELETE(entry)
    };
    let reads_labels: EntryFilter = |entry| READ_ONLY(entry) && entry.domain.name == "labels";
    assert!(Catalog::full().iter().filter(|entry| of_mcp(entry)).count() > 20);
    for Case {
        path,
        headers,
        promised,
        forbidden,
        words,
    } in [
        Case {
            path: "/readonly",
            headers: &[][..],
            promised: READ_ONLY,
            forbidden: "create-label",
            words: "path or its header `X-Portkey-MCP-Readonly`",
        },
        Case {
            path: "/x/mcp",
            headers: &[],
            promised: mcp,
            forbidden: "create-label",
            words: "`X-Portkey-MCP-Toolsets` does not name",
        },
        Case {
            path: "/x/mcp",
            headers: &[],
            promised: mcp,
            forbidden: "delete-mcp-server",
            words: "`--no-delete` leaves no",
        },
        Case {
            path: "/x/providers%2Clabels/readonly",
            headers: &[("x-portkey-mcp-toolsets", "labels,users")],
            promised: reads_labels,
            forbidden: "list-all-providers",
            words: "`X-Portkey-MCP-Toolsets` does not name",
        },
    ] {
        for client in connect_to(&format!("{}{path}", server.url), headers).await {
            assert_offers_only(&client, promised, forbidden, words).await;
        }
    }
    for (path, status, words) in [
        ("/x/nothing", 404, "there is no toolset `nothing`"),
        ("/x/promts", 404, "did you mean `prompts`?"),
        ("/x/", 404, ""),
        ("/y/prompts", 404, ""),
    ] {
        let url = format!("{}{path}", server.url);
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let request = client_builder().build().unwrap().post(url).body(body);
        let request = request.header("content-type", "application/json");
        let response = request
            .header("accept", "application/json")
            .send()
            .await
            .unwrap();
        let got = response.status();
        let text = response.text().await.unwrap();
        assert!(
            got == status && text.contains(words),
            "{path}: {got} {text}"
        );
    }
}

#[test]
fn every_domain_belongs_to_known_groups() {
    let faults: Vec<_> = DOMAINS
        .iter()
        .filter(|domain| {
            domain.groups.is_empty() || domain.groups.iter().any(|group| !GROUPS.contains(group))
        })
        .map(|domain| format!("`{}` is in the groups {:?}", domain.name, domain.groups))
        .collect();
    assert!(
        faults.is_empty(),
        "{}\nName at least one of {GROUPS:?} in the domain's row of `DOMAINS` in \
         crates/portkey-api/src/domains/mod.rs, the one whose people work with it. A new group is a line \
         in `GROUPS` there, which maintainers decide.",
        faults.join("\n")
    );
}

#[test]
fn toolset_groups_are_up_to_date() {
    let domains = Catalog::domains();
    let misplaced = domains.windows(2).find(|pair| pair[0] > pair[1]);
    assert!(
        misplaced.is_none(),
        "the rows of `DOMAINS` in crates/portkey-api/src/domains/mod.rs are sorted by name, and these two rows are \
         not: {:?}",
        misplaced.unwrap_or_default()
    );
    for (group, members) in Catalog::groups() {
        assert!(
            members.len() > 1,
            "group `{group}` has fewer than two domains: {members:?}"
        );
        assert!(
            members.iter().all(|member| domains.contains(member)),
            "{group}"
        );
        // A group with the name of a domain contains that domain.
        assert!(
            !domains.contains(group) || members.contains(group),
            "{group}"
        );
        let named = Toolsets::from_names([*group], &domains).unwrap();
        assert!(
            domains
                .iter()
                .all(|one| named.allows(one) == members.contains(one)),
            "{group}"
        );
    }
    let head = "| Group | Domains |\n| --- | --- |\n";
    let text = fs::read_to_string("docs/access.md").unwrap();
    let (before, rest) = text
        .split_once(head)
        .unwrap_or_else(|| panic!("docs/access.md has no table that begins with\n{head}"));
    let after = rest.find("\n\n").map_or("", |end| &rest[end + 1..]);
    let rows: String = Catalog::groups()
        .iter()
        .map(|(group, members)| format!("| `{group}` | {} |\n", members.join(", ")))
        .collect();
    check_generated_file(
        Path::new("docs/access.md"),
        &format!("{before}{head}{rows}{after}"),
    );
}

/// Several filters together leave exactly the tools that each of them allows.
#[test]
fn tool_filter_allows_only_what_caller_and_filter_allow() {
    let names = |given: &[&str]| {
        ToolSelection::from_patterns(given.iter().copied(), Catalog::operations()).ok()
    };
    let domains =
        |given: &[&str]| Toolsets::from_names(given.iter().copied(), &Catalog::domains()).unwrap();
    let modes = ToolFilter {
        toolsets: Some(domains(&["integrations", "prompts"])),
        tools: names(&["*-integration", "list-*"]),
        excluded_tools: names(&["list-all-integrations"]),
        no_delete: true,
        ..ToolFilter::default()
    };
    let mut whole = operator();
    whole.toolsets = domains(&["integrations", "workspaces"]);
    let narrowed = whole.with_request_filter(modes.clone());
    let mut left = HashMap::new();
    for entry in Catalog::full().iter() {
        let domain = entry.domain.name;
        let operation = entry.operation;
        let may = narrowed.authorize(domain, operation);
        let each =
            whole.authorize(domain, operation).is_ok() && modes.check(domain, operation).is_ok();
        assert_eq!(may.is_ok(), each, "{}", operation.name());
        assert_eq!(
            narrowed.check_visible(domain, operation).is_ok(),
            each,
            "{}",
            operation.name()
        );
        let of_mode = matches!(may, Err(AccessDenied::Filtered { .. }));
        *left.entry((each, of_mode)).or_insert(0) += 1;
    }
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left[&(true, false)] > 1, "{left:?}");
}
