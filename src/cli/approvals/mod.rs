//! `portkey-mcp approvals`: approves and denies the pending calls of a server.

mod watch;

use std::{
    borrow::Cow,
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use portkey_bounded_file::display_path;
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{options::Options, user_name::user_name};
use crate::{
    http_client::build_client,
    security::{
        sanitize::{escape_to_one_line, first_chars},
        secrets::{FileProtection, read_protected_file},
    },
};

pub(super) const EXAMPLES: &str = "\
Examples:
  portkey-mcp http --approve-deletes --admin-listen 127.0.0.1:0 --admin-file admin.json    the server
  portkey-mcp approvals list --admin-file admin.json
  portkey-mcp approvals list --state pending --caller support --admin-file admin.json
  portkey-mcp approvals watch --admin-file admin.json
  portkey-mcp approvals show 3f9a51 --admin-file admin.json
  portkey-mcp approvals approve 3f9a51 --admin-file admin.json";

/// Maximum length of a target or a reason in the list, in characters.
const MAX_COLUMN_CHARS: usize = 60;

/// Timeout of a request, longer than a running server ever takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of a response, in bytes: more than all pending calls need.
const MAX_RESPONSE_BYTES: usize = 32 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum ApprovalsCommand {
    /// List pending and recently decided calls, oldest first.
    #[command(after_help = "\
Examples:
  portkey-mcp approvals list --admin-file admin.json
  portkey-mcp approvals list --state pending --caller support --admin-file admin.json
  portkey-mcp approvals list --limit 10 --after 3f9a51 --admin-file admin.json")]
    List(ListArgs),
    /// Print each new pending call on a line, until interrupted.
    #[command(after_help = "\
Example:
  portkey-mcp approvals watch --admin-file admin.json")]
    Watch,
    /// Show one call, with the changes it would make and the risk.
    #[command(after_help = "\
Example:
  portkey-mcp approvals show 3f9a51 --admin-file admin.json")]
    Show {
        /// Ticket of the call, or at least its first six digits, unique among the tickets of the last hour.
        ticket: String,
    },
    /// Approve one call; it is executed when its caller repeats it.
    #[command(after_help = "\
Examples:
  portkey-mcp approvals approve 3f9a51 --admin-file admin.json
  portkey-mcp approvals approve 3f9a51 --by ann --digest DIGEST --admin-file admin.json
  portkey-mcp approvals approve 3f9a51 --name openai-production --admin-file admin.json")]
    Approve {
        #[command(flatten)]
        about: DecisionArgs,
        /// Name of the resource, if the approver has to type it.
        #[arg(long)]
        name: Option<String>,
    },
    /// Deny one call.
    #[command(after_help = "\
Example:
  portkey-mcp approvals deny 3f9a51 --by ann --admin-file admin.json")]
    Deny {
        #[command(flatten)]
        about: DecisionArgs,
    },
}

// No rustdoc: clap would show it as the command's help.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// List only calls of this caller.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// List only calls of this tool.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// List only calls in this state.
    #[arg(long)]
    state: Option<TicketState>,
    /// Maximum number of calls to list, up to 200.
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// List the calls after this ticket.
    #[arg(long, value_name = "TICKET")]
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TicketState {
    Pending,
    Approved,
    Denied,
}

impl TicketState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

// No rustdoc: clap would show it as the command's help.
#[derive(Args, Debug)]
pub(super) struct DecisionArgs {
    /// Ticket of the call, or at least its first six digits, unique among the tickets of the last hour.
    ticket: String,
    /// Digest that `show` printed. A ticket with another digest is not decided.
    #[arg(long)]
    digest: Option<String>,
    /// Name of the approver, for the audit log; by default, `$USER` or `$LOGNAME`, or else the name of the account.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Address and token of the approval server, from its file.
#[derive(Deserialize)]
struct AdminAccess {
    url: String,
    token: String,
}

struct ApprovalClient {
    url: Url,
    token: SecretString,
    client: Client,
}

impl ApprovalsCommand {
    pub(super) async fn run(&self, options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
        let client = ApprovalClient::from_options(options)?;
        match self {
            Self::List(filter) => print_tickets(&client.list_tickets(filter).await?, out)?,
            Self::Watch => watch::follow(options, client, out).await?,
            Self::Show { ticket } => {
                let ticket = client.find_ticket(ticket).await?;
                writeln!(
                    out,
                    "{}\n\nTicket: {}, {}\nDigest: {}",
                    multiline_field(&ticket, "text"),
                    single_line_field(&ticket, "id"),
                    format_state(&ticket),
                    single_line_field(&ticket, "digest")
                )?;
            }
            Self::Approve { about, name } => {
                client.decide(about, true, name.as_deref(), out).await?
            }
            Self::Deny { about } => client.decide(about, false, None, out).await?,
        }
        Ok(())
    }
}

impl ApprovalClient {
    fn from_options(options: &Options) -> anyhow::Result<Self> {
        let file = options.guard.admin_file().ok_or_else(|| {
            anyhow!("give --admin-file, the file that the server with --admin-listen wrote")
        })?;
        let context = |error: io::Error| match error.kind() {
            // The server removes it when it ends.
            io::ErrorKind::NotFound => {
                anyhow!(
                    "there is no file {}; does the server run?",
                    display_path(file)
                )
            }
            _ => anyhow!(error).context(format!("cannot use {}", display_path(file))),
        };
        let text = read_protected_file(file, FileProtection::Private).map_err(context)?;
        // Not the error itself, for it may repeat the token.
        let invalid_file = || {
            anyhow!(
                "{} was not written by a portkey-mcp server",
                display_path(file)
            )
        };
        let AdminAccess { url, token } =
            serde_json::from_str(text.expose_secret()).map_err(|_| invalid_file())?;
        let (url, token) = (url.parse().map_err(|_| invalid_file())?, token.into());
        Ok(Self {
            url,
            token,
            client: build_client(|| {
                let builder = options.http_client_builder()?;
                Ok::<_, anyhow::Error>(builder.no_proxy().timeout(REQUEST_TIMEOUT))
            })?,
        })
    }

    /// Returns the tickets that match, and the ticket that the next page begins after.
    async fn list_tickets(&self, filter: &ListArgs) -> anyhow::Result<Value> {
        let mut url = self.url.join("approvals")?;
        let limit = filter.limit.to_string();
        // Tools can be called with underscores, too.
        let tool = filter.tool.as_ref().map(|tool| tool.replace('_', "-"));
        let fields = [
            ("caller", filter.caller.as_deref()),
            ("tool", tool.as_deref()),
            ("state", filter.state.map(TicketState::as_str)),
            ("after", filter.after.as_deref()),
            ("limit", Some(&limit)),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut().extend_pairs(given);
        self.send_request(Method::GET, url, None).await
    }

    /// Returns the only ticket whose id begins with `start`.
    async fn find_ticket(&self, start: &str) -> anyhow::Result<Value> {
        self.send_request(Method::GET, self.ticket_url(start)?, None)
            .await
    }

    /// Returns the address of a ticket.
    fn ticket_url(&self, id: &str) -> anyhow::Result<Url> {
        // Nothing else may become a part of the path.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!(
                "`{}` is not a ticket: tickets consist of hexadecimal digits",
                id.escape_debug()
            );
        }
        Ok(self.url.join(&format!("approvals/{id}"))?)
    }

    async fn send_request(
        &self,
        method: Method,
        url: Url,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self
            .client
            .request(method, url)
            .bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let mut answer = answer.context("the server cannot be reached; does it still run?")?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if bytes.len() + chunk.len() > MAX_RESPONSE_BYTES {
                bail!(
                    "the answer has more than {MAX_RESPONSE_BYTES} bytes, so it is not from a portkey-mcp server; \
                     is the address in --admin-file right?"
                );
            }
            bytes.extend_from_slice(&chunk);
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            let why = body
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or(status.as_str());
            bail!("{}", escape_to_one_line(why));
        }
        Ok(body)
    }

    /// Decides a ticket in its current form, or in the form with the given digest.
    async fn decide(
        &self,
        about: &DecisionArgs,
        approve: bool,
        name: Option<&str>,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let ticket = self.find_ticket(&about.ticket).await?;
        let shown = single_line_field(&ticket, "digest");
        let digest = about.digest.as_deref().unwrap_or(&shown);
        let by = approver_name(about.by.as_deref());
        let decision = json!({ "approve": approve, "digest": digest, "name": name, "by": by });
        let url = self.ticket_url(&single_line_field(&ticket, "id"))?;
        let decided = self.send_request(Method::POST, url, Some(decision)).await;
        let decided = decided.map_err(|error| {
            match error
                .to_string()
                .strip_prefix("to approve it, type its name: ")
            {
                Some(expected) => anyhow!(
                    "{}to approve it, repeat the command with --name {expected}",
                    match name {
                        Some(name) => format!("`{}` is not its name; ", escape_to_one_line(name)),
                        None => String::new(),
                    }
                ),
                None => error,
            }
        })?;
        writeln!(
            out,
            "{} {}: {}",
            single_line_field(&decided, "id"),
            single_line_field(&decided, "tool"),
            format_state(&decided)
        )?;
        Ok(())
    }
}

