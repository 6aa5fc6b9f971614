//! A test whose program is missing is reported as skipped: runs one test of this binary on a machine
//! without `redis-server`.

use std::process::Command;

use crate::support::programs::REDIS_VARIABLE;

const TEST: &str = "store_redis::redis_password_is_used_and_never_shown";

fn run(more: &[(&str, &str)]) -> (bool, String) {
    let nothing = tempfile::tempdir().unwrap();
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests
        .args(["--exact", TEST])
        .env_remove(REDIS_VARIABLE)
        .env("PATH", nothing.path());
    let ended = tests.envs(more.iter().copied()).output().unwrap();
    let output = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (ended.status.success(), output.concat())
}

#[test]
fn test_without_redis_server_is_reported_as_skipped() {
    let (passed, output) = run(&[]);
    assert!(passed, "{output}");
    let last = output.trim_end().lines().last().unwrap();
    assert_eq!(last, format!("skipped for want of redis-server: 1, {TEST}"));
}

#[test]
fn missing_redis_server_fails_the_test_if_required() {
    let (passed, output) = run(&[(REDIS_VARIABLE, "required")]);
    assert!(
        !passed && output.contains("apt-get install redis-server"),
        "{output}"
    );
}
