//! Damaged logs, and text that is no log.

use std::{fs, path::PathBuf, sync::LazyLock};

use portkey_mcp::observability::audit::{Damage, Report, Verifier};
use proptest::prelude::*;
use serde_json::json;

use super::{AuditFolder, call_from_shell, run_verify};

/// A log of six entries.
static SAMPLE_LOG: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = AuditFolder::new();
    for _ in 0..6 {
        assert!(
            call_from_shell(&folder, "list-labels", &json!({ "search": "a" }), &[])
                .1
                .contains("data")
        );
    }
    fs::read(folder.log_path()).unwrap()
});

fn verify_text(text: &[u8]) -> Report {
    let mut verifier = Verifier::new(None, false);
    verifier.verify_reader("log", text).unwrap();
    verifier.into_report()
}

fn findings(text: &[u8]) -> Vec<(u64, Damage)> {
    verify_text(text)
        .findings
        .into_iter()
        .map(|finding| (finding.line, finding.damage))
        .collect()
}

#[test]
fn each_kind_of_damage_is_reported_with_its_line() {
    let text = String::from_utf8(SAMPLE_LOG.clone()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let of = |numbers: &[usize]| -> String { numbers.iter().map(|at| lines[at - 1]).collect() };
    let changed = lines[2].replace("answered", "denied");
    let forged = changed.replace(r#""seq":3"#, r#""seq":9"#);
    let cases = [
        (of(&[1, 2, 3, 4, 5, 6]), vec![]),
        (
            of(&[1, 2, 4, 5, 6]),
            vec![(3, Damage::Missing { from: 3, to: 3 })],
        ),
        (
            of(&[2, 3, 4, 5, 6]),
            vec![(1, Damage::Missing { from: 1, to: 1 })],
        ),
        (
            of(&[1, 5, 6]),
            vec![(2, Damage::Missing { from: 2, to: 4 })],
        ),
        (
            of(&[1, 2, 4, 3, 5, 6]),
            vec![
                (3, Damage::Missing { from: 3, to: 3 }),
                (4, Damage::Misplaced { seq: 3, after: 4 }),
            ],
        ),
        (
            of(&[1, 2, 2, 3, 4, 5, 6]),
            vec![(3, Damage::Misplaced { seq: 2, after: 2 })],
        ),
        (
            of(&[1, 2]) + &changed + &of(&[4, 5, 6]),
            vec![(3, Damage::Changed)],
        ),
        (
            of(&[1, 2]) + &forged + &of(&[3, 4, 5, 6]),
            vec![
                (3, Damage::Changed),
                (4, Damage::Misplaced { seq: 3, after: 3 }),
            ],
        ),
        (
            of(&[1, 2]) + "{}\n" + &of(&[3]),
            vec![
                (3, Damage::Unreadable),
                (4, Damage::Misplaced { seq: 3, after: 3 }),
            ],
        ),
        (
            of(&[1, 2]) + lines[2].trim_end(),
            vec![(3, Damage::Truncated)],
        ),
        (of(&[1, 2]) + &lines[2][..50], vec![(3, Damage::Truncated)]),
        (String::new(), vec![]),
    ];
    for (text, expected) in cases {
        assert_eq!(findings(text.as_bytes()), expected, "{text}");
    }
}

/// Anyone can compute the hash of a forged entry, but the next entry does not match it.
#[test]
fn forged_entry_is_detected_by_the_next_entry() {
    use sha2::{Digest, Sha256};
    let text = String::from_utf8(SAMPLE_LOG.clone()).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let content = lines[2]
        .split(",\"hash\"")
        .next()
        .unwrap()
        .replace("answered", "denied");
    let hash: String = Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    lines[2] = format!("{content},\"hash\":\"{hash}\"}}\n");
    assert_eq!(findings(lines.concat().as_bytes()), [(4, Damage::Unlinked)]);
}

#[test]
fn findings_are_bounded() {
    let report = verify_text("{}\n".repeat(1000).as_bytes());
    assert_eq!(
        (report.lines, report.findings.len(), report.more_findings),
        (1000, 100, 900)
    );
}

#[test]
fn verify_command_names_the_damaged_line_and_fails() {
    let folder = AuditFolder::new();
    let text = String::from_utf8(SAMPLE_LOG.clone()).unwrap();
    fs::write(
        folder.log_path(),
        text.replacen("list-labels", "list-lapels", 1),
    )
    .unwrap();
    let (ok, output) = run_verify(&[&folder.log_path()]);
    let expected = format!("{}:1: this line was changed", folder.log_path());
    assert!(
        !ok && output.contains(&expected) && output.contains("lines 2 to 6"),
        "{output}"
    );
    let (ok, output) = run_verify(&[&folder.path("none")]);
    assert!(!ok && output.contains("cannot read"), "{output}");
}

#[test]
fn missing_entries_are_not_counted_as_verified() {
    let folder = AuditFolder::new();
    let text = String::from_utf8(SAMPLE_LOG.clone()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(
        folder.log_path(),
        [lines[0], lines[1], lines[4], lines[5]].concat(),
    )
    .unwrap();
    let (ok, output) = run_verify(&[&folder.log_path()]);
    assert!(
        !ok && output.contains("lines 3 to 4 of the chain are missing"),
        "{output}"
    );
    assert!(
        output.contains("4 of the lines 1 to 6 of the chain are intact"),
        "{output}"
    );
}

#[test]
fn empty_log_fails_verification() {
    let folder = AuditFolder::new();
    fs::write(folder.log_path(), "").unwrap();
    let empty = format!("{}: 0 entries: the file is empty", folder.log_path());
    for options in [&[][..], &["--partial"]] {
        let log = folder.log_path();
        let (ok, output) = run_verify(&[&[&*log], options].concat());
        assert!(!ok && output.contains(&empty), "{options:?}: {output}");
    }
    // The state after a run of `logrotate`.
    let full = folder.path("full");
    fs::write(&full, &*SAMPLE_LOG).unwrap();
    let (ok, output) = run_verify(&[&folder.log_path(), &full]);
    assert!(
        ok && output.contains(&empty) && output.contains("lines 1 to 6"),
        "{output}"
    );
}

proptest! {
    #[test]
    fn any_changed_byte_is_detected(at in 0..SAMPLE_LOG.len(), byte: u8) {
        let mut text = SAMPLE_LOG.clone();
        prop_assume!(text[at] != byte);
        text[at] = byte;
        prop_assert!(!findings(&text).is_empty());
    }

    #[test]
    fn any_removed_or_inserted_byte_is_detected(at in 0..SAMPLE_LOG.len(), byte: u8) {
        let mut text = SAMPLE_LOG.clone();
        text.remove(at);
        prop_assert!(!findings(&text).is_empty(), "without {at}");
        let mut text = SAMPLE_LOG.clone();
        text.insert(at, byte);
        prop_assert!(!findings(&text).is_empty(), "with {byte} at {at}");
    }

    #[test]
    fn any_removed_section_is_detected(from in 0..SAMPLE_LOG.len(), length in 1..2000_usize) {
        let mut text = SAMPLE_LOG.clone();
        text.drain(from..(from + length).min(SAMPLE_LOG.len()));
        // Truncation at the end of a line leaves an earlier state of the log.
        let is_earlier = SAMPLE_LOG.starts_with(&text) && (text.is_empty() || text.ends_with(b"\n"));
        prop_assume!(!is_earlier);
        prop_assert!(!findings(&text).is_empty());
    }

    #[test]
    fn arbitrary_bytes_do_not_break_the_verifier(
        pieces in prop::collection::vec((any::<Vec<u8>>(), 0..SAMPLE_LOG.len(), 0..600_usize), 0..20)
    ) {
        // Noise between sections of a log reaches more code than noise alone.
        let mut text = Vec::new();
        for (noise, at, length) in pieces {
            text.extend(noise);
            text.extend(&SAMPLE_LOG[at..(at + length).min(SAMPLE_LOG.len())]);
        }
        let _ = findings(&text);
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("log");
        fs::write(&path, &text).unwrap();
        let report = Verifier::new(None, true).verify_files(&[path.clone(), path]).unwrap();
        prop_assert!(report.lines.is_multiple_of(2));
    }
}
