//! `portkey-mcp policy`: policy files checked, explained, tested and begun.

mod init;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use portkey_api::catalog::Catalog;
use portkey_bounded_file::{MAX_CONFIG_BYTES, display_path, read_to_string};
use portkey_policy::{
    Policy as Rules,
    cases::{self, PolicyCase},
};

use crate::security::sanitize::escape_to_one_line;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Say whether a policy file holds, and what in it is likely meant otherwise.
    #[command(after_help = "\
Examples:
  portkey-mcp policy check policy.yaml
  portkey-mcp policy check policy.yaml --strict      with warnings as errors")]
    Check {
        /// The policy file.
        file: PathBuf,
        /// Fail for names of tools that there are not, and for paths that lead to nothing, too.
        #[arg(long)]
        strict: bool,
    },
    /// Say what becomes of a call under a policy, which rule decides, and what the others say.
    #[command(after_help = "\
Examples:
  portkey-mcp policy explain policy.yaml --call delete-integration '{\"slug\":\"openai\"}'
  portkey-mcp policy explain policy.yaml --call create-config '{\"name\":\"a\",\"config\":{}}' \\
    --principal ci --time 2026-07-28T22:00:00Z")]
    Explain(Box<ExplainArgs>),
    /// Hold a policy against a file of cases; exit with 1 if one fails.
    #[command(after_help = "\
Example:
  portkey-mcp policy test policy.yaml cases.yaml")]
    Test {
        /// The policy file.
        file: PathBuf,
        /// The file of cases.
        cases: PathBuf,
    },
    /// Print a commented policy to begin with, which lists every tool by what it does.
    #[command(after_help = "\
Example:
  portkey-mcp policy init --preset careful > policy.yaml")]
    Init {
        /// What to begin with; a policy that allows everything when left out.
        #[arg(long)]
        preset: Option<init::Preset>,
    },
}

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// The policy file.
    file: PathBuf,
    /// The tool, and its arguments as a JSON object.
    #[arg(long, required = true, num_args = 1..=2, value_names = ["TOOL", "JSON"])]
    call: Vec<String>,
    /// Who calls.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// What the client calls itself.
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// What it comes over: stdio or http.
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<String>,
    /// When it comes, such as 2026-07-28T22:00:00Z; now when left out.
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// The session has read text that strangers wrote.
    #[arg(long)]
    tainted: bool,
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
            Self::Init { preset } => {
                init::print_policy(preset, &Catalog::full(), out)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn check_policy(rules: &Rules, strict: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let word = if strict { "error" } else { "warning" };
    for warning in rules.warnings() {
        writeln!(out, "{word}: {}", escape_to_one_line(warning))?;
    }
    let catalog = Catalog::full();
    let hidden = catalog
        .iter()
        .filter(|entry| rules.hides(entry.operation))
        .count();
    let listed = catalog
        .iter()
        .filter(|entry| rules.can_permit(entry.operation))
        .count();
    let (name, count, revision) = (
        escape_to_one_line(rules.name()),
        rules.len(),
        rules.revision(),
    );
    let all = catalog.iter().count();
    let noun = if count == 1 { "rule" } else { "rules" };
    writeln!(
        out,
        "{name} holds: {count} {noun}, {hidden} of {all} tools hidden, {listed} listed, revision {revision}"
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
        let case = PolicyCase {
            call: tool,
            args,
            principal: self.principal,
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
        }
        if let Some(rule) = decision.decision.rule() {
            writeln!(
                out,
                "  decided by: {}",
                escape_to_one_line(&rule.to_string())
            )?;
        }
        if catalog
            .find(&case.call)
            .is_ok_and(|entry| !rules.can_permit(entry.operation))
        {
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
        for noted in &decision.shadows {
            let name = &noted.rule.name;
            let verb = noted.action.as_str();
            let words = &noted.message;
            let line = format!("shadow `{name}` would {verb}: {words}");
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
            let name = case.name.as_deref().unwrap_or(&case.call);
            let context = format!("line {line}: {name}: {error}");
            writeln!(out, "{}", escape_to_one_line(&context))?;
        }
    }
    writeln!(
        out,
        "{} of {} cases hold",
        cases.len() - failed,
        cases.len()
    )?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
