//! `portkey-mcp plan` and `portkey-mcp apply`: several changes from a file, shown before they are made.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use portkey_bounded_file::{display_path, read_to_string};
use serde::{Deserialize, Serialize};

use super::call::request_approval;
use crate::{
    auth::principal::Principal,
    changes::plan::{
        AppliedPlan, ChangePlan, DONE_ALREADY, FileProgress, MAX_PLAN_BYTES, PlannedChanges,
        StepInput, StopReason, parse_document, write_private,
    },
    mcp::{reply, server::Server},
    pipeline::approval::ApprovalRequest,
    security::sanitize::escape_to_one_line,
};

pub(super) const PLAN_EXAMPLES: &str = "\
Examples:
  portkey-mcp plan changes.yaml --sandbox
  portkey-mcp plan changes.yaml --output changes.plan

A file is a list of steps, as YAML or JSON:
  - id: routing
    tool: create-config
    arguments: {name: Routing, workspace_id: ws-research, config: {retry: {attempts: 3}}}
  - tool: update-config
    arguments: {slug: pc-trial-split, patch: {name: \"Split, before ${routing.id}\"}}";

pub(super) const APPLY_EXAMPLES: &str = "\
Examples:
  portkey-mcp apply changes.plan               a plan that was shown before; stops if anything has changed
  portkey-mcp apply changes.yaml               plans, shows and applies; an interrupted run leaves changes.yaml.plan
  portkey-mcp apply changes.yaml --dry-run     shows the plan and sends nothing

Exits with 1 if the plan stopped. Applied again it goes on, and makes no write twice.";

/// Maximum size of a file with a computed plan, in bytes.
const MAX_PLAN_FILE_BYTES: u64 = 4 * MAX_PLAN_BYTES as u64;

#[derive(Args, Debug)]
pub(super) struct PlanCommand {
    /// File with the changes, as YAML or JSON.
    file: PathBuf,
    /// File for the plan, to be applied later.
    #[arg(long, value_name = "PLAN")]
    output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct ApplyCommand {
    /// Plan from `plan --output`, or a file with changes.
    #[arg(value_name = "PLAN_OR_FILE")]
    file: PathBuf,
}

/// A computed plan in a file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    portkey_mcp_plan: ChangePlan,
    /// Digest of the plan, which shows that it was changed by accident.
    digest: String,
}

impl PlanCommand {
    pub(super) async fn run(
        &self,
        server: &Server,
        local: &Principal,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let planned = plan_file(server, local, &self.file).await?;
        print_steps(&planned, out)?;
        writeln!(out, "\n{}; nothing was sent.", count_steps(&planned))?;
        if let Some(output) = &self.output {
            write_plan(output, &planned.plan)?;
            let path = escape_to_one_line(&output.to_string_lossy()).into_owned();
            writeln!(
                out,
                "\nThe plan is in {path}. It can be applied within an hour."
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl ApplyCommand {
    /// Applies the plan. A dry run shows it instead, as it would be now.
    pub(super) async fn run(
        &self,
        server: &Server,
        local: &Principal,
        is_dry_run: bool,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let (plan, plan_path) = match read_plan(&self.file)? {
            Some(plan) if is_dry_run => {
                if !plan.is_known_form() || plan.is_expired() {
                    bail!(
                        "the plan is of another version, or its time is over; make it again with `portkey-mcp plan`"
                    );
                }
                print_dry_run(&compute_plan(server, local, to_inputs(plan)).await?, out)?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(plan) => (plan, self.file.clone()),
            None => {
                let plan_path = with_suffix(&self.file, ".plan");
                if plan_path.exists() {
                    let path = plan_path.to_string_lossy().into_owned();
                    bail!(
                        "there is a plan of it that did not end: `portkey-mcp apply {path}` goes on with it. Remove \
                         {path} to begin anew"
                    );
                }
                let planned = plan_file(server, local, &self.file).await?;
                if is_dry_run {
                    print_dry_run(&planned, out)?;
                    return Ok(ExitCode::SUCCESS);
                }
                print_steps(&planned, out)?;
                writeln!(out, "\n{}\n", count_steps(&planned))?;
                write_plan(&plan_path, &planned.plan)?;
                (planned.plan, plan_path)
            }
        };
        let progress = FileProgress::take(&with_suffix(&plan_path, ".progress"))?;
        let ask = async |question: &ApprovalRequest| {
            request_approval(server.dispatcher(), local, question).await
        };
        let applied = server.apply_from_shell(local, &plan, &progress, ask).await;
        let is_own_plan = plan_path != self.file;
        let is_complete = applied.as_ref().is_ok_and(AppliedPlan::is_complete);
        // The progress of a plan that its user keeps stays, and says that it is done.
        if is_own_plan && (is_complete || !progress.is_begun()) {
            // What is left is expired soon.
            _ = fs::remove_file(&plan_path);
            progress.remove();
        }
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => bail!(reply::error_message(&error)),
        };
        print_end(&applied, out)?;
        Ok(match is_complete {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

async fn plan_file(
    server: &Server,
    local: &Principal,
    file: &Path,
) -> anyhow::Result<PlannedChanges> {
    let text = read_to_string(file, MAX_PLAN_BYTES as u64)
        .with_context(|| format!("cannot read {}", file.to_string_lossy()))?;
    // The file has a name, and is not the argument of a tool.
    let steps = parse_document(&text).map_err(|error| {
        let file = display_path(file);
        match error.to_string().strip_prefix("`document`: ") {
            Some(rest) => anyhow!("{file} {rest}"),
            None => anyhow!("{file}: {error}"),
        }
    })?;
    compute_plan(server, local, steps).await
}

async fn compute_plan(
    server: &Server,
    local: &Principal,
    steps: Vec<StepInput>,
) -> anyhow::Result<PlannedChanges> {
    match server.plan_from_shell(local, steps).await {
        Ok(planned) => Ok(planned),
        Err(error) => bail!(reply::error_message(&error)),
    }
}

/// Returns the steps of a computed plan as they were written.
fn to_inputs(plan: ChangePlan) -> Vec<StepInput> {
    let steps = plan.steps.into_iter();
    steps
        .map(|step| StepInput {
            id: Some(step.id),
            tool: step.tool,
            arguments: step.args,
        })
        .collect()
}

/// Reads a computed plan. Returns `None` for another file.
fn read_plan(file: &Path) -> anyhow::Result<Option<ChangePlan>> {
    let text = read_to_string(file, MAX_PLAN_FILE_BYTES)
        .with_context(|| format!("cannot read {}", file.to_string_lossy()))?;
    if !text.starts_with("{\"portkey_mcp_plan\"") {
        return Ok(None);
    }
    let read: PlanFile = serde_json::from_str(&text)
        .context("the plan cannot be read; make it again with `portkey-mcp plan`")?;
    if read.portkey_mcp_plan.digest() != read.digest {
        bail!("the plan was changed since it was made; make it again with `portkey-mcp plan`");
    }
    Ok(Some(read.portkey_mcp_plan))
}

/// Writes a plan for its user only, because its arguments may hold secrets.
fn write_plan(path: &Path, plan: &ChangePlan) -> anyhow::Result<()> {
    let file = PlanFile {
        digest: plan.digest(),
        portkey_mcp_plan: plan.clone(),
    };
    let write = || -> io::Result<()> {
        write_private(path, &serde_json::to_vec(&file)?)?;
        // That of a plan which was there before.
        match fs::remove_file(with_suffix(path, ".progress")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    write().with_context(|| format!("cannot write {}", path.to_string_lossy()))
}

fn print_steps(planned: &PlannedChanges, out: &mut impl Write) -> io::Result<()> {
    for step in &planned.steps {
        for line in step.to_lines() {
            writeln!(out, "{}", escape_to_one_line(&line))?;
        }
    }
    Ok(())
}

fn print_dry_run(planned: &PlannedChanges, out: &mut impl Write) -> io::Result<()> {
    print_steps(planned, out)?;
    let steps = count_steps(planned);
    writeln!(out, "\n{steps}; this is a dry run, and nothing was sent.")
}

/// Writes the number of steps, such as `2 steps`.
fn count_steps(planned: &PlannedChanges) -> String {
    match planned.steps.len() {
        1 => "1 step".to_owned(),
        count => format!("{count} steps"),
    }
}

fn print_end(applied: &AppliedPlan, out: &mut impl Write) -> io::Result<()> {
    for done in &applied.done {
        let text = |name: &str| {
            done.get(name)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        writeln!(out, "done      {}: {}", text("id"), text("tool"))?;
        if let Some(answer) = done.get("answer") {
            writeln!(out, "          {}", escape_to_one_line(&answer.to_string()))?;
        }
    }
    if applied.is_done_already {
        writeln!(out, "\n{DONE_ALREADY}")?;
    }
    for id in &applied.not_done {
        writeln!(out, "not done  {id}")?;
    }
    if let Some((step, reason, error)) = &applied.stopped {
        let what = match reason {
            StopReason::Drift => "stopped before",
            StopReason::Failed => "failed at",
            StopReason::InDoubt => "in doubt at",
        };
        writeln!(out, "\n{what} {step}: {}", escape_to_one_line(error))?;
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
