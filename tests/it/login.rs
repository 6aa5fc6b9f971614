//! `portkey-mcp login`, `logout` and `whoami`. No test touches a real keychain: keys are stored in a file, or the
//! keychain is at an address where nothing listens.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    process::command,
    programs::is_missing,
    upstream::{MockUpstream, http_response, json_response},
};

const KEY: &str = "pk-stored-Zu3rT7yWq9";
const OTHER_KEY: &str = "pk-other-Bv5nM1kLp4";

/// The user of a home folder.
struct User {
    home: TempDir,
    base_url: String,
}

impl User {
    fn new(base_url: &str) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            base_url: base_url.to_owned(),
        }
    }

    fn list(&self) -> PathBuf {
        self.home.path().join(".config/portkey-mcp/login.toml")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command
            .env("HOME", self.home.path())
            .env("PORTKEY_BASE_URL", &self.base_url)
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("PORTKEY_MCP_NO_LOGIN");
        command
    }

    async fn run(&self, args: &[&str], input: &str) -> Run {
        let mut command = self.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that ends early does not read it.
        _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        Run::new(output.await.unwrap())
    }

    #[track_caller]
    fn assert_mode(&self) {
        let mode = self.list().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    async fn log_in(&self, key: &str) {
        let run = self.run(&["login", "--stdin", "--in-file"], key).await;
        assert!(run.is_success, "{}", run.text);
    }
}

struct Run {
    is_success: bool,
    out: String,
    /// Standard output and standard error.
    text: String,
}

impl Run {
    fn new(output: Output) -> Self {
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        Self {
            is_success: output.status.success(),
            text: format!("{out}{err}"),
            out,
        }
    }
}

async fn upstream() -> MockUpstream {
    MockUpstream::start(|_| json_response(r#"{"object":"list","data":[],"total":0}"#)).await
}

const CALL: &[&str] = &["call", "list-configs"];

#[tokio::test]
async fn stored_key_is_used_where_no_other_is_given() {
    let upstream = upstream().await;
    let user = User::new(&upstream.base_url);
    let run = user.run(CALL, "").await;
    assert!(!run.is_success && upstream.count() == 0, "{}", run.text);

    user.log_in(&format!("{KEY}\n")).await;
    user.assert_mode();
    let key_of_last_call = || {
        let requests = upstream.requests();
        requests
            .last()
            .unwrap()
            .header("x-portkey-api-key")
            .unwrap()
            .to_owned()
    };
    let run = user.run(CALL, "").await;
    assert!(run.is_success, "{}", run.text);
    assert_eq!(key_of_last_call(), KEY);

    // Flag, variable and file come first.
    user.run(&[CALL, &["--api-key", OTHER_KEY]].concat(), "")
        .await;
    assert_eq!(key_of_last_call(), OTHER_KEY);
    let mut call = user.command(CALL);
    let output = tokio::task::spawn_blocking(move || {
        call.env("PORTKEY_API_KEY", OTHER_KEY).output().unwrap()
    });
    assert!(output.await.unwrap().status.success());
    assert_eq!(key_of_last_call(), OTHER_KEY);
    let file = user.home.path().join("key");
    fs::write(&file, OTHER_KEY).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let option = ["--api-key-file", file.to_str().unwrap()];
    user.run(&[CALL, &option].concat(), "").await;
    assert_eq!(key_of_last_call(), OTHER_KEY);
    assert_eq!(upstream.count(), 4);

    let run = user.run(&[CALL, &["--no-login"]].concat(), "").await;
    assert!(!run.is_success && upstream.count() == 4, "{}", run.text);
}

/// A key is for the address that it was stored for.
#[tokio::test]
async fn stored_key_is_not_sent_to_another_address() {
    let (upstream, other) = (upstream().await, upstream().await);
    let user = User::new(&upstream.base_url);
    user.log_in(KEY).await;
    let run = user
        .run(&[CALL, &["--base-url", &other.base_url]].concat(), "")
        .await;
    assert!(!run.is_success && other.count() == 0, "{}", run.text);
}

#[tokio::test]
async fn stdio_server_uses_the_stored_key() {
    let upstream = upstream().await;
    let user = User::new(&upstream.base_url);
    user.log_in(KEY).await;
    let call = concat!(
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
        r#""capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list-configs","arguments":{}}}"#,
        "\n"
    );
    let run = user.run(&["stdio"], call).await;
    assert!(run.is_success, "{}", run.text);
    let requests = upstream.requests();
    assert_eq!(requests[0].header("x-portkey-api-key"), Some(KEY));
    assert!(!run.text.contains(KEY), "{}", run.text);
}

/// The server acts with its callers' keys alone.
#[tokio::test]
async fn server_with_callers_keys_does_not_read_the_stored_one() {
    let upstream = upstream().await;
    let user = User::new(&upstream.base_url);
    user.log_in(KEY).await;
    // Its list can no longer be read, so that reading it would stop the start.
    fs::set_permissions(user.list(), fs::Permissions::from_mode(0o644)).unwrap();
    let run = user.run(&["stdio"], "").await;
    assert!(
        !run.is_success && run.text.contains("chmod 600"),
        "{}",
        run.text
    );
    let args = ["http", "--auth", "key", "--listen", "203.0.113.1:1"];
    let run = user.run(&args, "").await;
    assert!(
        run.text.contains("203.0.113.1:1") && !run.text.contains("chmod"),
        "{}",
        run.text
    );
}

#[tokio::test]
async fn without_a_keychain_the_key_is_stored_in_a_file() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let user = User::new("http://127.0.0.1:1/v1");
    let run = user.run(&["login", "--stdin"], KEY).await;
    assert!(
        run.is_success && run.text.contains("there is no keychain here"),
        "{}",
        run.text
    );
    user.assert_mode();
    assert!(fs::read_to_string(user.list()).unwrap().contains(KEY));
    assert!(!run.text.contains(KEY), "{}", run.text);
}

#[tokio::test]
async fn unavailable_keychain_with_a_stored_key_is_an_error() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let user = User::new("http://127.0.0.1:1/v1");
    fs::create_dir_all(user.list().parent().unwrap()).unwrap();
    fs::write(user.list(), "[login.\"http://127.0.0.1:1/v1\"]\n").unwrap();
    fs::set_permissions(user.list(), fs::Permissions::from_mode(0o600)).unwrap();
    let run = user.run(CALL, "").await;
    assert!(
        !run.is_success && run.text.contains("cannot be read from the keychain"),
        "{}",
        run.text
    );
    // Another key makes it unnecessary to ask.
    let run = user
        .run(
            &[CALL, &["--api-key", "pk-1", "--retries", "0"]].concat(),
            "",
        )
        .await;
    assert!(!run.text.contains("keychain"), "{}", run.text);
}

