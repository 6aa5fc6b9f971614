//! Which options have an effect: on which command, and beside which other options. One that has none is rejected, so
//! that nobody relies on it.

use std::path::Path;

use clap::{Arg, ArgMatches, Command, error::ErrorKind, parser::ValueSource};
use portkey_bounded_file::{MAX_KEY_BYTES, read_to_string};

use super::config::{CONFIG_ID, FileSources};

/// Groups of options that apply to every call of a tool from the shell.
const GROUPS_OF_CALLS: &[&str] = &[
    "Portkey",
    "Enkrypt AI",
    "Sandbox",
    "Secrets",
    "Approval",
    "Guard",
    "Access",
    "Arguments",
    "Audit",
    "Journal",
];

/// Options of these groups that decide how a server lists its tools.
const OF_LISTS: &[&str] = &["surface", "schema_profile", "tool_names", "descriptions"];

/// Options of these groups that decide about writes.
const OF_WRITES: &[&str] = &[
    "dry_run",
    "approve_writes",
    "approve_deletes",
    "approve_sensitive",
    "approve_by_name",
];

/// Options that decide which tools there are.
const OF_TOOLS: &[&str] = &[
    "enkrypt_api_key",
    "enkrypt_api_key_file",
    "sandbox",
    "policy",
    "journal",
    "journal_url",
    "journal_url_file",
    "no_journal",
];

/// Returns true if a command uses an option that every command takes. `path` has the names of the command, without
/// that of the program. Commands that are not listed use all options.
pub(super) fn is_used(path: &[&str], option: &Arg) -> bool {
    let id = option.get_id().as_str();
    let group = option.get_help_heading().unwrap_or_default();
    if !option.is_global_set() || id == CONFIG_ID || group == "Logging" {
        return true;
    }
    match path {
        ["export" | "drift", ..] | ["changes", "list" | "show"] => {
            GROUPS_OF_CALLS.contains(&group) && !OF_LISTS.contains(&id) && !OF_WRITES.contains(&id)
        }
        ["call" | "plan" | "apply" | "changes", ..] => {
            GROUPS_OF_CALLS.contains(&group) && !OF_LISTS.contains(&id)
        }
        ["tools", ..] => group == "Access" || OF_TOOLS.contains(&id),
        ["approvals", ..] => id == "admin_file",
        ["audit", ..] => id == "audit_key_file",
        ["sandbox", ..] => matches!(id, "sandbox_faults" | "sandbox_now"),
        ["health", ..] => id == "ca_file",
        ["login", ..] => group == "Portkey",
        ["logout", ..] => id == "base_url",
        [
            "token" | "state-key" | "policy" | "completions" | "man" | "help",
            ..,
        ]
        | ["config", "example"] => false,
        _ => true,
    }
}

/// The options that are given, with their values.
struct Given<'a>(&'a ArgMatches);

impl Given<'_> {
    /// Returns true if the command line, a variable or the file sets the option, other than to `false`.
    fn is_set(&self, id: &str) -> bool {
        matches!(self.0.try_contains_id(id), Ok(true))
            && !matches!(
                self.0.value_source(id),
                None | Some(ValueSource::DefaultValue)
            )
            && self.value(id) != Some("false")
    }

    fn is_any_set(&self, ids: &[&str]) -> bool {
        ids.iter().any(|id| self.is_set(id))
    }

    /// Returns the first value as it was given, or the default.
    fn value(&self, id: &str) -> Option<&str> {
        let mut values = self.0.try_get_raw(id).ok()??;
        values.next()?.to_str()
    }

    fn is(&self, id: &str, value: &str) -> bool {
        self.value(id)
            .is_some_and(|given| given.eq_ignore_ascii_case(value))
    }

    /// Returns true if a rule may require approval of a call: that of an option, or of a policy. Callers may have
    /// policies of their own.
    fn may_need_approval(&self) -> bool {
        self.is_any_set(&[
            "approve_writes",
            "approve_deletes",
            "approve_sensitive",
            "policy",
        ]) || self.has_callers()
    }

    /// Returns true if the console has something to show: calls that wait, an audit log, or a history.
    fn fills_console(&self) -> bool {
        self.may_need_approval() || self.is_set("audit_log") || self.keeps_journal()
    }

    /// Returns true if the sandbox takes the key of this option. A file that cannot be read is reported where the
    /// key is.
    fn may_be_sandbox_key(&self, id: &str) -> bool {
        let key = self.value(id).unwrap_or_default();
        match id {
            "api_key_file" => read_to_string(Path::new(key), MAX_KEY_BYTES)
                .map_or(true, |key| key.contains(portkey_sandbox::KEY_PREFIX)),
            _ => key.contains(portkey_sandbox::KEY_PREFIX),
        }
    }

    fn has_callers(&self) -> bool {
        self.is("auth", "token") || self.is("auth", "oauth")
    }

    /// Returns true if a history of changes is kept. Servers for several callers keep one only if they are told where.
    fn keeps_journal(&self) -> bool {
        let is_named = self.is_any_set(&["journal", "journal_url", "journal_url_file"]);
        let is_http = matches!(self.0.try_contains_id("auth"), Ok(true));
        let is_local = !is_http && !self.is_set("sandbox");
        is_named || is_local && !self.is_set("no_journal")
    }
}

