//! `portkey-mcp call`: one tool from the shell, on the same path as an agent's call.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::{
    approval::{Answer, Denied, Form, Grant, How, Question, Reaction},
    dispatch::Dispatcher,
    operation::JsonMap,
    principal::Principal,
    reply,
    server::Server,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp call list-all-integrations --sandbox
  portkey-mcp call list-all-integrations all=true fields=slug,status --sandbox
  portkey-mcp call get-integration slug=openai-production --sandbox
  portkey-mcp call whoami
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
        server: &Server,
        local: &Principal,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let args = arguments(&self.arguments)?;
        let ask = async |question: &Question| ask(server.dispatcher(), local, question).await;
        match server.call_from_shell(local, &self.tool, args, ask).await {
            Ok(answer) => {
                serde_json::to_writer_pretty(&mut *out, &answer)?;
                writeln!(out)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => bail!(reply::words(&error)),
        }
    }
}

/// Asks whoever sits at the terminal; where there is none, waits until somebody has decided elsewhere.
async fn ask(
    dispatcher: &Dispatcher,
    local: &Principal,
    question: &Question,
) -> Result<Option<Answer>, Denied> {
    match (at_terminal(question), dispatcher.approvals()) {
        (Err(Denied::Nobody { .. }), Some(approvals)) => {
            let ticket = approvals.file(local, question).await?;
            approvals.decided(&ticket.id).await;
            Ok(None)
        }
        (said, _) => Ok(Some(Answer::Given(said))),
    }
}

/// Asks whoever sits at the terminal, if there is one: the question on standard error, the answer from
/// standard input.
fn at_terminal(question: &Question) -> Result<Grant, Denied> {
    let (input, mut screen) = (io::stdin(), io::stderr());
    if !(input.is_terminal() && screen.is_terminal()) {
        return Err(Denied::Nobody { tool: question.tool, rule: question.rule.clone() });
    }
    let prompt = if question.confirm.is_some() { "Name" } else { "yes or no" };
    let mut said = String::new();
    let asked = write!(screen, "{}\n\n{prompt}: ", question.text).and_then(|()| screen.flush());
    asked
        .and_then(|()| input.lock().read_line(&mut said))
        .map_err(|error| Denied::Unasked(error.to_string()))?;
    let said = said.trim();
    let form = Form {
        reaction: Reaction::Accept,
        approve: question.confirm.is_some() || ["y", "yes"].contains(&said),
        typed: Some(said.to_owned()),
    };
    question.answered(&form, How::Terminal, "terminal")
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
