//! Log lines for rejections that an operator may have to act on.

use super::*;
use crate::support::server::ServerProcess;

/// Sends a request that must be rejected, and returns its log line.
fn rejection_log_line(server: &mut ServerProcess, request: &[u8], status: u16) -> String {
    let reply = send_raw(server, request);
    assert_eq!(reply.status, status, "{reply:?}");
    server.read_until("request rejected")
}

#[test]
fn rejections_are_logged_with_path_address_and_reason() {
    struct Case<'a> {
        lines: &'a [&'a str],
        status: u16,
        reason: &'static str,
    }

    let mut server = ServerProcess::http().auth("key").start();
    let key = "x-portkey-api-key: pk-alice";
    let cases = [
        Case {
            lines: &[],
            status: 401,
            reason: "reason=\"access\" why=\"send your Portkey API key",
        },
        Case {
            lines: &["x-portkey-api-key: \"pk-planted\""],
            status: 401,
            reason: "is in quotes",
        },
        Case {
            lines: &[key, "host: evil.example"],
            status: 403,
            reason: "--allowed-host evil.example",
        },
        Case {
            lines: &[key, "origin: https://evil.example"],
            status: 403,
            reason: "--allowed-origin https://evil.example",
        },
    ];
    for Case {
        lines,
        status,
        reason,
    } in cases
    {
        let line = rejection_log_line(
            &mut server,
            &list_request("/mcp/readonly?a=planted", lines),
            status,
        );
        assert!(line.contains(" INFO "), "{line}");
        for part in [
            reason,
            "path=\"/mcp/readonly\"",
            "address=127.0.0.1",
            &format!("status={status}"),
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(
            !line.contains("planted") && !line.contains("pk-alice"),
            "{line}"
        );
    }
}

#[test]
fn rate_limit_rejection_is_logged_with_the_caller() {
    let mut server = ServerProcess::http()
        .sandbox()
        .auth("key")
        .args(&["--rate-limit", "1/h"])
        .start();
    let request = list_request("/mcp", &["x-portkey-api-key: pk-alice"]);
    assert_eq!(send_raw(&server, &request).status, 200);
    let line = rejection_log_line(&mut server, &request, 429);
    assert!(
        line.contains(" INFO ") && line.contains("caller=\"key-"),
        "{line}"
    );
}

#[test]
fn malformed_key_header_is_rejected_with_its_defect() {
    let server = ServerProcess::http().sandbox().auth("key").start();
    for (line, defect) in [
        (
            "x-portkey-api-key: ${PORTKEY_API_KEY}",
            "the key in the header `x-portkey-api-key` is a placeholder",
        ),
        ("x-portkey-api-key: Bearer pk-1", "begins with `Bearer`"),
        (
            "x-portkey-api-key: PORTKEY_API_KEY=pk-1",
            "begins with a name",
        ),
        ("x-portkey-api-key: pk-1 pk-2", "has blanks"),
    ] {
        let reply = send_raw(&server, &list_request("/mcp", &[line]));
        assert_eq!(reply.status, 401, "{line}");
        assert!(
            reply.error_message().contains(defect),
            "{line}: {}",
            reply.error_message()
        );
    }
    let lines = ["x-portkey-api-key: pk-1", "x-enkrypt-api-key: 'ek-1'"];
    let reply = send_raw(&server, &list_request("/mcp", &lines));
    assert!(
        reply
            .error_message()
            .contains("`x-enkrypt-api-key` is in quotes"),
        "{}",
        reply.error_message()
    );
}
