//! Sizes of the tool lists: the limits, and the report in `tool-schemas/SIZES.md`.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_mcp::{
    auth::principal::Toolsets,
    mcp::{
        server,
        surface::{HistoryTool, Surface},
    },
};
use portkey_operation::{Presentation, Profile};
use rmcp::model::Tool;

use crate::support::{generated::check_generated_file, server::StdioServer, stdio::INITIALIZE};

/// Limits in bytes of the whole list, of the largest tool, and of the median tool.
const MAX_LIST_BYTES: usize = 152_000;
const MAX_TOOL_BYTES: usize = 4_000;
const MAX_MEDIAN_BYTES: usize = 680;
/// Limits in bytes of the compact list, and of its read-only part.
const MAX_COMPACT_BYTES: usize = 7_900;
const MAX_COMPACT_READ_ONLY_BYTES: usize = 5_500;
/// Limits in bytes of the answer to `tools/list`, with hints for clients in `_meta`. They add a seventh, as does the
/// second copy of each title.
const MAX_SENT_BYTES: usize = 172_000;
const MAX_COMPACT_SENT_BYTES: usize = 9_000;

/// Returns the size of a tool in the list. The hints in `_meta` and the second copy of the title do not
/// reach the model, so they are excluded.
fn tool_bytes(tool: &Tool) -> usize {
    let mut tool = tool.clone();
    tool.meta = None;
    if let Some(annotations) = &mut tool.annotations {
        annotations.title = None;
    }
    serde_json::to_string(&tool).unwrap().len()
}

/// Sizes of a list of tools.
struct ListSizes {
    tools: usize,
    bytes: usize,
    median: usize,
    largest: (usize, String),
}

impl ListSizes {
    fn new(tools: &[Tool]) -> Self {
        let mut sizes: Vec<_> = tools
            .iter()
            .map(|tool| (tool_bytes(tool), tool.name.to_string()))
            .collect();
        sizes.sort_unstable();
        Self {
            tools: sizes.len(),
            bytes: sizes.iter().map(|(size, _)| size).sum(),
            median: sizes[sizes.len() / 2].0,
            largest: sizes.pop().unwrap(),
        }
    }

    fn table_row(&self, name: &str) -> String {
        let Self {
            tools,
            bytes,
            median,
            largest: (size, tool),
        } = self;
        let tokens = estimate_tokens(*bytes);
        format!("| {name} | {tools} | {bytes} | {tokens} | {median} | `{tool}` {size} |\n")
    }
}

/// Estimates the number of tokens. Models read about four bytes of JSON as one token.
const fn estimate_tokens(bytes: usize) -> usize {
    bytes.div_ceil(4)
}

/// Returns the size of a list as sent, with hints for clients.
fn sent_bytes(tools: &[Tool]) -> usize {
    serde_json::to_string(tools).unwrap().len()
}

const TABLE_HEAD: &str = "| Tools | Bytes | Tokens, about | Median | Largest |\n";

/// Returns the tools of a server with a history of changes, which local servers keep unless told otherwise.
fn list_tools(surface: Surface, offered: impl Fn(&CatalogEntry) -> bool) -> Vec<Tool> {
    let catalog = Catalog::full();
    let offered: Vec<_> = catalog
        .iter()
        .filter(|entry| entry.operation.is_stable() && offered(entry))
        .collect();
    let has_writes = offered
        .iter()
        .any(|entry| !entry.operation.hints().read_only);
    let presentation = catalog.presentation();
    let mut tools = server::build_tools(surface, presentation, offered.into_iter());
    server::add_history(&mut tools, presentation);
    tools.retain(|tool| has_writes || tool.name != HistoryTool::Undo.name());
    tools
}

/// A limit in bytes and its use.
struct Budget<'a> {
    of: &'a str,
    used: usize,
    limit: usize,
    /// Name of the constant in this file.
    raised_at: &'static str,
}

impl Budget<'_> {
    fn describe(&self) -> String {
        let Self {
            of,
            used,
            limit,
            raised_at,
        } = self;
        format!(
            "{of} takes {used} of {limit} bytes, {} too many. Shorten descriptions first: \
             tool-schemas/SIZES.md has the size of every tool. Otherwise a maintainer raises {raised_at} in \
             tests/it/budget.rs, because every client pays for it in each conversation.",
            used - limit
        )
    }
}

#[test]
fn tool_lists_are_within_their_budgets() {
    let whole = ListSizes::new(&list_tools(Surface::Operations, |_| true));
    let (largest, name) = &whole.largest;
    let reads = |entry: &CatalogEntry| entry.operation.hints().read_only;
    let compact = ListSizes::new(&list_tools(Surface::Compact, |_| true)).bytes;
    let compact_reads = ListSizes::new(&list_tools(Surface::Compact, reads)).bytes;
    let largest_name = format!("the largest tool, `{name}`,");
    let budgets = [
        Budget {
            of: &largest_name,
            used: *largest,
            limit: MAX_TOOL_BYTES,
            raised_at: "MAX_TOOL_BYTES",
        },
        Budget {
            of: "the median tool",
            used: whole.median,
            limit: MAX_MEDIAN_BYTES,
            raised_at: "MAX_MEDIAN_BYTES",
        },
        Budget {
            of: "the list of tools",
            used: whole.bytes,
            limit: MAX_LIST_BYTES,
            raised_at: "MAX_LIST_BYTES",
        },
        Budget {
            of: "the compact list",
            used: compact,
            limit: MAX_COMPACT_BYTES,
            raised_at: "MAX_COMPACT_BYTES",
        },
        Budget {
            of: "the compact, read-only list",
            used: compact_reads,
            limit: MAX_COMPACT_READ_ONLY_BYTES,
            raised_at: "MAX_COMPACT_READ_ONLY_BYTES",
        },
    ];
    check(&budgets);
}

