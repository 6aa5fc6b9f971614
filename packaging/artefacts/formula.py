"""The formula of Homebrew, for a tap."""

import pathlib

from .archive import stem
from .pack import sha256
from .project import DESCRIPTION, LICENSE, NAME, REPOSITORY, VERSION, download_url

# Static on Linux, because Homebrew has a glibc of its own.
PLACES = (
    ("macos", "arm", "aarch64-apple-darwin"),
    ("macos", "intel", "x86_64-apple-darwin"),
    ("linux", "arm", "aarch64-unknown-linux-musl"),
    ("linux", "intel", "x86_64-unknown-linux-musl"),
)


def _archives(folder: pathlib.Path) -> str:
    text = ""
    for system in ("macos", "linux"):
        inner = ""
        for place, processor, triple in PLACES:
            archive = folder / f"{stem(triple)}.tar.gz"
            if place == system and archive.exists():
                inner += (
                    f"    on_{processor} do\n"
                    f'      url "{download_url(archive.name)}"\n'
                    f'      sha256 "{sha256(archive)}"\n'
                    "    end\n"
                )
        if inner:
            text += f"\n  on_{system} do\n{inner}  end\n"
    return text


def formula(folder: pathlib.Path) -> str:
    """Returns the formula, with the archives of a folder."""
    # `brew audit` wants a description without article, name and full stop.
    description = DESCRIPTION.removeprefix("An ").rstrip(".")
    return f'''class PortkeyMcp < Formula
  desc "{description}"
  homepage "{REPOSITORY}"
  version "{VERSION}"
  license "{LICENSE}"
{_archives(folder)}
  def install
    bin.install "{NAME}"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/{NAME}.bash" => "{NAME}"
    zsh_completion.install "completions/_{NAME}"
    fish_completion.install "completions/{NAME}.fish"
    pwsh_completion.install "completions/_{NAME}.ps1"
  end

  test do
    assert_match "openai-production", shell_output("#{{bin}}/{NAME} call list-all-integrations --sandbox")
  end
end
'''


def write_formula(folder: pathlib.Path) -> pathlib.Path:
    """Writes the formula, after the archives."""
    file = folder / f"{NAME}.rb"
    file.write_text(formula(folder))
    return file
