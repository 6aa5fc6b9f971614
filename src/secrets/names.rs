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

/// A word that tells wherever it stands in a name.
struct Word {
    text: &'static str,
    letters: u32,
}

const SECRET: Word = word("secret");
const PASSWORD: Word = word("password");
const SERVICE_ACCOUNT: Word = word("serviceaccount");
const PRIVATE_KEY: Word = word("privatekey");
const ACCESS_KEY: Word = word("accesskey");

/// Each telling name, by its letters: nearly all names have not the letters of any.
const LETTERS: [u32; 14] = [
    SECRET.letters,
    letters("token"),
    letters("key"),
    letters("authorization"),
    PASSWORD.letters,
    letters("credential"),
    letters("clientauth"),
    SERVICE_ACCOUNT.letters,
    letters("signedurl"),
    letters("invitelink"),
    letters("headers"),
    letters("cookie"),
    letters("metadata"),
    letters("conditions"),
];

/// Names that tell where credentials are kept, and are words elsewhere.
const STRICT: [&str; 18] = [
    "key",
    "passwd",
    "pwd",
    "passphrase",
    "authkey",
    "masterkey",
    "signingkey",
    "encryptionkey",
    "subscriptionkey",
    "accountkey",
    "sharedkey",
    "hmackey",
    "functionskey",
    "connectionstring",
    "bearer",
    "jwt",
    "auth",
    "pat",
];

const fn word(text: &'static str) -> Word {
    Word { text, letters: letters(text) }
}

/// The letters of a name, a bit for each, large or small. What else is in it may pass for a letter.
const fn letters(name: &str) -> u32 {
    let (mut found, mut rest) = (0, name.as_bytes());
    while let [first, more @ ..] = rest {
        // By its last five bits, in which a large letter is as a small one.
        found |= 1_u32.wrapping_shl(*first as u32);
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

/// Whether a name is that of an API key, or of the id of one.
pub(super) fn is_api_key(name: &str) -> bool {
    let mut bare = name.bytes().rev().filter(|byte| !matches!(byte, b'-' | b'_' | b'.'));
    "apikey"
        .bytes()
        .rev()
        .all(|letter| bare.next().is_some_and(|byte| byte.eq_ignore_ascii_case(&letter)))
}

/// Whether a number of this name is one of tokens.
pub(super) fn counts_tokens(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("token")
}

/// Whether a text under this name may be a secret.
pub fn is_secret_name(name: &str) -> bool {
    matches!(read(name, true), Name::Secret | Name::Sealed)
}

/// Whether the name of a field that nobody has declared may be that of a secret. Wider than [`read`], which
/// knows the names of the API: an id of a key that is blanked costs less than a key that is shown.
pub(super) fn may_be_secret(name: &str) -> bool {
    const ENDINGS: [&str; 24] = [
        "key",
        "keys",
        "key1",
        "key2",
        "token",
        "tokens",
        "pass",
        "passwd",
        "passphrase",
        "passcode",
        "pwd",
        "auth",
        "creds",
        "jwt",
        "bearer",
        "pat",
        "pin",
        "otp",
        "session",
        "dsn",
        "hmac",
        "sas",
        "connectionstring",
        "header",
    ];
    let bare: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let bare = bare.to_ascii_lowercase();
    ENDINGS.iter().any(|ending| bare.ends_with(ending)) || bare.ends_with("headers")
}

/// Reads a name. `strict` where credentials are kept, so that even `key` is one.
pub(super) fn read(name: &str, strict: bool) -> Name {
    let found = letters(name);
    if !strict && LETTERS.iter().all(|telling| found & telling != *telling) {
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
        // Elsewhere `key` is no secret anyway.
        "groupby" if strict => return Name::Labels,
        "headers" | "customheaders" | "requestheaders" | "responseheaders" | "portkeyheaders"
        | "cookie" | "setcookie" | "clientauth" => return Name::Sealed,
        "signedurl" | "invitelink" => return Name::Secret,
        bare if strict && STRICT.contains(&bare) => return Name::Secret,
        _ => {}
    }
    let has = |word: &Word| found & word.letters == word.letters && bare.contains(word.text);
    let sealed = bare.starts_with("credential")
        || has(&SERVICE_ACCOUNT)
        || has(&PRIVATE_KEY)
        || has(&PASSWORD)
        || has(&ACCESS_KEY);
    let secret = bare.ends_with("token")
        || bare.ends_with("apikey")
        || bare.ends_with("authorization")
        || has(&SECRET);
    let refers = bare.starts_with("secretreference") || bare.starts_with("secrets");
    match (sealed, secret) {
        (true, _) => Name::Sealed,
        (false, true) if !refers && !HARMLESS.contains(&name) => Name::Secret,
        _ => Name::Plain,
    }
}
