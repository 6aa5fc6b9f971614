//! `portkey-mcp tools`: lists the tools and the size of their definitions.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use clap::{Args, ValueEnum};

use super::options::descriptions;

use portkey_api::{
    catalog::{Catalog, CatalogEntry},
    domains::{DOMAINS, Domain},
};
use portkey_operation::{ApiBase, CompiledOperation, Effect, Operation, Plan, Risk};

use crate::{
    mcp::{
        search::{SearchHit, SearchIndex},
        server,
        surface::{BuiltinAction, BuiltinTool, HistoryTool, Surface, builtin_tools},
    },
    security::sanitize::escape_to_one_line,
};

#[derive(Args, Debug)]
pub(super) struct ToolsCommand {
    /// Output format: `json` is the exact array of tools/list, `markdown` the reference.
    #[arg(long, default_value = "table")]
    format: OutputFormat,
    /// Print the ten available tools that match these search terms best, best first.
    #[arg(long, value_name = "TERMS")]
    search: Option<String>,
    /// Print the titles and descriptions as a file for --descriptions.
    #[arg(long, conflicts_with_all = ["format", "search"])]
    export_descriptions: bool,
}

/// Maximum number of tools that a search prints.
const MAX_SEARCH_HITS: usize = 10;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OutputFormat {
    Table,
    Json,
    Markdown,
}

impl ToolsCommand {
    pub(super) fn print(
        &self,
        catalog: &Catalog,
        is_listed: impl Fn(&CatalogEntry) -> bool,
        surface: Surface,
        has_history: bool,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let tools: Vec<_> = catalog.iter().filter(|entry| is_listed(entry)).collect();
        if let Some(words) = &self.search {
            let own = own_tools(&tools, Surface::Operations, has_history);
            let found = search_tools(&tools, &own, words, catalog)?;
            return print_found(&found, self.format, out);
        }
        let own = own_tools(&tools, surface, has_history);
        if self.export_descriptions {
            return descriptions::write_descriptions(
                tool_rows(&tools, &own, surface, catalog)
                    .iter()
                    .map(|(tool, _)| &**tool),
                out,
            );
        }
        match self.format {
            OutputFormat::Json => {
                let presentation = catalog.presentation();
                let mut tools = server::build_tools(surface, presentation, tools.into_iter());
                if has_history {
                    server::add_history(&mut tools, presentation);
                }
                serde_json::to_writer(&mut *out, &tools)?;
                writeln!(out)?;
            }
            OutputFormat::Table => print_table(&tool_rows(&tools, &own, surface, catalog), out)?,
            OutputFormat::Markdown => print_markdown(&tools, out)?,
        }
        Ok(())
    }
}

