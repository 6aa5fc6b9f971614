//! The OAuth settings file and its errors.

use std::{fs, path::Path};

use portkey_api::catalog::Catalog;
use portkey_mcp::auth::{
    oauth::OAuthConfig,
    principal::{Credentials, MissingKey},
};

use super::TOOLSETS;

const HEAD: &str =
    "resource = \"https://mcp.example.com/mcp\"\nissuer = \"https://login.example.com\"\n";
const TENANT: &str = "[[tenant]]\nvalue = \"a\"\nportkey_key = \"env:CARGO_PKG_NAME\"\n";

#[test]
fn complete_file_is_parsed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "pk-planted-secret\n").unwrap();
    let file = key.to_str().unwrap();
    let text = format!(
        "resource = \"http://localhost:8787/mcp\"
        issuer = \"http://[::1]:9000/realms/one\"
        audiences = [\"api://portkey-mcp\"]
        leeway_seconds = 300
        scopes_supported = [\"openid\", \"portkey:read\"]
        [introspection]
        url = \"https://login.example.com/introspect?tenant=1\"
        client_id = \"mcp\"
        client_secret = \"file:{file}\"
        [[tenant]]
        claim = \"org.id\"
        value = \"acme\"
        name = \"acme\"
        portkey_key = \"file:{file}\"
        enkrypt_key = \"env:CARGO_PKG_NAME\"
        toolsets = [\"prompts\"]
        scopes = [\"portkey:read\", \"portkey:prompts:write\"]
        policy = \"own.yaml\""
    );
    let policy = folder.path().join("own.yaml");
    fs::write(&policy, "version: '1'").unwrap();
    let config = OAuthConfig::parse(&text, folder.path(), TOOLSETS, None).unwrap();
    assert_eq!(config.files(), [key.clone(), key.clone(), policy]);
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("planted") && shown.contains(&format!("file:{file}")),
        "{shown}"
    );
}

#[test]
fn invalid_file_is_reported_with_its_line() {
    let with = |line: &str| format!("{HEAD}{line}\n{TENANT}");
    let tenant = |line: &str| format!("{HEAD}{TENANT}{line}\n");
    let resource = |uri: &str| format!("issuer = \"https://a\"\nresource = \"{uri}\"\n{TENANT}");
    let introspection = |more: &str, id: &str| {
        let url = "url = \"https://a\"\nclient_secret = \"env:CARGO_PKG_NAME\"";
        format!("{HEAD}{more}[introspection]\nclient_id = \"{id}\"\n{url}\n{TENANT}")
    };
    for (text, line, words) in [
        ("resource".to_owned(), 1, "expected"),
        (HEAD.to_owned(), 1, "there is no [[tenant]]"),
        (
            format!("issuer = \"https://a\"\n{TENANT}"),
            1,
            "missing field `resource`",
        ),
        (with("audience = \"x\""), 3, "unknown field `audience`"),
        (tenant("key = \"x\""), 6, "unknown field `key`"),
        (resource("mcp"), 2, "give one such as"),
        (resource("http://mcp.example.com/"), 2, "only https"),
        (resource("ftp://mcp.example.com/"), 2, "only https"),
        (resource("https://mcp.example.com/#a"), 2, "fragment"),
        (resource("https://me:pw@mcp.example.com/"), 2, "password"),
        (resource("https://mcp.example.com/?a=b"), 2, "query"),
        (
            with("jwks_url = \"http://keys.example.com\""),
            3,
            "only https",
        ),
        (
            with("jwks_url = \"http://localhost.example.com\""),
            3,
            "only https",
        ),
        (with("audiences = [\"\"]"), 3, "an audience is empty"),
        (with("algorithms = []"), 3, "at least one"),
        (with("algorithms = [\"none\"]"), 3, "choose among RS256"),
        (
            with("algorithms = [\"RS256\", \"HS256\"]"),
            3,
            "choose among RS256",
        ),
        (with("leeway_seconds = 301"), 3, "at most 300"),
        (with("leeway_seconds = -1"), 3, "invalid value"),
        (
            with("scopes_supported = [\"portkey:read write\"]"),
            3,
            "no blanks",
        ),
        (
            introspection("jwks_url = \"https://a\"\n", "a"),
            5,
            "leave out",
        ),
        (
            introspection("algorithms = [\"RS256\"]\n", "a"),
            5,
            "leave out",
        ),
        (introspection("", " "), 4, "client_id is empty"),
        (
            tenant("enkrypt_key = \"env:NO_SUCH_VARIABLE_HERE\""),
            6,
            "NO_SUCH_VARIABLE_HERE is not set",
        ),
        (
            tenant("enkrypt_key = \"file:/no/such/file\""),
            6,
            "/no/such/file",
        ),
        (
            tenant("enkrypt_key = \"pk-planted-secret\""),
            6,
            "env:VARIABLE or file:PATH",
        ),
        (tenant("enkrypt_key = pk-planted-secret"), 6, "string"),
        (
            tenant("toolsets = [\"prompt\"]"),
            6,
            "there is no toolset `prompt`",
        ),
        (
            tenant("scopes = [\"portkey:all\"]"),
            6,
            "`portkey:all`: it is no scope",
        ),
        (
            tenant("scopes = [\"portkey:prompt:read\"]"),
            6,
            "there is no toolset `prompt`",
        ),
        (tenant("name = \"a\\nb\""), 6, "1 to 64 letters"),
        (tenant("scopes = []"), 6, "could do nothing"),
        (tenant("policy = \"no-such.yaml\""), 6, "no-such.yaml"),
        (
            format!("{HEAD}{}", TENANT.replace("\"a\"", "\"\"")),
            4,
            "value is empty",
        ),
    ] {
        let error = OAuthConfig::parse(&text, Path::new(""), TOOLSETS, None)
            .unwrap_err()
            .to_string();
        let expected = format!("line {line}: ");
        assert!(
            error.starts_with(&expected) && error.contains(words),
            "{text}\n{error}"
        );
        assert!(!error.contains("planted"), "{error}");
    }
}

#[test]
fn documented_example_is_valid() {
    let text = fs::read_to_string("docs/authentication.md").unwrap();
    let examples = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let whole: Vec<_> = examples
        .filter(|example| example.contains("issuer = "))
        .collect();
    assert_eq!(whole.len(), 1);
    let anyone = Credentials {
        portkey: None,
        enkrypt: None,
        missing_key: MissingKey::Caller,
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auditors.yaml"), "version: '1'").unwrap();
    OAuthConfig::parse(whole[0], folder.path(), &Catalog::domains(), Some(&anyone)).unwrap();
}
