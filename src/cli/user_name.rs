//! Name of the user who runs a command, for approvals and the audit log.

use std::env;

/// Variables that shells set to the name of their user.
const VARIABLES: [&str; 3] = ["USER", "LOGNAME", "USERNAME"];

/// Returns the name of the shell's user, or else that of the account. Services and containers often have no such
/// variable.
pub(super) fn user_name() -> Option<String> {
    let mut named = VARIABLES.iter().filter_map(|name| env::var(name).ok());
    named
        .find(|name| !name.trim().is_empty())
        .or_else(account_name)
}

/// Returns the name of the account, or its number if this machine has no entry for it.
#[cfg(unix)]
fn account_name() -> Option<String> {
    use std::path::Path;

    use portkey_bounded_file::{MAX_CONFIG_BYTES, read_to_string};

    let id = rustix::process::getuid().as_raw().to_string();
    let accounts = read_to_string(Path::new("/etc/passwd"), MAX_CONFIG_BYTES).unwrap_or_default();
    let name = find_account(&accounts, &id).map(str::to_owned);
    Some(name.unwrap_or_else(|| format!("uid {id}")))
}

#[cfg(not(unix))]
const fn account_name() -> Option<String> {
    None
}

/// Returns the name of the account with this number: the first and the third field of passwd(5).
#[cfg(unix)]
fn find_account<'a>(accounts: &'a str, id: &str) -> Option<&'a str> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1) == Some(id)).then_some(name)
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::find_account;

    #[test]
    fn account_is_found_by_its_number() {
        let accounts = "# comment\nroot:x:0:0:root:/root:/bin/sh\n:x:7:\nann:x:100:7::/home/ann:\n";
        assert_eq!(find_account(accounts, "0"), Some("root"));
        assert_eq!(find_account(accounts, "100"), Some("ann"));
        assert_eq!(find_account(accounts, "7"), None);
        assert_eq!(find_account(accounts, "10"), None);
    }
}