fn print_tickets(page: &Value, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:32}  {:24}  {:>7}  {:16}  {:28}  {:32}  REASON",
        "TICKET", "STATE", "SECONDS", "CALLER", "TOOL", "TARGET"
    )?;
    let tickets = page
        .get("tickets")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for ticket in tickets {
        let left = ticket
            .get("seconds_left")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let id = single_line_field(ticket, "id");
        let state = format_state(ticket);
        let (caller, tool) = (
            single_line_field(ticket, "principal"),
            single_line_field(ticket, "tool"),
        );
        let target = target_text(ticket);
        let reason = reason_text(ticket);
        writeln!(
            out,
            "{id:32}  {state:24}  {left:>7}  {caller:16}  {tool:28}  {target:32}  {reason}"
        )?;
    }
    match &*single_line_field(page, "next") {
        "" => Ok(()),
        next => writeln!(out, "\nThere are more: continue with --after {next}"),
    }
}

/// Returns what the call is about: its subject, the name of its target, or else its path.
fn target_text(ticket: &Value) -> String {
    let details = ticket.get("details").unwrap_or(&Value::Null);
    let texts = ["subject", "name", "target"].map(|field| single_line_field(details, field));
    let text = texts.into_iter().find(|text| !text.is_empty());
    let text = text.unwrap_or_default();
    first_chars(&text, MAX_COLUMN_CHARS).to_owned()
}

