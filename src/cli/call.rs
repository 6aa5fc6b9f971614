//! `portkey-mcp call`: one tool from the shell, on the same path as an agent's call.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::{dispatch::Dispatcher, operation::JsonMap, principal::Principal, reply};

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp call list-all-integrations --sandbox
  portkey-mcp call get-integration slug=openai-production --sandbox
  portkey-mcp call create-integration '{\"name\":\"Mine\",\"ai_provider_id\":\"openai\",\"key\":\"…\"}'
  portkey-mcp call update-mcp-integration mcp_integration_id=issue-tracker description:=null";

#[derive(Args, Debug)]
pub(super) struct Call {
    /// Name of the tool.
    tool: String,
    /// Arguments: a JSON object, or any number of `name=text` and `name:=json`.
    #[arg(value_name = "JSON | KEY=VALUE")]
    arguments: Vec<String>,
}

impl Call {
    pub(super) async fn run(
        &self,
        dispatcher: &Dispatcher,
        local: &Principal,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        match dispatcher.call(local, &self.tool, arguments(&self.arguments)?).await {
            Ok(answer) => {
                serde_json::to_writer_pretty(&mut *out, &answer)?;
                writeln!(out)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => bail!(reply::words(&error)),
        }
    }
}

fn arguments(given: &[String]) -> anyhow::Result<JsonMap> {
    if let [only] = given
        && only.trim_start().starts_with('{')
    {
        return serde_json::from_str(only).context("the arguments are no JSON object");
    }
    let mut map = JsonMap::new();
    for argument in given {
        let Some((name, value)) = argument.split_once('=') else {
            bail!("`{argument}` is no argument; write name=text, name:=json or one JSON object");
        };
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let value = serde_json::from_str(value);
                (name, value.with_context(|| format!("`{name}` is no JSON"))?)
            }
            // Text becomes a number or an object where the operation wants one.
            None => (name, Value::String(value.to_owned())),
        };
        if map.insert(name.to_owned(), value).is_some() {
            bail!("`{name}` is given twice");
        }
    }
    Ok(map)
}
