//! Texts that several pages show: times, states, and a call in one sentence.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::pipeline::approval::{CallDetails, DetailChange, Ticket, TicketState};

/// Maximum number of changes in the summary of a call.
const MAX_SUMMARY_CHANGES: usize = 3;
/// Maximum length of a value in the summary of a call, in characters.
const MAX_SUMMARY_CHARS: usize = 60;

/// Returns a call in a few words, such as `Delete integration “OpenAI Production”`.
pub(super) fn sentence(ticket: &Ticket) -> String {
    let details = ticket.details();
    let title = match details.title.as_str() {
        "" => &ticket.tool,
        title => title.trim_end_matches('.'),
    };
    match subject(details) {
        Some(subject) => format!("{title}: “{subject}”"),
        None => title.to_owned(),
    }
}

/// Returns the name of the target: as it is stored, or as the call sets it.
fn subject(details: &CallDetails) -> Option<&str> {
    let created = || {
        let mut changes = details.changes.iter();
        let named = changes.find(|change| change.path == "name" && !change.is_secret);
        named?.to.as_deref()
    };
    let id = || {
        let path = details.target.split('?').next()?;
        path.rsplit('/').next().filter(|id| !id.is_empty())
    };
    let stored = details.subject.as_deref().or(details.name.as_deref());
    match details.effect.as_str() {
        "create" => stored.or_else(created),
        _ => stored.or_else(id),
    }
}

/// Returns the first changes of a call, on one line.
pub(super) fn summary(details: &CallDetails) -> String {
    let changes = details.changes.iter().take(MAX_SUMMARY_CHANGES);
    let mut texts: Vec<String> = changes.map(change_summary).collect();
    let more = (details.changes.len() + details.more_changes).saturating_sub(texts.len());
    if more > 0 {
        texts.push(format!("{more} more"));
    }
    if texts.is_empty() {
        texts.extend(details.impact.iter().take(MAX_SUMMARY_CHANGES).cloned());
    }
    if texts.is_empty() {
        texts.extend(details.risks.iter().take(1).map(|risk| risk.text.clone()));
    }
    match texts.is_empty() {
        true => details.target.clone(),
        false => texts.join(" · "),
    }
}

fn change_summary(change: &DetailChange) -> String {
    let short = |text: &str| match text.char_indices().nth(MAX_SUMMARY_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    };
    let path = short(&change.path);
    match (&change.from, &change.to, change.is_secret) {
        (_, _, true) => format!("{path}: secret"),
        (Some(from), Some(to), _) => format!("{path} {} → {}", short(from), short(to)),
        (None, Some(to), _) => format!("{path} {}", short(to)),
        (_, None, _) => format!("{path} removed"),
    }
}

/// Returns the state of a decided ticket, such as `approved by Ann`.
pub(super) fn state_text(state: &TicketState) -> String {
    match state.as_parts() {
        (state, Some(by)) => format!("{state} by {by}"),
        (state, None) => state.to_owned(),
    }
}

/// Returns the time since a moment, such as `2 min ago`.
pub(super) fn ago(unix_seconds: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    match now.saturating_sub(unix_seconds) {
        0..5 => "just now".to_owned(),
        seconds @ 5..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// Returns a duration as minutes and seconds, such as `7:48`.
pub(super) fn minutes(left: Duration) -> String {
    let seconds = left.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, from: Option<&str>, to: Option<&str>) -> DetailChange {
        DetailChange {
            path: path.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            ..DetailChange::default()
        }
    }

    #[test]
    fn summary_names_the_first_changes_and_counts_the_rest() {
        let details = CallDetails {
            changes: vec![
                change("weight", Some("0.7"), Some("0.5")),
                change("mode", None, Some("fallback")),
                change("retry", Some("3"), None),
                change("other", None, None),
            ],
            more_changes: 2,
            ..CallDetails::default()
        };
        let expected = "weight 0.7 → 0.5 · mode fallback · retry removed · 3 more";
        assert_eq!(summary(&details), expected);
    }

    #[test]
    fn secret_is_named_without_its_value_in_the_summary() {
        let details = CallDetails {
            changes: vec![DetailChange {
                is_secret: true,
                ..change("key", None, Some("***"))
            }],
            ..CallDetails::default()
        };
        assert_eq!(summary(&details), "key: secret");
    }
}
