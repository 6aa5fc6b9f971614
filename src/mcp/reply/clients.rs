//! Clients that are known to give structured content to the model, and no text beside it.

/// A client whose structured content is known to reach the model.
struct StructuredClient {
    /// Name that the client declares.
    name: &'static str,
    /// First version of which that is known: major, minor, patch.
    since: [u32; 3],
}

/// The clients, with the reports that say so.
const STRUCTURED_CLIENTS: [StructuredClient; 1] = [
    // anthropics/claude-code#9962 says since when, #79944 what the model gets.
    StructuredClient {
        name: "claude-code",
        since: [2, 0, 22],
    },
];

/// Returns true if a client of this name and version gives structured content to the model.
///
/// The client declares both. One that is not what it says loses nothing but the text.
pub fn reads_structured_content(name: &str, version: &str) -> bool {
    let Some(version) = parse_version(version) else {
        return false;
    };
    STRUCTURED_CLIENTS
        .iter()
        .any(|client| client.name == name && client.since <= version)
}

/// Parses a version such as `2.1.280` or `2.1.280-beta.1`.
fn parse_version(version: &str) -> Option<[u32; 3]> {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = numbers.split('.').map(str::parse);
    let mut next = || parts.next()?.ok();
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::reads_structured_content;

    #[test]
    fn structured_content_is_read_since_a_version() {
        for (name, version, reads) in [
            ("claude-code", "2.0.21", false),
            ("claude-code", "2.0.22", true),
            ("claude-code", "2.1.280-beta.1", true),
            ("claude-code", "10.0.0", true),
            ("claude-code", "2.1", false),
            ("claude-code", "", false),
            ("Claude-Code", "2.1.0", false),
            ("claude", "9.9.9", false),
        ] {
            assert_eq!(
                reads_structured_content(name, version),
                reads,
                "{name} {version}"
            );
        }
    }
}
