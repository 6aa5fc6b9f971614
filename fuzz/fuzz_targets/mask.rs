//! Fuzzes masking: a secret at any place of any document must not occur in any output of the
//! product.
//!
//! The input is read as a sequence of choices: the operation, the place and form of the secret, and
//! the values around it. Names consist of words that mark a secret, other words, and path
//! characters.
#![no_main]

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::{LazyLock, Mutex},
    thread,
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_mcp::{
    auth::principal::Principal,
    mcp::reply,
    observability::{
        audit::{AuditLog, AuditSettings, AuditTarget, SyncPolicy},
        request::RequestInfo,
    },
    pipeline::{CallRecord, Dispatcher, ToolCall, dry_run},
    security::secrets::{
        AllowedReferences, DeliveryMode, ReferenceCaller, SecretReferences, Secrets, learn_key,
        mask_line, mask_response, redact_arguments,
    },
    upstream::{Addresses, RetrySettings, UpstreamClient, UpstreamSettings},
};
use portkey_mcp_fuzz::{KEY, credentials};
use portkey_operation::{Effect, JsonMap, ValidationOptions};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A secret that only its place reveals to be one.
const PLANTED_SECRET: &str = "planted word of nobody";
/// A secret number that only its place reveals to be one.
const PLANTED_NUMBER: u64 = 731_904_482_615;
/// A key of the server itself, which is recognized at any place.
const OWN_NUMBER: &str = "824753190264";
const OWN_KEY_WITH_QUOTES: &str = "own/key+with=\"quotes\"";

const WORDS: [&str; 32] = [
    "headers",
    "api_key",
    "key",
    "token",
    "authorization",
    "credentials",
    "metadata",
    "conditions",
    "group_by",
    "name",
    "value",
    "note",
    "auth",
    "secret_key",
    "request_token",
    "type",
    "default",
    "x",
    "data",
    "config",
    "targets",
    "parameters",
    "properties",
    "string",
    "secrets",
    "access_tokens",
    "description",
    "id",
    "slug",
    "message",
    "error",
    "details",
];
const MARKS: [&str; 16] = [
    ".", "[", "]", "/", "~", "~1", "\"", "'", "[0]", "[]", " ", "\\", "`", "-", "\u{200b}", "ü",
];
/// Names that mark everything below as secret, at any place.
const SECRET_NAMES: [&str; 8] = [
    "client_secret",
    "db_password",
    "x-authorization",
    "access_token",
    "clientSecret",
    "AUTHORIZATION",
    "aws_secret_access_key",
    "credentials",
];

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    learn_key(KEY);
    learn_key(OWN_NUMBER);
    learn_key(OWN_KEY_WITH_QUOTES);
    Catalog::full()
});

static ENTRIES: LazyLock<Vec<&CatalogEntry>> = LazyLock::new(|| CATALOG.iter().collect());

/// Next response of the upstream: status line and body.
static NEXT_RESPONSE: Mutex<(&str, String)> = Mutex::new(("200 OK", String::new()));

