"""The Debian package: installed, run, and removed without a trace."""

import os
import pathlib
import subprocess

from artefacts.project import NAME, VERSION

from .home import Clock, TrialError, empty_home, prove
from .table import Row

INSTALLED = (
    f"/usr/bin/{NAME}",
    f"/usr/share/bash-completion/completions/{NAME}",
    f"/usr/share/zsh/vendor-completions/_{NAME}",
    f"/usr/share/fish/vendor_completions.d/{NAME}.fish",
)


def trial(dist: pathlib.Path) -> Row:
    """Tries all of it, as root or by sudo."""
    (package,) = dist.glob("*.deb")
    if _is_known():
        raise TrialError(f"{NAME} is installed on this machine; `dpkg --purge {NAME}` removes it")
    root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    with empty_home() as home:
        clock = Clock()
        try:
            home.run(*root, "dpkg", "--install", package)
            home.answer(NAME)
            row = Row("Debian", "`apt install ./portkey-mcp_*.deb`", clock.seconds, package.stat().st_size)
            shown = home.run("dpkg-query", "--show", "--showformat", "${Version}", NAME).stdout
            prove("deb: answers, and has the version", shown.partition("-")[0] == VERSION, shown)
            listed = home.run("dpkg-query", "--listfiles", NAME).stdout.splitlines()
            missing = [file for file in INSTALLED if file not in listed]
            prove("deb: has the binary and its completions", not missing, listed)
            pages = [file for file in listed if file.startswith(f"/usr/share/man/man1/{NAME}")]
            prove("deb: has man pages", len(pages) > 20, pages)
        finally:
            home.run(*root, "dpkg", "--purge", NAME)
        left = [file for file in (*INSTALLED, *pages) if os.path.exists(file)]
        prove("deb: is removed without a trace", not left and not _is_known(), left)
    return row


def _is_known() -> bool:
    return subprocess.run(["dpkg", "--status", NAME], capture_output=True, check=False).returncode == 0