#[tokio::test]
async fn logout_removes_the_key() {
    let upstream = upstream().await;
    let user = User::new(&upstream.base_url);
    user.log_in(KEY).await;
    let run = user.run(&["logout"], "").await;
    assert!(
        run.is_success && run.out.contains("is removed"),
        "{}",
        run.text
    );
    assert!(!user.list().exists());
    let run = user.run(&["logout"], "").await;
    assert!(
        run.is_success && run.out.contains("no key for"),
        "{}",
        run.text
    );
    assert!(!user.run(CALL, "").await.is_success);
}

#[tokio::test]
async fn malformed_key_is_not_stored() {
    let user = User::new("http://127.0.0.1:1/v1");
    for (key, error) in [
        ("", "is empty"),
        ("${PORTKEY_API_KEY}", "placeholder"),
        ("'pk-1'", "in quotes"),
        ("pk-1 pk-2", "blanks"),
        ("PORTKEY_API_KEY=pk-1", "give the key alone"),
    ] {
        let run = user.run(&["login", "--stdin", "--in-file"], key).await;
        assert!(!run.is_success && run.text.contains(error), "{}", run.text);
    }
    let huge = "k".repeat(70_000);
    let run = user.run(&["login", "--stdin", "--in-file"], &huge).await;
    assert!(!run.is_success && run.text.contains("more than a key"));
    let run = user.run(&["login"], KEY).await;
    assert!(
        !run.is_success && run.text.contains("--stdin"),
        "{}",
        run.text
    );
    assert!(!user.list().exists());
}

#[tokio::test]
async fn rejected_key_is_not_stored_with_verify() {
    let upstream = MockUpstream::start(|_| http_response("401 Unauthorized", "", "{}")).await;
    let user = User::new(&upstream.base_url);
    let login = ["login", "--stdin", "--in-file", "--verify"];
    let run = user.run(&login, KEY).await;
    assert!(
        !run.is_success && run.text.contains("Portkey rejects this key"),
        "{}",
        run.text
    );
    assert!(upstream.count() > 0 && !user.list().exists());
    assert!(!run.text.contains(KEY));
}