/// The rest of the input. Each choice takes the next byte; after the end, every byte is zero.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first)
    }

    fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.byte() % all.len()]
    }

    fn name(&mut self) -> String {
        let form = self.byte();
        match form % 8 {
            0..=3 => (*self.pick(&WORDS)).to_owned(),
            4..=6 => {
                let parts = 1 + form / 64;
                (0..parts)
                    .map(|i| {
                        if i % 2 == 0 {
                            *self.pick(&WORDS)
                        } else {
                            *self.pick(&MARKS)
                        }
                    })
                    .collect()
            }
            _ => "x".repeat(form / 3) + *self.pick(&WORDS),
        }
    }

    fn text(&mut self) -> String {
        let length = self.byte() % 24;
        let (text, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// Returns any value of at most `depth` levels.
    fn value(&mut self, depth: usize) -> Value {
        match self.byte() % 9 {
            0 | 1 if depth > 0 => (0..self.byte() % 4)
                .map(|_| (self.name(), self.value(depth - 1)))
                .collect(),
            2 if depth > 0 => (0..self.byte() % 4)
                .map(|_| self.value(depth - 1))
                .collect(),
            3 => json!(self.byte()),
            4 => json!(self.byte() % 2 == 0),
            5 => Value::Null,
            6 if depth > 0 => self.value(depth - 1).to_string().into(),
            _ => self.text().into(),
        }
    }

    /// Returns the value with others beside it or around it.
    fn with_siblings(&mut self, value: Value) -> Value {
        match self.byte() % 4 {
            0 => {
                let mut map = JsonMap::new();
                for _ in 0..self.byte() % 3 {
                    map.insert(self.name(), self.value(2));
                }
                map.insert(self.name(), value);
                for _ in 0..self.byte() % 3 {
                    let name = self.name();
                    let beside = self.value(2);
                    map.entry(name).or_insert(beside);
                }
                map.into()
            }
            1 => json!([self.value(2), value, self.value(1)]),
            _ => value,
        }
    }

    fn nest(&mut self, mut value: Value) -> Value {
        for _ in 0..self.byte() % 5 {
            value = self.with_siblings(value);
        }
        value
    }

    /// Returns the secret as a single value, or as a part of several.
    fn secret(&mut self) -> Value {
        match self.byte() % 6 {
            0 => json!(PLANTED_NUMBER),
            1 => json!([{ "x": 1 }, PLANTED_SECRET]),
            2 => json!([PLANTED_SECRET, [PLANTED_NUMBER], null]),
            _ => PLANTED_SECRET.into(),
        }
    }

    /// Returns a field with a name that marks secrets, and the secret at any depth below.
    fn secret_field(&mut self) -> Value {
        let mut below = self.secret();
        if self.byte() % 2 == 0 {
            below = json!({ "value": below, "more": [self.value(1)] });
        }
        json!({ (*self.pick(&SECRET_NAMES)): below })
    }

    /// Returns a key of the server in any form.
    fn own_key(&mut self) -> Value {
        let key = *self.pick(&[KEY, OWN_KEY_WITH_QUOTES]);
        match self.byte() % 7 {
            0 => json!({ key: self.value(1) }),
            1 => json!(format!("{}{key}{}", self.text(), self.text())),
            2 => json!(json!({ "note": key, key: [key] }).to_string()),
            3 => json!(json!(json!({ "note": key }).to_string()).to_string()),
            4 => json!(OWN_NUMBER.parse::<u64>().unwrap_or_default()),
            5 => json!({ "url": "https://h/?q=own%2Fkey%2Bwith%3D%22quotes%22" }),
            _ => json!(key),
        }
    }
}

/// Places a value at a declared path such as `data[].key`.
fn nest_at_path(path: &str, value: Value, choices: &mut Choices<'_>) -> Value {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    if step == "*" {
        return json!({ choices.name(): value });
    }
    let below = if rest.is_empty() {
        value
    } else {
        nest_at_path(rest, value, choices)
    };
    match step.strip_suffix("[]") {
        Some(name) => json!({ name: [below] }),
        None => json!({ step: below }),
    }
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Panics if the output contains a secret.
fn assert_hidden(what: &str, shown: &str) {
    let plain = shown.replace("\\\\", "\\");
    for secret in [
        PLANTED_SECRET,
        "731904482615",
        KEY,
        OWN_NUMBER,
        "own/key",
        "own%2Fkey",
    ] {
        assert!(
            !shown.contains(secret) && !plain.contains(secret),
            "{what}: {secret} in {shown}"
        );
    }
}

/// Returns a response with a secret and other values.
fn build_response(entry: &CatalogEntry, choices: &mut Choices<'_>) -> Value {
    let mut whole = json!({ choices.name(): choices.value(3) });
    let declared = entry.operation.secret_fields();
    let planted = match choices.byte() % 3 {
        0 if !declared.is_empty() => {
            let path = choices.pick(declared);
            let secret = match choices.byte() % 3 {
                0 => {
                    let field = choices.secret_field();
                    choices.nest(field)
                }
                1 => {
                    let field = choices.secret_field();
                    choices.nest(field).to_string().into()
                }
                _ => choices.secret(),
            };
            nest_at_path(path, secret, choices)
        }
        1 => {
            let key = choices.own_key();
            json!({ choices.name(): choices.nest(key) })
        }
        _ => {
            let field = choices.secret_field();
            json!({ choices.name(): choices.nest(field) })
        }
    };
    merge(&mut whole, planted);
    whole
}

/// Masks a response like a result.
fn check_masking(entry: &CatalogEntry, choices: &mut Choices<'_>) {
    let mut response = build_response(entry, choices);
    let before = response.to_string();
    mask_response(entry.operation, &mut response);
    let shown = response.to_string();
    assert_hidden(&format!("{} of {before}", entry.operation.name()), &shown);
}

/// Collects the paths of declared secrets in the schema of arguments.
fn collect_secret_paths(schema: &Value, at: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    if schema.get("x-secret").is_some() {
        found.push(at.clone());
    }
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        for (name, field) in fields {
            at.push(name.clone());
            collect_secret_paths(field, at, found);
            at.pop();
        }
    }
    if let Some(items) = schema.get("items") {
        at.push("[]".to_owned());
        collect_secret_paths(items, at, found);
        at.pop();
    }
}

