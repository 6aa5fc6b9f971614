//! `portkey-mcp policy`: checks, explains, tests and creates policy files.

mod init;
mod items;

use std::{
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use portkey_api::catalog::Catalog;
use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};
use portkey_policy::{
    DenialStage, Policy as Rules, PolicyTarget,
    cases::{self, OutsideVerdict, PolicyCase},
    import::{ImportFormat, import},
};

use super::terminal;
use crate::security::sanitize::escape_to_one_line;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Check whether a policy file is valid, and report likely mistakes.
    #[command(after_help = "\
Examples:
  portkey-mcp policy check policy.yaml
  portkey-mcp policy check policy.yaml --strict      with warnings as errors")]
    Check {
        /// Policy file.
        file: PathBuf,
        /// Also fail for unknown names of tools, and for paths that match nothing.
        #[arg(long)]
        strict: bool,
    },
    /// Show the decision on a call under a policy, the rule that decides, and the results of the other rules.
    #[command(after_help = "\
Examples:
  portkey-mcp policy explain policy.yaml --call delete-integration '{\"slug\":\"openai\"}'
  portkey-mcp policy explain policy.yaml --call create-config '{\"name\":\"a\",\"config\":{}}' \\
    --principal ci --time 2026-07-28T22:00:00Z")]
    Explain(Box<ExplainArgs>),
    /// Test a policy with a file of cases; exit with 1 if one fails.
    #[command(after_help = "\
Example:
  portkey-mcp policy test policy.yaml cases.yaml")]
    Test {
        /// Policy file.
        file: PathBuf,
        /// File of test cases.
        cases: PathBuf,
    },
    /// Import the rules of another gateway where they map one to one; exit with 1 if some do not.
    #[command(after_help = "\
Examples:
  portkey-mcp policy import --from agentgateway config.yaml > policy.yaml
  portkey-mcp policy import --from toolhive authz.yaml > policy.yaml")]
    Import {
        /// File of the other gateway.
        file: PathBuf,
        /// Gateway that the file is for.
        #[arg(long)]
        from: ImportSource,
    },
    /// Print a commented starter policy, which lists all tools by effect.
    #[command(after_help = "\
Example:
  portkey-mcp policy init --preset careful > policy.yaml")]
    Init {
        /// Predefined policy to start with; without it, the policy allows everything.
        #[arg(long)]
        preset: Option<init::Preset>,
    },
}

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// Policy file.
    file: PathBuf,
    /// Name of the tool, and its arguments as a JSON object.
    #[arg(
        long,
        required_unless_present_any = ["prompt", "resource"],
        num_args = 1..=2,
        value_names = ["TOOL", "JSON"]
    )]
    call: Vec<String>,
    /// Name of a prompt, in place of a tool.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["call", "resource"])]
    prompt: Option<String>,
    /// URI of a resource, in place of a tool.
    #[arg(long, value_name = "URI", conflicts_with = "call")]
    resource: Option<String>,
    /// Name of the caller.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Claims of the caller's token, as a JSON object.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// Address of the caller.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// Tool that the session has called before; may be repeated.
    #[arg(long, value_name = "TOOL")]
    called: Vec<String>,
    /// Answer of outside decision points, which are not asked.
    #[arg(long, value_name = "ANSWER")]
    outside: Option<OutsideAnswer>,
    /// Name that the client gives itself.
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Transport of the call: stdio, http or rest.
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<String>,
    /// Time of the call, such as 2026-07-28T22:00:00Z; without it, the current time.
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Treat the session as one that has read untrusted content.
    #[arg(long)]
    tainted: bool,
}

/// Answer of a decision point.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OutsideAnswer {
    Allow,
    Deny,
}

