//! `portkey-mcp doctor`: checks the configuration, the connection and the key, and tells what to do.

mod checks;
mod clients;
mod configured;
mod report;
mod shared_store;

use std::{io::Write, process::ExitCode};

use clap::Args;

use self::report::Report;
pub(super) use self::{
    checks::ask_about_key,
    configured::{ConfiguredOption, without_credentials},
};
use super::options::Options;

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp doctor
  portkey-mcp doctor --sandbox
  portkey-mcp doctor --json
  portkey-mcp doctor --policy policy.yaml --audit-log audit.jsonl";

#[derive(Args, Debug)]
pub(super) struct DoctorCommand {
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    redis: shared_store::RedisOptions,
    /// Options that are set, with their sources.
    #[arg(skip)]
    pub(super) configured: Vec<ConfiguredOption>,
    /// Messages about options without effect.
    #[arg(skip)]
    pub(super) unused: Vec<String>,
}

impl DoctorCommand {
    /// Makes all checks and prints what was found. The process fails if a check does.
    pub(super) async fn run(
        &self,
        options: &Options,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let mut report = Report::default();
        checks::check_program(&mut report);
        checks::list_options(&mut report, &self.configured);
        checks::check_login(&mut report, options);
        checks::check_settings(&mut report, options, &self.unused);
        checks::check_policy(&mut report, options);
        checks::check_audit_log(&mut report, options);
        checks::check_journal(&mut report, options);
        shared_store::check_redis(&mut report, &self.redis, options).await;
        checks::check_connection(&mut report, options).await;
        checks::check_key(&mut report, options).await;
        clients::find_clients(&mut report);
        match self.json {
            true => report.print_json(out)?,
            false => report.print_text(out)?,
        }
        Ok(match report.failures() {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}