#[tokio::test]
async fn login_with_the_sandbox_or_an_unreachable_portkey_stores_no_key() {
    let user = User::new("http://127.0.0.1:1/v1");
    let login = ["login", "--stdin", "--in-file"];
    let run = user.run(&[&login[..], &["--sandbox"]].concat(), KEY).await;
    assert!(
        !run.is_success && run.text.contains("--sandbox"),
        "{}",
        run.text
    );
    let mut by_variable = user.command(&login);
    by_variable
        .env("PORTKEY_MCP_SANDBOX", "true")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || by_variable.output().unwrap());
    let run = Run::new(output.await.unwrap());
    assert!(
        !run.is_success && run.text.contains("the sandbox knows no keys of Portkey"),
        "{}",
        run.text
    );
    let run = user
        .run(&[&login[..], &["--verify", "--retries", "0"]].concat(), KEY)
        .await;
    assert!(
        !run.is_success && run.text.contains("so nothing was stored"),
        "{}",
        run.text
    );
    assert!(!user.list().exists());
}

#[tokio::test]
async fn whoami_without_an_answer_names_each_error_once_and_fails() {
    let user = User::new("http://127.0.0.1:1/v1");
    let run = user
        .run(&["whoami", "--api-key", KEY, "--retries", "0"], "")
        .await;
    assert!(!run.is_success, "{}", run.text);
    assert_eq!(run.out.matches("not read").count(), 1, "{}", run.text);
    assert!(
        run.out.contains("integrations, ") && !run.text.contains(KEY),
        "{}",
        run.text
    );
}

#[tokio::test]
async fn whoami_with_a_rejected_key_tells_nothing_about_the_plan() {
    let upstream = MockUpstream::start(|_| http_response("401 Unauthorized", "", "{}")).await;
    let user = User::new(&upstream.base_url);
    let run = user.run(&["whoami", "--api-key", KEY], "").await;
    assert!(
        !run.is_success && run.out.contains("refused by Portkey (401)"),
        "{}",
        run.text
    );
    assert!(!run.out.contains("plan"), "{}", run.text);
}

#[tokio::test]
async fn whoami_tells_where_the_key_comes_from() {
    let upstream = upstream().await;
    let user = User::new(&upstream.base_url);
    let run = user.run(&["whoami"], "").await;
    assert!(
        !run.is_success && run.out.contains("nowhere"),
        "{}",
        run.text
    );
    user.log_in(KEY).await;
    let run = user.run(&["whoami"], "").await;
    assert!(run.is_success, "{}", run.text);
    assert!(run.out.contains("login.toml"), "{}", run.text);
    assert!(run.out.contains(&upstream.base_url) && !run.text.contains(KEY));
    let run = user.run(&["whoami", "--sandbox"], "").await;
    assert!(
        run.is_success
            && run.out.contains("the embedded sandbox")
            && !run.out.contains(&upstream.base_url),
        "{}",
        run.text
    );
    let run = user.run(&["whoami", "--json", "--sandbox"], "").await;
    let answer: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(answer["portkey_key"], "organisation_admin");
}

#[tokio::test]
async fn doctor_tells_which_key_takes_precedence() {
    let upstream = upstream().await;
    let user = User::new(&upstream.base_url);
    user.log_in(KEY).await;
    let run = user.run(&["doctor"], "").await;
    assert!(
        run.out
            .contains("the key is the one that `portkey-mcp login` stored in"),
        "{}",
        run.text
    );
    let run = user.run(&["doctor", "--api-key", OTHER_KEY], "").await;
    assert!(
        run.out
            .contains("PORTKEY_API_KEY (--api-key) takes precedence over the key in"),
        "{}",
        run.text
    );
    assert!(!run.text.contains(KEY) && !run.text.contains(OTHER_KEY));
}