/// An option that has an effect only beside another one.
struct Condition {
    /// Ids of the options.
    options: &'static [&'static str],
    is_met: fn(&Given<'_>) -> bool,
    /// What is missing, for `it has no effect …`.
    needs: &'static str,
}

const WITH_SANDBOX_KEY: &str = "with --sandbox, which gets no real key; leave one of them out, or give a key that \
    begins with `sandbox-`";

const CONDITIONS: &[Condition] = &[
    Condition {
        options: &["api_key"],
        is_met: |given| !given.is_set("sandbox") || given.may_be_sandbox_key("api_key"),
        needs: WITH_SANDBOX_KEY,
    },
    Condition {
        options: &["api_key_file"],
        is_met: |given| !given.is_set("sandbox") || given.may_be_sandbox_key("api_key_file"),
        needs: WITH_SANDBOX_KEY,
    },
    Condition {
        options: &[
            "base_url",
            "gateway_url",
            "registry_url",
            "enkrypt_api_key",
            "enkrypt_api_key_file",
            "enkrypt_base_url",
        ],
        is_met: |given| !given.is_set("sandbox"),
        needs: "with --sandbox, which takes the place of Portkey and Enkrypt AI; leave one of them out",
    },
    Condition {
        options: &[
            "dry_run",
            "approve_writes",
            "approve_deletes",
            "approve_sensitive",
            "approve_by_name",
        ],
        is_met: |given| !given.is_set("read_only"),
        needs: "with --read-only, which permits no write; leave one of them out",
    },
    Condition {
        options: &[
            "approve_writes",
            "approve_deletes",
            "approve_sensitive",
            "approve_by_name",
        ],
        is_met: |given| !given.is_set("dry_run"),
        needs: "with --dry-run, which sends no write; leave one of them out",
    },
    Condition {
        options: &["admin_listen"],
        is_met: |given| given.fills_console(),
        needs: "where no call needs approval, and no audit log or history is kept: give --policy, one of \
                --approve-writes, --approve-deletes and --approve-sensitive, or --audit-log or --journal",
    },
    Condition {
        options: &[
            "admin_auth",
            "admin_file",
            "admin_url",
            "admin_name_header",
            "admin_trusted_proxies",
        ],
        is_met: |given| given.is_set("admin_listen"),
        needs: "without --admin-listen",
    },
    Condition {
        options: &["admin_trusted_proxies"],
        is_met: |given| given.is_set("admin_name_header"),
        needs: "without --admin-name-header",
    },
    Condition {
        options: &["approval_webhook_key_file"],
        is_met: |given| given.is_set("approval_webhook"),
        needs: "without --approval-webhook",
    },
    Condition {
        options: &["approve_by_name"],
        is_met: |given| {
            given.is_any_set(&["approve_writes", "approve_deletes", "approve_sensitive"])
        },
        needs: "without --approve-deletes, --approve-sensitive or --approve-writes",
    },
    Condition {
        options: &["approval_timeout", "approval_webhook"],
        is_met: |given| given.may_need_approval(),
        needs: "where no call needs approval: give --policy, or one of --approve-writes, --approve-deletes and \
                --approve-sensitive",
    },
    Condition {
        options: &["secret_caller"],
        is_met: |given| given.is_any_set(&["secret_env", "secret_dir"]),
        needs: "without --secret-env or --secret-dir",
    },
    Condition {
        options: &["sandbox_faults", "sandbox_now"],
        is_met: |given| given.is_set("sandbox"),
        needs: "without --sandbox",
    },
    Condition {
        options: &[
            "audit_key_file",
            "audit_sync",
            "audit_failure",
            "audit_max_bytes",
            "audit_keep",
        ],
        is_met: |given| given.is_set("audit_log"),
        needs: "without --audit-log",
    },
    Condition {
        options: &["audit_max_bytes"],
        is_met: |given| !given.is("audit_log", "-"),
        needs: "with `--audit-log -`: standard error is no file; name a file",
    },
    Condition {
        options: &["audit_keep"],
        is_met: |given| given.is_set("audit_max_bytes"),
        needs: "without --audit-max-bytes",
    },
    Condition {
        options: &["journal_max_age", "journal_max_bytes"],
        is_met: |given| given.keeps_journal(),
        needs: "where no history is kept: name a file with --journal, or leave out --no-journal",
    },
    Condition {
        options: &["allow_unauthenticated"],
        is_met: |given| given.is("auth", "none"),
        needs: "unless --auth is none",
    },
    Condition {
        options: &["redis_timeout"],
        is_met: |given| given.is_any_set(&["redis_url", "redis_url_file"]),
        needs: "without --redis-url or --redis-url-file",
    },
    Condition {
        options: &["rest_unknown"],
        is_met: |given| given.is_any_set(&["rest", "rest_listen"]),
        needs: "without --rest or --rest-listen",
    },
    Condition {
        options: &["result_ttl"],
        is_met: |given| !given.is("max_result_bytes", "0"),
        needs: "with --max-result-bytes 0: every result is shown whole",
    },
];