/// Returns the rule that requires the decision, with its message.
fn reason_text(ticket: &Value) -> String {
    let details = ticket.get("details").unwrap_or(&Value::Null);
    let rule = single_line_field(details, "rule");
    let text = match &*single_line_field(details, "message") {
        "" => rule.into_owned(),
        message => format!("{rule}: {message}"),
    };
    first_chars(&text, MAX_COLUMN_CHARS).to_owned()
}

/// Returns a text of the server's that may have several lines.
fn multiline_field<'a>(ticket: &'a Value, field: &str) -> &'a str {
    ticket
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns a text of the server's, on one line.
fn single_line_field<'a>(ticket: &'a Value, field: &str) -> Cow<'a, str> {
    escape_to_one_line(multiline_field(ticket, field))
}

/// Returns `pending`, or the decision and its approver.
fn format_state(ticket: &Value) -> String {
    match ticket.get("state") {
        Some(Value::String(state)) => {
            let needed = ticket.get("approvers").and_then(Value::as_u64);
            let given = ticket.get("approved_by").and_then(Value::as_array);
            let count = match (needed, given) {
                (Some(needed), Some(given)) if needed > 1 => {
                    format!(", {} of {needed} approve", given.len())
                }
                _ => String::new(),
            };
            format!("{}{count}", escape_to_one_line(state))
        }
        Some(Value::Object(decided)) => {
            let states = decided.iter().map(|(state, by)| match by.as_str() {
                Some(by) => format!("{state} by {by}"),
                None => state.clone(),
            });
            escape_to_one_line(&states.collect::<String>()).into_owned()
        }
        _ => String::new(),
    }
}

/// Returns the given name, or else the name of the user.
fn approver_name(by: Option<&str>) -> String {
    let named = by
        .map(str::trim)
        .filter(|by| !by.is_empty())
        .map(str::to_owned);
    named
        .or_else(user_name)
        .unwrap_or_else(|| "approvals".to_owned())
}
