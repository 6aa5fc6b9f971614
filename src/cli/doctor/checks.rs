//! The checks. Each adds at least one finding.

use std::{
    fs::OpenOptions,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portkey_bounded_file::{display_path, with_causes};
use portkey_journal::JournalPlace;
use portkey_operation::JsonMap;
use reqwest::{Response, Url, header};
use serde_json::Value;
use tokio::{net::lookup_host, time::timeout};

use super::{
    configured::ConfiguredOption,
    report::{Report, Status},
};
use crate::{
    app::{AppContext, AppSettings},
    auth::principal::Principal,
    cli::{login, options::Options},
    http_client::{build_client, network_error},
    mcp::{
        reply,
        server::{KEY_MISSING_FIELD, KEY_REFUSED_FIELD, Server},
    },
};

/// Maximum time of a lookup and of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Difference between the clocks that is worth a warning: signatures and tokens allow for about as much.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

const SETTINGS: &str = "settings";
const CONNECTION: &str = "connection";
const KEY: &str = "key";

/// Reports version and platform.
pub(super) fn check_program(report: &mut Report) {
    let version = env!("CARGO_PKG_VERSION");
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let message = format_args!("portkey-mcp {version} on {os} {arch}");
    report.add("version", Status::Ok, message);
}

/// Lists the options that are set.
pub(super) fn list_options(report: &mut Report, configured: &[ConfiguredOption]) {
    if configured.is_empty() {
        report.add(
            "options",
            Status::Ok,
            "none is set, on the command line, by a variable or in a file",
        );
    }
    for ConfiguredOption {
        option,
        source,
        value,
    } in configured
    {
        let value = match value {
            Some(value) => format!("= {value}"),
            None => "is set (a secret)".to_owned(),
        };
        let source = source.as_deref().unwrap_or("command line");
        report.add(
            "options",
            Status::Ok,
            format_args!("{option} {value} ({source})"),
        );
    }
}

/// Reports whether a key is stored, and whether it is used.
pub(super) fn check_login(report: &mut Report, options: &Options) {
    const CHECK: &str = "login";
    if options.uses_sandbox() {
        return;
    }
    match (login::find(options), options.key_setting()) {
        (Err(error), _) => report.add(CHECK, Status::Failure, with_causes(error.as_ref())),
        (Ok(None), _) => report.add(CHECK, Status::Skipped, "`portkey-mcp login` stored no key"),
        (Ok(Some(place)), None) => report.add(
            CHECK,
            Status::Ok,
            format_args!("the key is the one that `portkey-mcp login` stored in {place}"),
        ),
        (Ok(Some(place)), Some(setting)) => report.add(
            CHECK,
            Status::Ok,
            format_args!("{setting} takes precedence over the key in {place}"),
        ),
    }
}

/// Checks that the options can be used together, that each has an effect, and that every file they name can be read.
pub(super) fn check_settings(report: &mut Report, options: &Options, unused: &[String]) {
    for message in unused {
        report.advise(
            SETTINGS,
            Status::Failure,
            message,
            "add what it needs, or leave it out: a server does not start with it",
        );
    }
    let settings = options.app_settings();
    match settings.and_then(|_| options.mcp_settings()) {
        Ok(_) if report.has_failed(SETTINGS) => {}
        Ok(_) => report.add(SETTINGS, Status::Ok, "the options can be used together"),
        Err(error) => report.add(SETTINGS, Status::Failure, with_causes(error.as_ref())),
    }
}

/// Reads the policy file.
pub(super) fn check_policy(report: &mut Report, options: &Options) {
    const CHECK: &str = "policy";
    match options.guard.policy() {
        Ok(None) => report.advise(
            CHECK,
            Status::Skipped,
            "there is none: every tool on offer is permitted",
            "restrict what an agent may do with --read-only, or with --policy; docs/policy.md has examples",
        ),
        Ok(Some(policy)) => match policy.warnings() {
            [] => {
                let message = format_args!("{} has {} rules", policy.name(), policy.len());
                report.add(CHECK, Status::Ok, message);
            }
            warnings => {
                for warning in warnings {
                    report.add(CHECK, Status::Warning, warning);
                }
            }
        },
        Err(error) => report.advise(
            CHECK,
            Status::Failure,
            with_causes(error.as_ref()),
            "`portkey-mcp policy check FILE` names every mistake",
        ),
    }
}

/// Checks that the audit log can be written.
pub(super) fn check_audit_log(report: &mut Report, options: &Options) {
    const CHECK: &str = "audit log";
    match options.audit.file() {
        None => report.add(
            CHECK,
            Status::Skipped,
            "there is none; --audit-log FILE keeps one",
        ),
        Some(file) => check_writable(report, CHECK, file),
    }
}

/// Checks that the history of changes can be written.
pub(super) fn check_journal(report: &mut Report, options: &Options) {
    const CHECK: &str = "journal";
    match options.journal_place() {
        Ok(None) => report.add(CHECK, Status::Skipped, "no history of changes is kept"),
        Ok(Some(JournalPlace::File { path, .. })) => check_writable(report, CHECK, &path),
        Ok(Some(JournalPlace::Postgres { .. })) => report.add(
            CHECK,
            Status::Skipped,
            "it is in a PostgreSQL database, which is checked at the start of the server",
        ),
        Err(error) => report.add(CHECK, Status::Failure, with_causes(error.as_ref())),
    }
}

/// Checks that a file can be written, or created if it is missing. Nothing is written.
fn check_writable(report: &mut Report, check: &'static str, file: &Path) {
    let name = display_path(file);
    if file.exists() {
        match OpenOptions::new().append(true).open(file) {
            Ok(_) => report.add(check, Status::Ok, format_args!("{name} can be written")),
            Err(error) => report.advise(
                check,
                Status::Failure,
                format_args!("{name} cannot be written: {error}"),
                "let the user of this process write it, or name another file",
            ),
        }
        return;
    }
    let existing = file.ancestors().skip(1).find(|folder| folder.is_dir());
    let is_writable = existing
        .and_then(|folder| folder.metadata().ok())
        .is_some_and(|folder| !folder.permissions().readonly());
    match is_writable {
        true => report.add(
            check,
            Status::Ok,
            format_args!("{name} does not exist yet; it is created at the start"),
        ),
        false => report.advise(
            check,
            Status::Failure,
            format_args!("{name} does not exist and cannot be created"),
            "create its folder, or name another file",
        ),
    }
}

/// Looks up the name of the Admin API, connects to it, and compares the clocks. No key is sent.
pub(super) async fn check_connection(report: &mut Report, options: &Options) {
    if options.uses_sandbox() {
        report.add(CONNECTION, Status::Skipped, "the sandbox needs no network");
        return;
    }
    let url = options.base_url();
    let place = describe_place(url);
    let proxy = match network_error::check_proxies() {
        Ok(()) => network_error::system_proxy(url.as_str()),
        Err(error) => {
            report.add("proxy", Status::Failure, error);
            return;
        }
    };
    match &proxy {
        Some(proxy) => {
            let message = format_args!("requests to {place} go through {proxy}");
            report.add("proxy", Status::Ok, message);
        }
        None => {
            report.add("proxy", Status::Ok, "none");
            check_name(report, url).await;
        }
    }
    if url.scheme() == "http" && !options.is_base_url_loopback() {
        report.advise(
            CONNECTION,
            Status::Warning,
            "the address is plain http: the API key travels unencrypted",
            "give an address that begins with https:// as --base-url",
        );
    }
    match request_without_key(options, url).await {
        Ok(mut answer) => {
            let status = answer.status();
            let start = answer.chunk().await.ok().flatten().unwrap_or_default();
            if network_error::is_plain_http_answer(status, &start) {
                report.advise(
                    CONNECTION,
                    Status::Failure,
                    format_args!("{place} answers {status}: the port speaks TLS"),
                    "give an address that begins with https:// as --base-url; if it does, see to the proxy behind it",
                );
                return;
            }
            let message = format_args!("{place} answers ({status} to a request without a key)");
            report.add(CONNECTION, Status::Ok, message);
            check_clock(report, &answer);
        }
        Err(cause) => report.advise(
            CONNECTION,
            Status::Failure,
            format_args!("{place} cannot be reached: {cause}"),
            match proxy {
                Some(_) => "ask whether the proxy lets this host through",
                None => "check the address (--base-url), the network and its firewall",
            },
        ),
    }
}

/// Returns host and port of an address.
fn describe_place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

async fn check_name(report: &mut Report, url: &Url) {
    const CHECK: &str = "name";
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or_default();
    let found = timeout(TIMEOUT, lookup_host((host, port))).await;
    let cause = match found {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            let message = format_args!("{host} is {}", addresses.join(", "));
            report.add(CHECK, Status::Ok, message);
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
    };
    report.advise(
        CHECK,
        Status::Failure,
        format_args!("the name {host} cannot be resolved: {cause}"),
        "check the spelling of --base-url and the name servers of this machine",
    );
}

async fn request_without_key(options: &Options, url: &Url) -> Result<Response, String> {
    let builder = || {
        let builder = options.http_client_builder()?.timeout(TIMEOUT);
        Ok::<_, anyhow::Error>(builder.redirect(reqwest::redirect::Policy::none()))
    };
    let client = build_client(builder).map_err(|error| with_causes(error.as_ref()))?;
    let answer = client.get(url.clone()).send().await;
    answer.map_err(|error| network_error::describe_cause(&error))
}

/// Compares the clock of this machine with the date of an answer.
fn check_clock(report: &mut Report, answer: &Response) {
    const CHECK: &str = "clock";
    let date = answer
        .headers()
        .get(header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(date) = date else {
        report.add(
            CHECK,
            Status::Skipped,
            "the answer has no date to compare with",
        );
        return;
    };
    let now = SystemTime::now();
    let skew = now
        .duration_since(date)
        .unwrap_or_else(|error| error.duration());
    match skew > MAX_CLOCK_SKEW {
        false => report.add(CHECK, Status::Ok, "it agrees with that of the Admin API"),
        true => report.advise(
            CHECK,
            Status::Warning,
            format_args!("it differs by {} s from that of the Admin API", skew.as_secs()),
            "set the clock of this machine, for example by NTP: certificates and tokens depend on it",
        ),
    }
}

/// Returns true if neither the options nor `portkey-mcp login` give a key. A list of stored keys that cannot be read
/// may have one.
fn is_key_missing(options: &Options) -> bool {
    !options.uses_sandbox()
        && options.key_setting().is_none()
        && matches!(login::find(options), Ok(None))
}

fn report_missing_key(report: &mut Report) {
    report.advise(
        KEY,
        Status::Failure,
        "there is none",
        "run `portkey-mcp login`, set PORTKEY_API_KEY, or name a file with --api-key-file; Portkey makes keys under \
         Admin Settings, API Keys. --sandbox needs none",
    );
}

/// Asks Portkey about the key. Only reads are sent.
pub(super) async fn check_key(report: &mut Report, options: &Options) {
    for failed in [SETTINGS, "proxy", CONNECTION] {
        if report.has_failed(failed) {
            if failed != SETTINGS && is_key_missing(options) {
                report_missing_key(report);
                return;
            }
            let message = format_args!("not asked, because the check `{failed}` failed");
            report.add(KEY, Status::Skipped, message);
            return;
        }
    }
    let answer = async {
        let mut settings = options.app_settings()?;
        login::add_stored_key(&mut settings, options)?;
        ask_about_key(settings).await
    };
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => {
            report.add(KEY, Status::Failure, with_causes(error.as_ref()));
            return;
        }
    };
    let is_set = |field: &str| answer.get(field) == Some(&Value::Bool(true));
    let text = |field: &str| {
        answer
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or("unknown")
    };
    if is_set(KEY_MISSING_FIELD) {
        report_missing_key(report);
    } else if is_set(KEY_REFUSED_FIELD) {
        report.advise(
            KEY,
            Status::Failure,
            "Portkey rejects it",
            "check that it is whole, not expired, and of the Portkey at --base-url",
        );
    } else {
        let message = format_args!("{}: {}", text("portkey_key"), text("portkey_key_note"));
        report.add(KEY, Status::Ok, message);
        let message = format_args!("{}: {}", text("plan"), text("plan_note"));
        report.add("plan", Status::Ok, message);
    }
    if let Some(errors) = answer.get("read_errors").and_then(Value::as_object) {
        for (list, error) in errors {
            let error = error.as_str().unwrap_or("failed");
            let message = format_args!("it may not read {list} ({error})");
            report.add(KEY, Status::Warning, message);
        }
    }
}

/// Returns the answer of `whoami`, without policy, audit log and journal: they are checked alone.
///
/// # Errors
/// Returns an error if the options contradict each other, or the call fails.
pub(in crate::cli) async fn ask_about_key(mut settings: AppSettings) -> anyhow::Result<Value> {
    settings.policy_file = None;
    settings.audit = None;
    settings.journal = None;
    let AppContext {
        dispatcher,
        credentials,
        sandbox: _sandbox,
    } = settings.build().await?;
    let server = Server::new(Arc::new(dispatcher), None);
    let local = Principal::local(credentials);
    // Reads need no approval.
    let ask = async |_: &_| Ok(None);
    let answer = server
        .call_from_shell(&local, "whoami", JsonMap::new(), ask)
        .await;
    answer.map_err(|error| anyhow::anyhow!(reply::error_message(&error)))
}