fn print_found(
    found: &[Cow<'_, CompiledOperation>],
    format: OutputFormat,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match format {
        OutputFormat::Json => {
            let tools: Vec<_> = found.iter().map(|tool| server::build_tool(tool)).collect();
            serde_json::to_writer(&mut *out, &tools)?;
            writeln!(out)?;
        }
        OutputFormat::Table => print_search_table(found, out)?,
        OutputFormat::Markdown => print_search_markdown(found, out)?,
    }
    Ok(())
}

/// Returns the operations that match best, and the workflows that fit as well.
fn search_tools<'a>(
    tools: &[&'a CatalogEntry],
    own: &[&'static BuiltinTool],
    words: &str,
    catalog: &Catalog,
) -> anyhow::Result<Vec<Cow<'a, CompiledOperation>>> {
    let index = SearchIndex::from_entries_and_tools(tools.iter().copied(), own.iter().copied());
    let hits = index.search_all(words, |_| true);
    let operation = |hit: &SearchHit| {
        let mut tools = tools.iter().copied();
        let entry = tools.find(|entry| entry.operation.name() == hit.operation.name())?;
        Some(Cow::<CompiledOperation>::Borrowed(entry.compiled()))
    };
    let tool = |hit: &SearchHit| {
        let mut own = own.iter();
        let tool = own.find(|tool| tool.operation.name() == hit.operation.name())?;
        Some(Cow::<CompiledOperation>::Owned(
            tool.with_presentation(catalog.presentation()),
        ))
    };
    let operations = hits.operations.iter().filter_map(operation);
    let found: Vec<_> = operations
        .take(MAX_SEARCH_HITS)
        .chain(hits.tools.iter().filter_map(tool))
        .collect();
    anyhow::ensure!(
        !found.is_empty(),
        "no available tool matches these search terms. Try a resource and an action, such as \"delete api \
         key\", or see all with `portkey-mcp tools`"
    );
    Ok(found)
}

fn print_search_table(
    tools: &[Cow<'_, CompiledOperation>],
    out: &mut impl Write,
) -> io::Result<()> {
    let widest = tools
        .iter()
        .map(|tool| tool.operation().name().len())
        .max()
        .unwrap_or(0);
    writeln!(out, "{:widest$}  {:6}  TITLE", "TOOL", "EFFECT")?;
    for tool in tools {
        let name = tool.operation().name();
        let effect = tool.operation().effect().as_str();
        let title = escape_to_one_line(tool.title());
        writeln!(out, "{name:widest$}  {effect:6}  {title}")?;
    }
    Ok(())
}

fn print_search_markdown(
    tools: &[Cow<'_, CompiledOperation>],
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "| Tool | Effect | Title |\n| --- | --- | --- |")?;
    for tool in tools {
        let name = tool.operation().name();
        let effect = tool.operation().effect().as_str();
        let title = escape_to_one_line(tool.title());
        writeln!(out, "| `{name}` | {effect} | {title} |")?;
    }
    Ok(())
}

/// Returns the built-in tools that a surface lists beside these operations, sorted by name.
fn own_tools(
    tools: &[&CatalogEntry],
    surface: Surface,
    has_history: bool,
) -> Vec<&'static BuiltinTool> {
    let offers = |name: &str| tools.iter().any(|entry| entry.operation.name() == name);
    let reaches = |effect| tools.iter().any(|entry| entry.operation.effect() == effect);
    let writes = [Effect::Create, Effect::Update, Effect::Delete];
    let history = builtin_tools().iter().filter(|tool| match tool.action {
        BuiltinAction::History(HistoryTool::Undo) => {
            has_history && writes.into_iter().any(&reaches)
        }
        BuiltinAction::History(_) => has_history,
        _ => false,
    });
    let mut own: Vec<_> = surface
        .builtin_tools(&reaches, offers)
        .chain(history)
        .collect();
    own.sort_by_key(|tool| tool.operation.name());
    own
}

/// Returns the tools that a surface lists, each with its domain. Built-in tools have none.
fn tool_rows<'a>(
    tools: &[&'a CatalogEntry],
    own: &[&'static BuiltinTool],
    surface: Surface,
    catalog: &Catalog,
) -> Vec<(Cow<'a, CompiledOperation>, &'static str)> {
    let operations = tools.iter().filter(|_| surface.lists_operations());
    let operations = operations.map(|entry| (Cow::Borrowed(entry.compiled()), entry.domain.name));
    let builtin = own
        .iter()
        .map(|tool| tool.with_presentation(catalog.presentation()));
    operations
        .chain(builtin.map(|tool| (Cow::Owned(tool), "")))
        .collect()
}

fn print_table(
    tools: &[(Cow<'_, CompiledOperation>, &'static str)],
    out: &mut impl Write,
) -> io::Result<()> {
    let widest = tools
        .iter()
        .map(|(tool, _)| tool.operation().name().len())
        .max()
        .unwrap_or(0);
    let domains = tools.iter().map(|(_, domain)| domain.len());
    let widest_domain = domains.chain(["DOMAIN".len()]).max().unwrap_or(0);
    let widths = ColumnWidths {
        tool: widest,
        domain: widest_domain,
    };
    let line = |out: &mut _, cells: [&str; 5]| print_row(out, &widths, cells);
    line(out, ["TOOL", "DOMAIN", "EFFECT", "HINTS", "BYTES"])?;
    let mut total = 0;
    for (tool, domain) in tools {
        let bytes = json_size(tool)?;
        total += bytes;
        let operation = tool.operation();
        let effect = operation.effect().as_str();
        let hints = format_hints(operation);
        line(
            out,
            [operation.name(), domain, effect, &hints, &bytes.to_string()],
        )?;
    }
    line(
        out,
        [
            &format!("{} tools", tools.len()),
            "",
            "",
            "",
            &total.to_string(),
        ],
    )
}

/// Widths of the columns whose contents differ most, in characters.
struct ColumnWidths {
    tool: usize,
    domain: usize,
}

fn print_row(out: &mut impl Write, widths: &ColumnWidths, cells: [&str; 5]) -> io::Result<()> {
    let [tool, domain, effect, hints, bytes] = cells;
    let ColumnWidths {
        tool: tool_width,
        domain: domain_width,
    } = *widths;
    writeln!(
        out,
        "{tool:tool_width$}  {domain:domain_width$}  {effect:6}  {hints:36}  {bytes:>6}"
    )
}

/// Writes the reference in `docs/tools.md`.
fn print_markdown(tools: &[&CatalogEntry], out: &mut impl Write) -> io::Result<()> {
    let is_stable = |entry: &&&CatalogEntry| entry.operation.is_stable();
    let count = tools.iter().filter(is_stable).count();
    writeln!(
        out,
        "# Tools\n\nAll {count} tools by domain: what each sends, what its hints promise, which"
    )?;
    writeln!(
        out,
        "API-key scope suffices (any one of those named), and the other names it answers to."
    )?;
    writeln!(
        out,
        "A risk is one that `--approve-sensitive` asks for ([approval.md](approval.md#sensitive-calls)), with the \
         arguments that it depends on."
    )?;
    writeln!(
        out,
        "Written by `portkey-mcp tools --format markdown --sandbox --preview`."
    )?;
    let previews = tools.len() - count;
    if previews > 0 {
        writeln!(
            out,
            "\nThe {previews} marked `preview` send to endpoints that Portkey has not documented and may change. \
             They are off without `--preview` ([access.md](access.md#preview-operations))."
        )?;
    }
    let offered = |domain: &&Domain| tools.iter().any(|entry| entry.domain.name == domain.name);
    for domain in DOMAINS.iter().filter(offered) {
        let name = domain.name;
        let about = domain.about;
        writeln!(out, "\n## {name}\n\n{about}\n")?;
        writeln!(
            out,
            "| Tool | Request | Hints | Risks | Scopes | Also called |\n| --- | --- | --- | --- | --- | --- |"
        )?;
        for entry in tools.iter().filter(|entry| entry.domain.name == name) {
            print_markdown_row(entry, out)?;
        }
    }
    Ok(())
}

fn print_markdown_row(entry: &CatalogEntry, out: &mut impl Write) -> io::Result<()> {
    let operation = entry.operation;
    let name = operation.name();
    let method = operation.method();
    let path = operation.path();
    let host = match operation.base() {
        ApiBase::ControlPlane | ApiBase::Gateway => "/v1",
        ApiBase::ControlPlaneV2 => "/v2",
        ApiBase::Registry => "registry: ",
        ApiBase::Catalogue => "public: ",
        ApiBase::PriceLists => "price lists: ",
        ApiBase::Enkrypt => "Enkrypt AI: ",
    };
    let code = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (scopes, names) = (
        code(operation.required_scopes()),
        code(operation.alias_names()),
    );
    let plan = match operation.plan() {
        Plan::Any => "",
        Plan::Enterprise if scopes.is_empty() => "Enterprise plan",
        Plan::Enterprise => "; Enterprise plan",
    };
    let hints = format_hints(operation);
    let risks = format_risks(operation);
    writeln!(
        out,
        "| `{name}` | `{method} {host}{path}` | {hints} | {risks} | {scopes}{plan} | {names} |"
    )
}

/// Returns the size of the tool in the result of `tools/list`, in bytes.
fn json_size(tool: &CompiledOperation) -> serde_json::Result<usize> {
    serde_json::to_vec(&server::build_tool(tool)).map(|json| json.len())
}

/// Returns the risks of an operation, each with the arguments that it depends on.
fn format_risks(operation: &Operation) -> String {
    let possible = operation.possible_risks();
    let of = |risk: Risk| {
        let arguments: Vec<_> = possible
            .iter()
            .filter(|(known, _)| *known == risk)
            .collect();
        let named: Vec<_> = arguments
            .iter()
            .filter_map(|(_, argument)| argument.map(|argument| format!("`{argument}`")))
            .collect();
        match named.is_empty() {
            _ if arguments.is_empty() => None,
            true => Some(risk.as_str().to_owned()),
            false => Some(format!("{} ({})", risk.as_str(), named.join(", "))),
        }
    };
    let risks: Vec<_> = Risk::ALL.into_iter().filter_map(of).collect();
    risks.join(", ")
}

/// Returns the hints that are set.
fn format_hints(operation: &Operation) -> String {
    let hints = operation.hints();
    let all = [
        (hints.read_only, "read-only"),
        (hints.destructive, "destructive"),
        (hints.idempotent, "idempotent"),
        (hints.open_world, "open-world"),
        (!operation.is_stable(), "preview"),
    ];
    all.iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, word)| *word)
        .collect::<Vec<_>>()
        .join(", ")
}
