//! Rights that a Redis user needs, and detection of missing ones.

use redis::RedisError;

/// Rights of the Redis user, in ACL syntax:
/// <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>.
pub const REDIS_RIGHTS: &str = "~portkey-mcp:* -@all +del +evalsha +get +getex +ping +script|load \
    +select +set +time";

/// Returns the action that the user lacks a right for, if Redis reports that. A command is named
/// only if it is one of ours.
pub(super) fn missing_right(error: &RedisError) -> Option<String> {
    let text = error.to_string().to_ascii_lowercase();
    // Up to Redis 7.0, a missing right within a script has another error code.
    let in_script = text.contains("user executing the script");
    if error.code() != Some("NOPERM") && !in_script {
        return None;
    }
    let ours = REDIS_RIGHTS
        .split_whitespace()
        .filter_map(|right| right.strip_prefix('+'));
    let mut named = ours.filter(|command| text.contains(&format!("'{command}'")));
    Some(match named.next() {
        Some(command) => format!("run `{}`", command.to_ascii_uppercase().replace('|', " ")),
        None if in_script => "run `DEL`, `GET`, `SET` or `TIME` in a script".to_owned(),
        None if text.contains("keys") => "use the keys `portkey-mcp:*`".to_owned(),
        None => "run a command that is needed".to_owned(),
    })
}
