"""The platforms that have a build, and the names that npm, PyPI and MCPB have for each."""

import dataclasses
import pathlib
import re


@dataclasses.dataclass(frozen=True)
class Target:
    """A platform of rustc."""

    triple: str
    # As Node.js names them: `process.platform`, `process.arch`, and `libc` of package.json.
    node_platform: str
    node_arch: str
    libc: str | None = None
    # Tags of wheels, without those that depend on the binary.
    wheel_tags: tuple[str, ...] = ()

    @property
    def executable(self) -> str:
        return "portkey-mcp.exe" if self.node_platform == "win32" else "portkey-mcp"

    @property
    def npm_name(self) -> str:
        libc = {"glibc": "-gnu", "musl": "-musl", None: ""}[self.libc]
        return f"portkey-mcp-{self.node_platform}-{self.node_arch}{libc}"

    def platform_tags(self, binary: pathlib.Path) -> list[str]:
        """Returns the tags of the wheel. A binary for glibc needs at least the version whose symbols it uses."""
        if self.libc != "glibc":
            return list(self.wheel_tags)
        versions = re.findall(rb"GLIBC_2\.(\d+)", binary.read_bytes())
        arch = self.triple.partition("-")[0]
        return [f"manylinux_2_{max([17, *map(int, versions)])}_{arch}"]


def _static_tags(arch: str) -> tuple[str, ...]:
    # A static binary runs with either C library, and with none.
    return (f"manylinux_2_17_{arch}", f"manylinux2014_{arch}", f"musllinux_1_1_{arch}")


TARGETS = (
    Target("x86_64-unknown-linux-gnu", "linux", "x64", "glibc"),
    Target("aarch64-unknown-linux-gnu", "linux", "arm64", "glibc"),
    Target("x86_64-unknown-linux-musl", "linux", "x64", "musl", _static_tags("x86_64")),
    Target("aarch64-unknown-linux-musl", "linux", "arm64", "musl", _static_tags("aarch64")),
    Target("x86_64-apple-darwin", "darwin", "x64", wheel_tags=("macosx_10_12_x86_64",)),
    Target("aarch64-apple-darwin", "darwin", "arm64", wheel_tags=("macosx_11_0_arm64",)),
    Target("x86_64-pc-windows-msvc", "win32", "x64", wheel_tags=("win_amd64",)),
)


def target(triple: str) -> Target:
    """Returns the platform of that name."""
    for each in TARGETS:
        if each.triple == triple:
            return each
    known = ", ".join(each.triple for each in TARGETS)
    raise SystemExit(f"no target {triple}; there are {known}")