/// An option without effect.
#[derive(Debug)]
pub(super) struct UnusedOption {
    /// The option, its origin, and what it needs.
    pub(super) message: String,
    /// True if somebody wrote it for this command, and not for several.
    is_on_command_line: bool,
}

/// Returns each option that has no effect. `matches` are those of the innermost command.
///
/// Variables and files are often meant for several commands. Beside those of servers, only the command line is
/// judged.
pub(super) fn find_unused(
    definition: &Command,
    path: &[&str],
    matches: &ArgMatches,
    sources: &FileSources,
) -> Vec<UnusedOption> {
    let given = Given(matches);
    let is_server = matches!(path, [] | ["stdio" | "http" | "doctor"]);
    let own = path
        .first()
        .and_then(|name| definition.find_subcommand(name));
    let own = own.into_iter().flat_map(Command::get_arguments);
    // A definition that was used has handed them down.
    let own = own.filter(|option| !option.is_global_set());
    let innermost = path
        .iter()
        .try_fold(definition, |command, name| command.find_subcommand(name));
    // Such as `--policy` of `token new`, which is another option than that of servers.
    let is_replaced = |option: &Arg| {
        let own = innermost.into_iter().flat_map(Command::get_arguments);
        let mut own = own.filter(|argument| !argument.is_global_set());
        option.is_global_set() && own.any(|argument| argument.get_id() == option.get_id())
    };
    let mut unused = Vec::new();
    for option in definition.get_arguments().chain(own) {
        let id = option.get_id().as_str();
        let Some(long) = option.get_long() else {
            continue;
        };
        if !given.is_set(id) || is_replaced(option) {
            continue;
        }
        let place = sources.place(long);
        let is_on_command_line =
            matches.value_source(id) == Some(ValueSource::CommandLine) && place.is_none();
        if !is_used(path, option) {
            if is_on_command_line {
                let command = path.join(" ");
                unused.push(UnusedOption {
                    message: format!(
                        "`--{long}` has no effect on `portkey-mcp {command}`; leave it out"
                    ),
                    is_on_command_line,
                });
            }
            continue;
        }
        let is_judged = is_on_command_line || is_server;
        let takes_conditions = is_server || is_call(path);
        if !(is_judged && takes_conditions) {
            continue;
        }
        let unmet = CONDITIONS
            .iter()
            .find(|condition| condition.options.contains(&id) && !(condition.is_met)(&given));
        if let Some(Condition { needs, .. }) = unmet {
            let origin = match (place, is_on_command_line, option.get_env()) {
                (Some(place), ..) => format!(" ({place})"),
                (None, false, Some(variable)) => format!(" ({})", variable.to_string_lossy()),
                _ => String::new(),
            };
            unused.push(UnusedOption {
                message: format!("`--{long}`{origin} has no effect {needs}"),
                is_on_command_line,
            });
        }
    }
    unused
}

/// Returns true if the command calls tools of its own.
fn is_call(path: &[&str]) -> bool {
    matches!(
        path,
        [
            "call" | "plan" | "apply" | "changes" | "export" | "drift",
            ..
        ]
    )
}

/// Returns an error for the options of the command line that have no effect, if there are any. Variables and files may
/// be meant for other commands, too, so that servers only warn of them. `doctor` reports all itself.
///
/// # Errors
/// Returns an error with one line for each option.
pub(super) fn reject_unused(path: &[&str], unused: &[UnusedOption]) -> Result<(), clap::Error> {
    let written = unused.iter().filter(|option| option.is_on_command_line);
    let messages: Vec<_> = written.map(|option| option.message.as_str()).collect();
    if messages.is_empty() || matches!(path, ["doctor" | "config", ..]) {
        return Ok(());
    }
    let message = format!("{}\n", messages.join("\n       "));
    Err(clap::Error::raw(ErrorKind::ArgumentConflict, message))
}
