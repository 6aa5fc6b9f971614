//! `portkey-mcp call`: one tool from the shell, on the same path as an agent's call.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use portkey_operation::JsonMap;
use serde_json::Value;

use super::{terminal, user_name::user_name};
use crate::{
    auth::principal::Principal,
    mcp::{
        reply,
        server::{KEY_MISSING_FIELD, KEY_REFUSED_FIELD, Server},
        surface::{self, BuiltinAction},
    },
    pipeline::{
        Dispatcher,
        approval::{
            Approval, ApprovalError, ApprovalMethod, ApprovalRequest, ApprovalResponse, FormAction,
            FormResponse,
        },
    },
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
pub(super) struct CallCommand {
    /// Name of the tool.
    tool: String,
    /// Arguments: a JSON object, or any number of `name=text` and `name:=json`.
    #[arg(value_name = "JSON | KEY=VALUE")]
    arguments: Vec<String>,
}

impl CallCommand {
    pub(super) async fn run(
        &self,
        server: &Server,
        local: &Principal,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let args = parse_arguments(&self.arguments)?;
        let ask = async |question: &ApprovalRequest| {
            request_approval(server.dispatcher(), local, question).await
        };
        match server.call_from_shell(local, &self.tool, args, ask).await {
            Ok(answer) => {
                serde_json::to_writer_pretty(&mut *out, &answer)?;
                writeln!(out)?;
                if reports(KEY_REFUSED_FIELD, &self.tool, &answer) {
                    bail!("Portkey rejected the key. Check PORTKEY_API_KEY and --base-url");
                }
                if reports(KEY_MISSING_FIELD, &self.tool, &answer) {
                    bail!(
                        "there is no Portkey API key. Run `portkey-mcp login`, or set PORTKEY_API_KEY or \
                         --api-key-file"
                    );
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => bail!(reply::error_message(&error)),
        }
    }
}

/// Returns true if this is a result of `whoami` that reports this about the key.
fn reports(field: &str, tool: &str, answer: &Value) -> bool {
    let is_whoami =
        surface::find_builtin(tool).is_some_and(|own| own.action == BuiltinAction::WhoAmI);
    is_whoami && answer.get(field) == Some(&Value::Bool(true))
}

/// Asks the user of the terminal. Without a terminal, waits for a decision at the approval server.
pub(super) async fn request_approval(
    dispatcher: &Dispatcher,
    local: &Principal,
    question: &ApprovalRequest,
) -> Result<Option<ApprovalResponse>, ApprovalError> {
    match (prompt_at_terminal(question), dispatcher.approvals()) {
        (Err(ApprovalError::NoApprover { .. }), Some(approvals)) => {
            let ticket = approvals.create_ticket(local, question).await?;
            approvals.wait_for_decision(&ticket.id).await;
            Ok(None)
        }
        (response, _) => Ok(Some(ApprovalResponse::Resolved(response))),
    }
}

/// Asks the user of the terminal: writes the request to standard error and reads the response from standard
/// input.
///
/// # Errors
/// Returns an error if there is no terminal, or the call is not approved.
fn prompt_at_terminal(question: &ApprovalRequest) -> Result<Approval, ApprovalError> {
    let input = io::stdin();
    let mut screen = terminal::stderr();
    let is_asked_elsewhere = question.approvers.is_some();
    if is_asked_elsewhere || !(input.is_terminal() && terminal::is_interactive()) {
        return Err(ApprovalError::NoApprover {
            tool: question.tool,
            rule: question.rule.clone(),
        });
    }
    let needs_name = question.confirm.is_some();
    let form = write!(screen, "{}\n\n", question.text)
        .and_then(|()| read_decision(&mut input.lock(), &mut screen, needs_name))
        .map_err(|error| ApprovalError::RequestFailed(error.to_string()))?;
    let by = user_name().unwrap_or_else(|| "terminal".to_owned());
    question.resolve(&form, ApprovalMethod::Terminal, &by)
}

/// Maximum length of a typed line, in bytes. A longer line is read as several.
const MAX_INPUT_LINE_BYTES: u64 = 64 << 10;

/// Asks until the input is a decision. The end of the input cancels the request.
fn read_decision(
    mut input: impl BufRead,
    screen: &mut impl Write,
    needs_name: bool,
) -> io::Result<FormResponse> {
    let (prompt, again) = match needs_name {
        true => (
            "Name, or no",
            "Nothing is decided: type the name to approve, or no to deny.",
        ),
        false => (
            "yes or no",
            "Nothing is decided: type yes to approve, or no to deny.",
        ),
    };
    loop {
        write!(screen, "{prompt}: ")?;
        screen.flush()?;
        let mut line = String::new();
        if input
            .by_ref()
            .take(MAX_INPUT_LINE_BYTES)
            .read_line(&mut line)?
            == 0
        {
            return Ok(FormResponse {
                action: FormAction::Cancel,
                approve: false,
                typed_name: None,
            });
        }
        let typed = line.trim();
        let form = |reaction, approve| FormResponse {
            action: reaction,
            approve,
            typed_name: Some(typed.to_owned()),
        };
        match typed.to_ascii_lowercase().as_str() {
            "" => {}
            // Other input is a name, even `yes`: a name that is not the expected one approves nothing.
            _ if needs_name && !["n", "no"].contains(&typed) => {
                return Ok(form(FormAction::Accept, true));
            }
            "n" | "no" => return Ok(form(FormAction::Decline, false)),
            "y" | "yes" => return Ok(form(FormAction::Accept, true)),
            _ => {}
        }
        writeln!(screen, "{again}")?;
    }
}

fn parse_arguments(given: &[String]) -> anyhow::Result<JsonMap> {
    if let [only] = given
        && only.trim_start().starts_with('{')
    {
        return serde_json::from_str(only).context("the arguments are not a JSON object");
    }
    let mut map = JsonMap::new();
    for argument in given {
        let Some((name, value)) = argument.split_once('=') else {
            bail!(
                "`{argument}` is not an argument; write name=text, name:=json or one JSON object"
            );
        };
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let value = serde_json::from_str(value);
                (
                    name,
                    value.with_context(|| format!("`{name}` is not JSON"))?,
                )
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    struct Case {
        input: &'static str,
        needs_name: bool,
        reaction: FormAction,
        approve: bool,
        typed: Option<&'static str>,
        prompts: usize,
    }

    const CANCELLED: Case = Case {
        input: "",
        needs_name: false,
        reaction: FormAction::Cancel,
        approve: false,
        typed: None,
        prompts: 1,
    };

    #[test]
    fn terminal_prompt_repeats_until_a_decision_or_the_end_of_input() {
        let yes = Case {
            reaction: FormAction::Accept,
            approve: true,
            ..CANCELLED
        };
        let no = Case {
            reaction: FormAction::Decline,
            ..CANCELLED
        };
        let cases = [
            CANCELLED,
            Case {
                input: "\n \n",
                prompts: 3,
                ..CANCELLED
            },
            Case {
                input: "perhaps\n",
                prompts: 2,
                ..CANCELLED
            },
            Case {
                input: "yes\n",
                typed: Some("yes"),
                ..yes
            },
            Case {
                input: "\nY\n",
                typed: Some("Y"),
                prompts: 2,
                ..yes
            },
            Case {
                input: "\n\nno\n",
                typed: Some("no"),
                prompts: 3,
                ..no
            },
            Case {
                input: "\nOpenAI\n",
                needs_name: true,
                typed: Some("OpenAI"),
                prompts: 2,
                ..yes
            },
            Case {
                input: "no\n",
                needs_name: true,
                typed: Some("no"),
                ..no
            },
            Case {
                input: "yes\n",
                needs_name: true,
                typed: Some("yes"),
                ..yes
            },
            Case {
                input: "\n",
                needs_name: true,
                prompts: 2,
                ..CANCELLED
            },
        ];
        for case in cases {
            let mut screen = Vec::new();
            let form =
                read_decision(&mut case.input.as_bytes(), &mut screen, case.needs_name).unwrap();
            let screen = String::from_utf8(screen).unwrap();
            let prompts = screen.matches(": ").count() - screen.matches("decided: ").count();
            assert_eq!(
                (
                    form.action,
                    form.approve,
                    form.typed_name.as_deref(),
                    prompts
                ),
                (case.reaction, case.approve, case.typed, case.prompts),
                "{:?}: {screen}",
                case.input
            );
        }
    }
}