/// A client whose file has no references gets no key, and the stored one is used.
#[tokio::test]
async fn setup_relies_on_the_stored_key() {
    let user = User::new("http://127.0.0.1:1/v1");
    user.log_in(KEY).await;
    let run = user.run(&["setup", "cursor", "--yes"], "").await;
    assert!(
        run.is_success && run.out.contains("`portkey-mcp login` stored"),
        "{}",
        run.text
    );
    let file = user.home.path().join(".cursor/mcp.json");
    assert!(!fs::read_to_string(file).unwrap().contains("env"));
}

#[tokio::test]
async fn address_with_a_password_is_rejected_by_login() {
    let user = User::new("https://user:planted-7f3d9a@portkey.example.com/v1");
    let run = user.run(&["login", "--stdin", "--in-file"], KEY).await;
    assert!(
        !run.is_success && run.text.contains("may not hold credentials"),
        "{}",
        run.text
    );
    assert!(!run.text.contains("planted"), "{}", run.text);
    assert!(!user.list().exists());
}

#[tokio::test]
async fn concurrent_logins_lose_no_key() {
    let user = User::new("http://127.0.0.1:1/v1");
    let addresses = ["a", "b", "c", "d", "e", "f"].map(|name| format!("https://{name}.example/v1"));
    let started = addresses.each_ref().map(|address| {
        let mut login = user.command(&[
            "login",
            "--stdin",
            "--in-file",
            "--base-url",
            address.as_str(),
        ]);
        login.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = login.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(KEY.as_bytes())
            .unwrap();
        child
    });
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    let list = fs::read_to_string(user.list()).unwrap();
    for address in addresses {
        assert!(list.contains(&address), "{address}: {list}");
    }
    user.assert_mode();
}

/// There is no keychain here, so this only shows that its absence is no error.
#[tokio::test]
async fn key_of_the_keychain_is_replaced_by_one_in_the_file() {
    let user = User::new("https://portkey.example.com/v1");
    user.log_in(OTHER_KEY).await;
    let list = fs::read_to_string(user.list()).unwrap();
    let in_keychain = list.replace(&format!("key = \"{OTHER_KEY}\"\n"), "");
    assert_ne!(list, in_keychain);
    fs::write(user.list(), in_keychain).unwrap();
    user.log_in(KEY).await;
    assert!(fs::read_to_string(user.list()).unwrap().contains(KEY));
}

/// `script` provides the terminal, `stty` tells whether it echoes.
#[test]
fn terminal_echoes_again_after_an_interrupted_prompt() {
    struct Case {
        signal: &'static str,
        code: u32,
        args: &'static str,
    }
    if is_missing("script") {
        return;
    }
    let cases = [
        // Ctrl-C.
        Case {
            signal: "INT",
            code: 130,
            args: "login --in-file",
        },
        Case {
            signal: "TERM",
            code: 143,
            args: "login --in-file",
        },
        Case {
            signal: "TERM",
            code: 143,
            args: "setup zed --key clear --yes",
        },
    ];
    for Case { signal, code, args } in cases {
        let user = User::new("http://127.0.0.1:1/v1");
        let binary = env!("CARGO_BIN_EXE_portkey-mcp");
        // The shell writes its number and becomes the program.
        let shell =
            format!("stty echo; sh -c 'echo pid=$$; exec {binary} {args}'; echo code=$?; stty -a");
        let mut script = Command::new("script");
        script.args(["-qec", &shell, "/dev/null"]);
        for (name, value) in user.command(&[]).get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut shown = String::new();
        while !shown.contains("(not shown): ") {
            let mut bytes = [0; 256];
            let count = output.read(&mut bytes).unwrap();
            assert!(count > 0, "{shown}");
            shown += &String::from_utf8_lossy(&bytes[..count]);
        }
        let mut input = child.stdin.take().unwrap();
        if signal == "INT" {
            input.write_all(b"\x03").unwrap();
        } else {
            let pid = shown.split("pid=").nth(1).unwrap().lines().next().unwrap();
            let sent = Command::new("kill")
                .args([&format!("-{signal}"), pid.trim()])
                .status();
            assert!(sent.unwrap().success());
        }
        output.read_to_string(&mut shown).unwrap();
        drop(input);
        child.wait().unwrap();
        assert!(
            shown.contains(&format!("\ncode={code}\r")),
            "{args}: {shown}"
        );
        let words: Vec<_> = shown.split_whitespace().collect();
        assert!(
            words.contains(&"echo") && words.contains(&"icanon"),
            "{args}: {shown}"
        );
        assert!(!user.list().exists());
    }
}
