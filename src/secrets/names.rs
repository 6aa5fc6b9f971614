//! What a field's name gives away (secrets.md §7.1, §7.2).

/// How a field of this name is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Nothing is known of it.
    Plain,
    /// A text in it is a secret.
    Secret,
    /// Every text in it and below is a secret.
    Sealed,
    /// It has keys and values that say nothing about secrets.
    Labels,
}

/// Names that look like a secret's and are not: where in a manager one is found, and where a list goes on.
const HARMLESS: &[&str] = &[
    "secret_key",
    "secret_mappings",
    "secret_path",
    "next_page_token",
    "next_token",
    "page_token",
    "continuation_token",
];

/// Each telling name, by its letters: nearly all names have not the letters of any.
const LETTERS: [u32; 14] = [
    letters("secret"),
    letters("token"),
    letters("key"),
    letters("authorization"),
    letters("password"),
    letters("credential"),
    letters("clientauth"),
    letters("serviceaccount"),
    letters("signedurl"),
    letters("invitelink"),
    letters("headers"),
    letters("cookie"),
    letters("metadata"),
    letters("conditions"),
];

/// The letters of a name, a bit for each.
const fn letters(name: &str) -> u32 {
    let (mut found, mut rest) = (0, name.as_bytes());
    while let [first, more @ ..] = rest {
        let letter = first.to_ascii_lowercase();
        if letter.is_ascii_lowercase() {
            found |= 1 << (letter - b'a');
        }
        rest = more;
    }
    found
}

/// Longer names are nobody's; they are told by their beginning.
const LONGEST: usize = 64;

/// Whether what stands at a path such as `targets[0].api_key` is masked wherever it is read.
pub(super) fn guard(path: &str) -> bool {
    let names = || path.split('.').map(|step| step.split('[').next().unwrap_or_default());
    names().any(|name| read(name, true) == Name::Sealed)
        || names().next_back().is_some_and(|name| read(name, true) == Name::Secret)
}

/// Reads a name. `strict` where credentials are kept, so that even `key` is one.
pub(super) fn read(name: &str, strict: bool) -> Name {
    let found = letters(name);
    if LETTERS.iter().all(|telling| found & telling != *telling) {
        return Name::Plain;
    }
    // `apiKey`, `api-key` and `api_key` are one name.
    let mut buffer = [0; LONGEST];
    let mut length = 0;
    for byte in name.bytes().filter(|byte| !matches!(byte, b'-' | b'_' | b'.')) {
        let Some(slot) = buffer.get_mut(length) else { break };
        *slot = byte.to_ascii_lowercase();
        length += 1;
    }
    let Some(Ok(bare)) = buffer.get(..length).map(str::from_utf8) else { return Name::Plain };
    match bare {
        "metadata" | "conditions" => return Name::Labels,
        "headers" | "customheaders" | "requestheaders" | "responseheaders" | "portkeyheaders"
        | "cookie" | "setcookie" | "clientauth" => return Name::Sealed,
        "signedurl" | "invitelink" => return Name::Secret,
        "key" if strict => return Name::Secret,
        _ => {}
    }
    let sealed = bare.starts_with("credential")
        || bare.contains("serviceaccount")
        || bare.contains("privatekey")
        || bare.contains("password")
        || bare.contains("accesskey");
    let secret = bare.ends_with("token")
        || bare.ends_with("apikey")
        || bare.ends_with("authorization")
        || bare.contains("secret");
    let refers = bare.starts_with("secretreference") || bare.starts_with("secrets");
    match (sealed, secret) {
        (true, _) => Name::Sealed,
        (false, true) if !refers && !HARMLESS.contains(&name) => Name::Secret,
        _ => Name::Plain,
    }
}
