//! Reports the state of watched files at `/readyz` and in metrics.

use std::time::Duration;

use portkey_file_watch::FileStatus;
use portkey_readiness::{ComponentName, ComponentState, DegradedReason, Readiness};

/// Maximum age of the last check of the files before the component is degraded. A check takes a fraction of it.
const MAX_CHECK_AGE: Duration = Duration::from_secs(30);

/// Registers every kind of file that is watched now as a component.
pub(super) fn report(readiness: &Readiness) {
    for FileStatus { kind, .. } in portkey_file_watch::file_statuses() {
        let status = move || {
            portkey_file_watch::file_statuses()
                .into_iter()
                .find(|status| status.kind == kind)
        };
        readiness.watch(ComponentName::File(kind), move || {
            status().map_or(ComponentState::OK, file_state)
        });
    }
}

fn file_state(status: FileStatus) -> ComponentState {
    let state = match status {
        FileStatus {
            is_rejected: true, ..
        } => ComponentState::degraded(DegradedReason::InvalidVersion),
        FileStatus { since_check, .. } if since_check > MAX_CHECK_AGE => {
            ComponentState::degraded(DegradedReason::NotChecked)
        }
        _ => ComponentState::OK,
    };
    state.with_age(status.since_check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portkey_file_watch::FileKind;

    #[test]
    fn file_state_includes_the_age_of_the_last_check() {
        struct Case {
            is_refused: bool,
            seconds: u64,
            degraded: Option<DegradedReason>,
        }
        let cases = [
            Case {
                is_refused: false,
                seconds: 2,
                degraded: None,
            },
            Case {
                is_refused: true,
                seconds: 2,
                degraded: Some(DegradedReason::InvalidVersion),
            },
            Case {
                is_refused: false,
                seconds: 31,
                degraded: Some(DegradedReason::NotChecked),
            },
        ];
        for Case {
            is_refused,
            seconds,
            degraded,
        } in cases
        {
            let since_check = Duration::from_secs(seconds);
            let state = file_state(FileStatus {
                kind: FileKind::PolicyFile,
                since_check,
                is_rejected: is_refused,
            });
            assert_eq!(
                state,
                ComponentState {
                    degraded,
                    since_success: Some(since_check)
                }
            );
        }
    }
}