impl PolicyCommand {
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check { file, strict } => {
                check_policy(&Rules::load_without_warnings(&file)?, strict, out)
            }
            Self::Explain(explain) => explain.run(out).await,
            Self::Test { file, cases } => {
                test_policy(&Rules::load_without_warnings(&file)?, &cases, out).await
            }
            Self::Import { file, from } => import_policy(&file, from, out),
            Self::Init { preset } => {
                init::print_policy(preset, &Catalog::full(), out)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// Gateway that rules are imported from.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ImportSource {
    /// MCP authorization of agentgateway, in CEL.
    Agentgateway,
    /// Cedar policies of ToolHive.
    Toolhive,
}

/// Prints the imported policy. What does not map goes to standard error.
fn import_policy(
    file: &Path,
    from: ImportSource,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let context = || format!("cannot use {}", display_path(file));
    let text = read_to_string(file, MAX_CONFIG_BYTES).with_context(context)?;
    let format = match from {
        ImportSource::Agentgateway => ImportFormat::Agentgateway,
        ImportSource::Toolhive => ImportFormat::Toolhive,
    };
    let imported = import(format, &text).with_context(context)?;
    let mut log = terminal::stderr();
    for unmapped in &imported.unmapped {
        writeln!(log, "not imported: {}", escape_to_one_line(unmapped))?;
    }
    for note in &imported.notes {
        writeln!(log, "note: {}", escape_to_one_line(note))?;
    }
    write!(out, "{}", imported.text)?;
    Ok(match imported.unmapped.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn check_policy(rules: &Rules, strict: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    for note in rules.notes() {
        writeln!(out, "note: {}", escape_to_one_line(note))?;
    }
    for note in items::find_unknown(rules) {
        writeln!(out, "note: {}", escape_to_one_line(&note))?;
    }
    let level = if strict { "error" } else { "warning" };
    for warning in rules.warnings() {
        writeln!(out, "{level}: {}", escape_to_one_line(warning))?;
    }
    let catalog = Catalog::full();
    let hidden = catalog
        .iter()
        .filter(|entry| rules.hides(entry.operation))
        .count();
    let listed = catalog
        .iter()
        .filter(|entry| rules.can_permit(entry.operation) && !rules.hides(entry.operation))
        .count();
    let (name, count, revision) = (
        escape_to_one_line(rules.name()),
        rules.len(),
        rules.revision(),
    );
    let all = catalog.iter().count();
    let denied = all.saturating_sub(listed).saturating_sub(hidden);
    let noun = if count == 1 { "rule" } else { "rules" };
    writeln!(
        out,
        "{name} is valid: {count} {noun}, {hidden} of {all} tools hidden, {listed} listed, {denied} denied in any \
         case, revision {revision}"
    )?;
    Ok(match strict && !rules.warnings().is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

impl ExplainArgs {
    async fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let rules = Rules::load_without_warnings(&self.file)?;
        let mut call = self.call.into_iter();
        let tool = call.next().unwrap_or_default();
        let args = call
            .next()
            .map(|args| cases::parse_arguments(&args))
            .transpose()?
            .unwrap_or_default();
        let claims = self
            .claims
            .map(|claims| cases::parse_arguments(&claims))
            .transpose()
            .context("--claims")?;
        let case = PolicyCase {
            call: tool,
            prompt: self.prompt,
            resource: self.resource,
            args,
            principal: self.principal,
            claims,
            source: self.source,
            called: (!self.called.is_empty()).then_some(self.called),
            outside: self.outside.map(|answer| match answer {
                OutsideAnswer::Allow => OutsideVerdict::Allow,
                OutsideAnswer::Deny => OutsideVerdict::Deny,
            }),
            client: self.client,
            transport: self.transport,
            time: self.time,
            tainted: self.tainted,
            ..PolicyCase::default()
        };
        let catalog = Catalog::full();
        let cases::CaseResult {
            decision,
            trace: steps,
        } = case.run(&rules, &catalog).await?;
        writeln!(
            out,
            "{}",
            escape_to_one_line(&cases::describe_decision(&decision.decision))
        )?;
        if let portkey_policy::Decision::Deny(denied) = &decision.decision {
            writeln!(out, "  decided at: {}", denied.stage.as_str())?;
            if denied.stage == DenialStage::Outside && case.outside.is_none() {
                writeln!(
                    out,
                    "  assumed: the decision point gives no decision, as nothing is asked here; --outside allow or \
                     --outside deny says what it answers"
                )?;
            }
        }
        if let Some(rule) = decision.decision.rule() {
            writeln!(
                out,
                "  decided by: {}",
                escape_to_one_line(&rule.to_string())
            )?;
        }
        let is_unlisted = match (&case.prompt, &case.resource) {
            (Some(prompt), _) => !rules.can_permit_item(&PolicyTarget::Prompt(prompt)),
            (None, Some(uri)) => !rules.can_permit_item(&PolicyTarget::Resource(uri)),
            (None, None) => catalog
                .find(&case.call)
                .is_ok_and(|entry| !rules.can_permit(entry.operation)),
        };
        if is_unlisted {
            writeln!(out, "  not listed: no call of it can be permitted")?;
        }
        for step in steps {
            let shadow = if step.is_shadow { ", shadow" } else { "" };
            let rule = step.rule;
            let verb = step.action.as_str();
            let outcome = step.outcome;
            let line = format!("{rule} [{verb}{shadow}]: {outcome}");
            writeln!(out, "  {}", escape_to_one_line(&line))?;
        }
        for shadow in &decision.shadows {
            let name = &shadow.rule.name;
            let verb = shadow.action.as_str();
            let message = &shadow.message;
            let line = format!("shadow `{name}` would {verb}: {message}");
            writeln!(out, "  {}", escape_to_one_line(&line))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn test_policy(rules: &Rules, file: &Path, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let context = || format!("cannot use {}", display_path(file));
    let text = read_to_string(file, MAX_CONFIG_BYTES).with_context(context)?;
    let cases = cases::parse_cases(&text).with_context(context)?;
    let catalog = Catalog::full();
    let mut failed = 0;
    for (line, case) in &cases {
        if let Err(error) = case.check(rules, &catalog).await {
            failed += 1;
            let name = case.name.as_deref().unwrap_or(case.subject());
            let context = format!("line {line}: {name}: {error}");
            writeln!(out, "{}", escape_to_one_line(&context))?;
        }
    }
    writeln!(
        out,
        "{} of {} cases passed",
        cases.len() - failed,
        cases.len()
    )?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
