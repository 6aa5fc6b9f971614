//! What a client pays for having the tools in view: the bounds, and the bill in `tool-schemas/SIZES.md`.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_mcp::{
    auth::principal::Toolsets,
    mcp::{server, surface::Surface},
};
use portkey_operation::{Presentation, Profile};
use rmcp::model::Tool;

/// Bytes of the whole list, of the largest tool, and of the one in the middle.
const WHOLE: usize = 150_000;
const LARGEST: usize = 4_000;
const MEDIAN: usize = 650;
/// Bytes of the whole list as it is sent, with hints for clients in `_meta`.
const SENT: usize = 167_000;
/// Bytes of the compact list, and of what is left of it that reads.
const COMPACT: usize = 16_000;
const COMPACT_READ_ONLY: usize = 9_000;

/// What a tool takes in the list. Hints for the client are not before the model, and bound nothing.
fn size(tool: &Tool) -> usize {
    let mut tool = tool.clone();
    tool.meta = None;
    serde_json::to_string(&tool).unwrap().len()
}

/// What some tools take.
struct Bill {
    tools: usize,
    bytes: usize,
    median: usize,
    largest: (usize, String),
}

impl Bill {
    fn of(tools: &[Tool]) -> Self {
        let mut sizes: Vec<_> = tools
            .iter()
            .map(|tool| (size(tool), tool.name.to_string()))
            .collect();
        sizes.sort_unstable();
        Self {
            tools: sizes.len(),
            bytes: sizes.iter().map(|(size, _)| size).sum(),
            median: sizes[sizes.len() / 2].0,
            largest: sizes.pop().unwrap(),
        }
    }

    fn row(&self, name: &str) -> String {
        let Self {
            tools,
            bytes,
            median,
            largest: (size, tool),
        } = self;
        let tokens = tokens(*bytes);
        format!("| {name} | {tools} | {bytes} | {tokens} | {median} | `{tool}` {size} |\n")
    }
}

/// An estimate: models read about four bytes of JSON as one.
const fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(4)
}

/// What a list takes as it is sent, with hints for clients.
fn sent(tools: &[Tool]) -> usize {
    serde_json::to_string(tools).unwrap().len()
}

const HEAD: &str = "| Tools | Bytes | Tokens, about | Median | Largest |\n";

fn listed(surface: Surface, offered: impl Fn(&CatalogEntry) -> bool) -> Vec<Tool> {
    let catalog = Catalog::full();
    server::build_tools(
        surface,
        catalog.presentation(),
        catalog.iter().filter(|entry| offered(entry)),
    )
}

#[test]
fn tool_lists_are_within_their_budgets() {
    let whole = Bill::of(&listed(Surface::Operations, |_| true));
    let (largest, name) = &whole.largest;
    assert!(*largest <= LARGEST, "{name} takes {largest} bytes");
    assert!(
        whole.median <= MEDIAN,
        "the median is {} bytes",
        whole.median
    );
    assert!(whole.bytes <= WHOLE, "{} bytes in all", whole.bytes);
    let sent = sent(&listed(Surface::Operations, |_| true));
    assert!(sent <= SENT, "{sent} bytes are sent");
    let reads = |entry: &CatalogEntry| entry.operation.hints().read_only;
    for (list, most) in [
        (listed(Surface::Compact, |_| true), COMPACT),
        (listed(Surface::Compact, reads), COMPACT_READ_ONLY),
    ] {
        let bytes = Bill::of(&list).bytes;
        assert!(bytes <= most, "{bytes} of {most} bytes");
    }
}

#[test]
fn size_report_is_up_to_date() {
    let reads = |entry: &CatalogEntry| entry.operation.hints().read_only;
    let all = listed(Surface::Operations, |_| true);
    let mut text =
        "# Sizes\n\nWhat the list of tools takes, in bytes of JSON, by what is listed. Written by \
                    `UPDATE=1 cargo test`.\n\n## Surfaces\n\n"
            .to_owned();
    let table =
        |title: &str| format!("| {title} {HEAD}| --- | ---: | ---: | ---: | ---: | --- |\n");
    text += &table("Surface");
    text += &Bill::of(&all).row("`operations`");
    text += &Bill::of(&listed(Surface::Operations, reads)).row("`operations`, read-only");
    text += &Bill::of(&listed(Surface::Compact, |_| true)).row("`compact`");
    text += &Bill::of(&listed(Surface::Compact, reads)).row("`compact`, read-only");
    let compact = listed(Surface::Compact, |_| true);
    let (whole, compact) = (sent(&all), sent(&compact));
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
            let catalog = Catalog::with_presentation(presentation);
            let list = server::build_tools(surface, catalog.presentation(), catalog.iter());
            text += &Bill::of(&list).row(&format!("`{}`, `{name}`", profile.as_str()));
        }
    }
    text += "\n## Toolsets\n\nGroups of domains, on the surface `operations`.\n\n";
    text += &table("Toolset");
    for (group, _) in Catalog::groups() {
        let named = Toolsets::from_names([*group], &Catalog::domains()).unwrap();
        let list = listed(Surface::Operations, |entry| named.allows(entry.domain.name));
        text += &Bill::of(&list).row(&format!("`{group}`"));
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
        text += &Bill::of(&tools).row(domain);
    }
    text += "\n## Tools\n\n| Tool | Bytes | Tokens, about |\n| --- | ---: | ---: |\n";
    for tool in &all {
        let bytes = size(tool);
        writeln!(text, "| `{}` | {bytes} | {} |", tool.name, tokens(bytes)).unwrap();
    }
    super::check_file(Path::new("tool-schemas/SIZES.md"), &text);
}