/// Renders arguments like dry runs, approvals and the audit log.
fn check_arguments(entry: &CatalogEntry, choices: &mut Choices<'_>) {
    let published = entry.compiled();
    let mut places = Vec::new();
    collect_secret_paths(published.full_schema(), &mut Vec::new(), &mut places);
    let planted = match choices.byte() % 3 {
        0 if !places.is_empty() => {
            let place = choices.pick(&places).clone();
            let secret = match choices.byte() % 2 {
                0 => choices.secret(),
                _ => {
                    let field = choices.secret_field();
                    choices.nest(field)
                }
            };
            place
                .iter()
                .rev()
                .fold(secret, |below, step| match step.as_str() {
                    "[]" => json!([below]),
                    name => json!({ name: below }),
                })
        }
        1 => json!({ choices.name(): choices.own_key() }),
        _ => {
            let field = choices.secret_field();
            json!({ "unheard_of": choices.nest(field) })
        }
    };
    let mut args: JsonMap = entry
        .operation
        .placeholders()
        .map(|name| (name.to_owned(), json!("x")))
        .collect();
    if let Value::Object(planted) = planted {
        args.extend(planted);
    }
    let shown = redact_arguments(published, args.clone());
    let before = Value::Object(args.clone()).to_string();
    assert_hidden(
        &format!("{} given {before}", entry.operation.name()),
        &Value::Object(shown.clone()).to_string(),
    );
    let mut stored = choices.value(3);
    merge(&mut stored, Value::Object(shown.clone()));
    let (Ok(sent), Ok(blanked)) = (
        published.build_request(args),
        published.build_request(shown),
    ) else {
        return;
    };
    let changes = dry_run::compute_changes(
        entry.operation,
        sent.body.as_ref(),
        blanked.body.as_ref(),
        Some(&stored),
    );
    let preview = dry_run::ChangePreview {
        current: None,
        changes: changes.fields,
        has_hidden: changes.has_hidden,
        ..dry_run::ChangePreview::default()
    };
    let report = dry_run::report(&blanked, &blanked.target, &preview);
    assert_hidden(
        &format!("{} of {before}", entry.operation.name()),
        &report.to_string(),
    );
}

static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("portkey-mcp-fuzz-mask-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("key"), "fetched from the folder").expect("a secret");
    let allowed = AllowedReferences {
        folders: vec![folder],
        ..AllowedReferences::default()
    };
    Secrets::new(
        DeliveryMode::Inline,
        SecretReferences::open(&allowed).expect("references"),
    )
});

/// Checks that the value of a reference is masked when it is read back.
fn check_references(choices: &mut Choices<'_>) {
    let reference = json!("$file:key");
    let document = json!({ choices.name(): choices.nest(reference) });
    let published = CATALOG.find("create-config").expect("a tool").compiled();
    let args = json!({ "name": "n", "config": document });
    let Value::Object(args) = args else { return };
    let Ok(validated) = published.validate(args, &ValidationOptions::default()) else {
        return;
    };
    let mut args = validated.args;
    let caller = ReferenceCaller {
        name: "local",
        is_local: true,
    };
    if SECRETS
        .resolve_references(published, caller, &mut args)
        .is_err()
    {
        return;
    }
    // As after a restart, when the value is no longer known.
    let stored = args["config"]
        .to_string()
        .replace("fetched from the folder", PLANTED_SECRET);
    let read = CATALOG.find("get-config").expect("a tool").operation;
    let document: Value = serde_json::from_str(&stored).expect("what was JSON");
    for mut response in [
        json!({ "config": stored }),
        json!({ "data": { "config": document } }),
    ] {
        mask_response(read, &mut response);
        assert_hidden(&format!("config {stored}"), &response.to_string());
    }
}