#[track_caller]
fn check(budgets: &[Budget<'_>]) {
    let exceeded: Vec<_> = budgets
        .iter()
        .filter(|budget| budget.used > budget.limit)
        .map(Budget::describe)
        .collect();
    assert!(exceeded.is_empty(), "{}", exceeded.join("\n"));
}

/// Measures the largest answers of a server as users start it: with its history, the tools of Enkrypt AI, and a client
/// that shows cards.
#[test]
fn sent_lists_are_within_their_budgets() {
    const CLIENT: &str = r#"{"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["text/html;profile=mcp-app"]}}}"#;
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let requests = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned(),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"a","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{CLIENT}}}}}}}"#
        ),
    ];
    for (surface, limit, raised_at) in [
        ("operations", MAX_SENT_BYTES, "MAX_SENT_BYTES"),
        ("compact", MAX_COMPACT_SENT_BYTES, "MAX_COMPACT_SENT_BYTES"),
    ] {
        for request in &requests {
            let mut pipe = StdioServer::builder()
                .args(&["--surface", surface, "--enkrypt-api-key", "k"])
                .variables(&[
                    ("PORTKEY_MCP_NO_JOURNAL", "false"),
                    ("PORTKEY_MCP_JOURNAL", journal.to_str().unwrap()),
                ])
                .start();
            if !request.contains("2026-07-28") {
                pipe.send(&INITIALIZE.replace(
                    r#""capabilities":{}"#,
                    &format!(r#""capabilities":{CLIENT}"#),
                ));
                pipe.receive();
                pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
            }
            pipe.send(request);
            let answer = pipe.receive();
            let tools = answer["result"]["tools"].to_string();
            for part in ["undo-change", "ui://", "report-costs"] {
                assert!(tools.contains(part), "{surface}: no {part} in {answer}");
            }
            assert_eq!(
                tools.contains("modify-mcp-gateway"),
                surface == "operations"
            );
            check(&[Budget {
                of: &format!("the answer to tools/list with --surface {surface}"),
                used: answer.to_string().len(),
                limit,
                raised_at,
            }]);
        }
    }
}

#[test]
fn size_report_is_up_to_date() {
    let reads = |entry: &CatalogEntry| entry.operation.hints().read_only;
    let all = list_tools(Surface::Operations, |_| true);
    let mut text =
        "# Sizes\n\nWhat the list of tools takes, in bytes of JSON, by what is listed. Written by \
                    `UPDATE=1 cargo test --test it up_to_date`. \
                    Lists have the tools of the history of changes, which local servers keep by \
                    default.\n\n## Surfaces\n\n"
            .to_owned();
    let table =
        |title: &str| format!("| {title} {TABLE_HEAD}| --- | ---: | ---: | ---: | ---: | --- |\n");
    text += &table("Surface");
    text += &ListSizes::new(&all).table_row("`operations`");
    text += &ListSizes::new(&list_tools(Surface::Operations, reads))
        .table_row("`operations`, read-only");
    text += &ListSizes::new(&list_tools(Surface::Compact, |_| true)).table_row("`compact`");
    text += &ListSizes::new(&list_tools(Surface::Compact, reads)).table_row("`compact`, read-only");
    let compact = list_tools(Surface::Compact, |_| true);
    let whole = sent_bytes(&all);
    let compact = sent_bytes(&compact);
    writeln!(
        text,
        "\nThat is what a model is shown. With the hints for clients in `_meta`, {whole} bytes are sent of \
         `operations` and {compact} of `compact`; over HTTP they are compressed where the client accepts that."
    )
    .unwrap();
    text += "\n## Profiles\n\nForms of the schemas, by `--schema-profile`.\n\n";
    text += &table("Profile");
    for profile in Profile::ALL {
        for (surface, name) in [
            (Surface::Operations, "operations"),
            (Surface::Compact, "compact"),
        ] {
            let presentation = Presentation {
                profile,
                ..Presentation::default()
            };
            let catalog = Catalog::with_presentation(presentation).without_previews(|_, _| false);
            let mut list = server::build_tools(surface, catalog.presentation(), catalog.iter());
            server::add_history(&mut list, catalog.presentation());
            text += &ListSizes::new(&list).table_row(&format!("`{}`, `{name}`", profile.as_str()));
        }
    }
    text += "\n## Toolsets\n\nGroups of domains, on the surface `operations`.\n\n";
    text += &table("Toolset");
    for (group, _) in Catalog::groups() {
        let named = Toolsets::from_names([*group], &Catalog::domains()).unwrap();
        let list = list_tools(Surface::Operations, |entry| named.allows(entry.domain.name));
        text += &ListSizes::new(&list).table_row(&format!("`{group}`"));
    }
    text += "\n## Domains\n\n";
    text += &table("Domain");
    let mut domains: BTreeMap<&str, Vec<Tool>> = BTreeMap::new();
    for entry in Catalog::full().iter() {
        domains
            .entry(entry.domain.name)
            .or_default()
            .push(server::build_tool(entry.compiled()));
    }
    for (domain, tools) in domains {
        text += &ListSizes::new(&tools).table_row(domain);
    }
    text += "\n## Tools\n\n| Tool | Bytes | Tokens, about |\n| --- | ---: | ---: |\n";
    for tool in &all {
        let bytes = tool_bytes(tool);
        writeln!(
            text,
            "| `{}` | {bytes} | {} |",
            tool.name,
            estimate_tokens(bytes)
        )
        .unwrap();
    }
    check_generated_file(Path::new("tool-schemas/SIZES.md"), &text);
}