/// A server with an upstream on a thread of its own, and the server's audit log.
static SERVER: LazyLock<(Dispatcher, PathBuf)> = LazyLock::new(|| {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 16 << 10];
            _ = stream.read(&mut request);
            let (status, body) = NEXT_RESPONSE.lock().expect("no panic").clone();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-request-id: {KEY}\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
        }
    });
    let settings = UpstreamSettings {
        addresses: Addresses::from_single_host(
            &format!("http://{address}/v1").parse().expect("an address"),
        ),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        max_response_bytes: 1 << 20,
        retries: RetrySettings {
            max_retries: 0,
            ..RetrySettings::default()
        },
        extra_roots: Vec::new(),
        proxies: false,
    };
    let name = format!("portkey-mcp-fuzz-mask-{}.jsonl", std::process::id());
    let file = std::env::temp_dir().join(name);
    _ = std::fs::remove_file(&file);
    let audit = AuditLog::start(AuditSettings {
        target: AuditTarget::File(file.clone()),
        key: None,
        sync: SyncPolicy::Never,
        allow_unrecorded_writes: false,
        max_bytes: None,
        max_full_files: None,
    });
    let dispatcher = Dispatcher::new(Catalog::full(), UpstreamClient::new(settings));
    (dispatcher.with_audit(audit.expect("an audit log")), file)
});

/// Makes a whole call, with a success or an error. Neither the result nor the audit log may contain
/// a secret.
fn check_call(entry: &CatalogEntry, choices: &mut Choices<'_>) {
    let operation = entry.operation;
    if operation.effect() != Effect::Read || !operation.one_time_secrets().is_empty() {
        return;
    }
    let (dispatcher, file) = &*SERVER;
    let is_error = choices.byte() % 2 == 0;
    let body = match is_error {
        true => {
            let key = choices.own_key();
            let mut body = json!({ *choices.pick(&["message", "error", "data", "errors"]): choices.nest(key) });
            merge(
                &mut body,
                json!({ "errorCode": KEY, "request_id": OWN_NUMBER }),
            );
            body
        }
        false => build_response(entry, choices),
    };
    *NEXT_RESPONSE.lock().expect("no panic") = (
        if is_error {
            "400 Bad Request"
        } else {
            "200 OK"
        },
        body.to_string(),
    );
    let args: JsonMap = operation
        .placeholders()
        .map(|name| (name.to_owned(), json!("x")))
        .collect();
    let mut record = CallRecord::default();
    let (principal, request_info) = (Principal::local(credentials()), RequestInfo::local());
    let call = ToolCall {
        principal: &principal,
        request_info: &request_info,
        name: operation.name(),
        args,
        approval_response: None,
    };
    // Shared by all runs, because the connections of the client live in this runtime.
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().expect("a runtime")
    });
    let outcome = RUNTIME.block_on(dispatcher.call(call, &mut record));
    let shown = match &outcome {
        Ok(response) => response.to_string(),
        Err(error) => format!("{} {error}", reply::error_message(error)),
    };
    let about = format!("{} with the response {body}", operation.name());
    assert_hidden(&about, &shown);
    assert_hidden(&about, &mask_line(&format!("{record:?}")));
    assert_hidden(&about, &read_new_lines(file));
}

/// Returns the lines since the last run, which another thread writes.
fn read_new_lines(file: &PathBuf) -> String {
    static READ: Mutex<u64> = Mutex::new(0);
    let mut read = READ.lock().expect("no panic");
    for _ in 0..5_000 {
        let mut lines = String::new();
        let opened = File::open(file).and_then(|mut log| {
            log.seek(SeekFrom::Start(*read))?;
            log.read_to_string(&mut lines)
        });
        if opened.is_ok() && lines.ends_with('\n') {
            *read += lines.len() as u64;
            return lines;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("no line was written to the audit log");
}

fuzz_target!(|input: &[u8]| {
    // The fuzzer learns the secrets from comparisons with them.
    let text = String::from_utf8_lossy(input);
    if ["planted", "7319", "8247", "own/", "own%"]
        .iter()
        .any(|part| text.contains(part))
    {
        return;
    }
    let mut choices = Choices(input);
    // A whole call takes as long as many of the other checks.
    let check = choices.byte() % 64;
    let place = choices.byte() * 256 + choices.byte();
    let entry = ENTRIES[place % ENTRIES.len()];
    match check {
        0..=23 => check_masking(entry, &mut choices),
        24..=40 => check_arguments(entry, &mut choices),
        41..=61 => check_references(&mut choices),
        _ => check_call(entry, &mut choices),
    }
});
