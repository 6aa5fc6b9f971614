//! The MCP clients that this program knows: where their configuration lies, and how they write an entry.
//!
//! The sources are the documents of each client, which docs/clients names.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use etcetera::BaseStrategy;

/// Name of a client on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ClientName {
    /// Claude Desktop.
    ClaudeDesktop,
    /// Claude Code.
    ClaudeCode,
    /// Cursor.
    Cursor,
    /// VS Code.
    Vscode,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// Windsurf.
    Windsurf,
    /// Zed.
    Zed,
    /// Cline, in VS Code.
    Cline,
    /// Junie, in JetBrains IDEs.
    Jetbrains,
}

impl ClientName {
    /// Returns the name as it is written on the command line.
    pub(super) fn text(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Returns what is known about the client.
    pub(super) fn client(self) -> Option<&'static Client> {
        CLIENTS.iter().find(|client| client.name == self)
    }
}

/// Folder below which a file of a client lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Base {
    /// The home folder.
    Home,
    /// The folder that the variable names, or else the home folder and this path.
    Variable(&'static str, &'static str),
    /// `~/.config` or `%APPDATA%`.
    Config,
    /// `~/.config`, `~/Library/Application Support` or `%APPDATA%`.
    AppData,
}

impl Base {
    fn folder(self) -> Option<PathBuf> {
        let home = || etcetera::home_dir().ok();
        match self {
            Self::Home => home(),
            Self::Variable(name, path) => {
                let named = env::var_os(name).filter(|folder| !folder.is_empty());
                named
                    .map(PathBuf::from)
                    .or_else(|| Some(join(home()?, path)))
            }
            Self::AppData if cfg!(target_os = "macos") => {
                Some(home()?.join("Library/Application Support"))
            }
            Self::Config | Self::AppData => {
                Some(etcetera::choose_base_strategy().ok()?.config_dir())
            }
        }
    }
}

/// Place of a file or folder.
pub(super) type Place = (Base, &'static str);

fn locate((base, path): Place) -> Option<PathBuf> {
    Some(join(base.folder()?, path))
}

/// Joins a path with `/` to a folder, by the separator of this system.
fn join(folder: PathBuf, path: &str) -> PathBuf {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.fold(folder, |folder, part| folder.join(part))
}

/// Language of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// JSON, with comments.
    Json,
    /// TOML.
    Toml,
}

/// The form in which an entry names a variable that the client replaces by its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum References {
    /// The client replaces nothing.
    None,
    /// `${NAME}`.
    Braces,
    /// `${env:NAME}`.
    EnvBraces,
    /// `${input:id}`, which the client asks for once and stores.
    Inputs,
    /// A list of names.
    Names,
}

/// The form in which an entry names a server that is reached over HTTP.
#[derive(Clone, Copy, Debug)]
pub(super) struct HttpForm {
    /// Field of the address.
    pub(super) url: &'static str,
    /// Value of `type`.
    pub(super) kind: Option<&'static str>,
}

/// An MCP client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: ClientName,
    /// Name for people.
    pub(super) title: &'static str,
    /// Files for all projects of the user. The first that exists is used, or else the first.
    user_files: &'static [Place],
    /// File of one project, below its folder.
    project_file: Option<&'static str>,
    /// Folders that exist where the client is installed.
    folders: &'static [Place],
    pub(super) syntax: Syntax,
    /// Field of the file that holds the servers.
    pub(super) servers: &'static str,
    /// Value of `type` for a server that the client starts.
    pub(super) stdio_kind: Option<&'static str>,
    pub(super) http: Option<HttpForm>,
    pub(super) references: References,
    /// Text in the file of a project that the client replaces by the folder of the project.
    pub(super) project_folder: Option<&'static str>,
    /// True if the model gets every tool with every request.
    pub(super) shows_all_tools: bool,
    /// The next step after a change.
    pub(super) next: &'static str,
}

impl Client {
    /// Returns the file for all projects of the user.
    pub(super) fn user_file(&self) -> Option<PathBuf> {
        let mut files = self.user_files.iter().filter_map(|place| locate(*place));
        let first = files.next()?;
        match first.exists() {
            true => Some(first),
            false => Some(files.find(|file| file.exists()).unwrap_or(first)),
        }
    }

    /// Returns the file of the project in a folder, if the client has such files.
    pub(super) fn project_file(&self, folder: &Path) -> Option<PathBuf> {
        Some(join(folder.to_owned(), self.project_file?))
    }

    /// Returns every file that may configure the client in this folder.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let user = self.user_files.iter().filter_map(|place| locate(*place));
        let project = env::current_dir()
            .ok()
            .and_then(|folder| self.project_file(&folder));
        let mut files: Vec<_> = user.chain(project).collect();
        // The folder may be the home folder.
        files.dedup();
        files
    }

    /// Returns true if the client seems to be installed: it has a file or a folder on this machine.
    pub(super) fn is_installed(&self) -> bool {
        let places = self.user_files.iter().chain(self.folders);
        places
            .filter_map(|place| locate(*place))
            .any(|path| path.exists())
    }
}

/// The clients, in the order in which they are listed.
pub(super) const CLIENTS: &[Client] = &[
    Client {
        name: ClientName::ClaudeDesktop,
        title: "Claude Desktop",
        user_files: &[(Base::AppData, "Claude/claude_desktop_config.json")],
        project_file: None,
        folders: &[(Base::AppData, "Claude")],
        syntax: Syntax::Json,
        servers: "mcpServers",
        stdio_kind: None,
        // Servers elsewhere are added as connectors, in its settings.
        http: None,
        references: References::None,
        project_folder: None,
        shows_all_tools: true,
        next: "quit Claude Desktop and start it again",
    },
    Client {
        name: ClientName::ClaudeCode,
        title: "Claude Code",
        user_files: &[(Base::Variable("CLAUDE_CONFIG_DIR", ""), ".claude.json")],
        project_file: Some(".mcp.json"),
        folders: &[(Base::Home, ".claude")],
        syntax: Syntax::Json,
        servers: "mcpServers",
        stdio_kind: Some("stdio"),
        http: Some(HttpForm {
            url: "url",
            kind: Some("http"),
        }),
        references: References::Braces,
        // Without a default, Claude Code says that the variable is missing: it sets it for the server only.
        project_folder: Some("${CLAUDE_PROJECT_DIR:-.}"),
        // It searches tools by itself.
        shows_all_tools: false,
        next: "`claude mcp list` shows whether it connects",
    },
    Client {
        name: ClientName::Cursor,
        title: "Cursor",
        user_files: &[(Base::Home, ".cursor/mcp.json")],
        project_file: Some(".cursor/mcp.json"),
        folders: &[(Base::Home, ".cursor")],
        syntax: Syntax::Json,
        servers: "mcpServers",
        stdio_kind: None,
        http: Some(HttpForm {
            url: "url",
            kind: None,
        }),
        references: References::EnvBraces,
        project_folder: Some("${workspaceFolder}"),
        shows_all_tools: true,
        next: "restart Cursor, and look at its MCP settings",
    },
    Client {
        name: ClientName::Vscode,
        title: "VS Code",
        user_files: &[(Base::AppData, "Code/User/mcp.json")],
        project_file: Some(".vscode/mcp.json"),
        folders: &[(Base::AppData, "Code/User")],
        syntax: Syntax::Json,
        servers: "servers",
        stdio_kind: Some("stdio"),
        http: Some(HttpForm {
            url: "url",
            kind: Some("http"),
        }),
        references: References::Inputs,
        project_folder: Some("${workspaceFolder}"),
        shows_all_tools: true,
        next: "run `MCP: List Servers` in VS Code, and start the server",
    },
    Client {
        name: ClientName::Codex,
        title: "Codex",
        user_files: &[(Base::Variable("CODEX_HOME", ".codex"), "config.toml")],
        project_file: Some(".codex/config.toml"),
        folders: &[(Base::Variable("CODEX_HOME", ".codex"), "")],
        syntax: Syntax::Toml,
        servers: "mcp_servers",
        stdio_kind: None,
        http: Some(HttpForm {
            url: "url",
            kind: None,
        }),
        references: References::Names,
        project_folder: None,
        shows_all_tools: true,
        next: "`codex mcp list` shows it; `/mcp` in a session shows its tools",
    },
    Client {
        name: ClientName::Gemini,
        title: "Gemini CLI",
        user_files: &[(
            Base::Variable("GEMINI_CLI_HOME", ""),
            ".gemini/settings.json",
        )],
        project_file: Some(".gemini/settings.json"),
        folders: &[(Base::Variable("GEMINI_CLI_HOME", ""), ".gemini")],
        syntax: Syntax::Json,
        servers: "mcpServers",
        stdio_kind: None,
        http: Some(HttpForm {
            url: "httpUrl",
            kind: None,
        }),
        references: References::Braces,
        project_folder: None,
        shows_all_tools: true,
        next: "`gemini mcp list` shows whether it connects, in a folder that Gemini CLI trusts",
    },
    Client {
        name: ClientName::Windsurf,
        title: "Windsurf",
        user_files: &[
            (Base::Home, ".codeium/windsurf/mcp_config.json"),
            // Its plugin for other editors.
            (Base::Home, ".codeium/mcp_config.json"),
        ],
        project_file: None,
        folders: &[(Base::Home, ".codeium")],
        syntax: Syntax::Json,
        servers: "mcpServers",
        stdio_kind: None,
        http: Some(HttpForm {
            url: "serverUrl",
            kind: None,
        }),
        references: References::EnvBraces,
        project_folder: None,
        shows_all_tools: true,
        next: "refresh the MCP servers in the settings of Cascade",
    },
    Client {
        name: ClientName::Zed,
        title: "Zed",
        user_files: &[(Base::Config, "zed/settings.json")],
        project_file: Some(".zed/settings.json"),
        folders: &[(Base::Config, "zed")],
        syntax: Syntax::Json,
        servers: "context_servers",
        stdio_kind: None,
        http: Some(HttpForm {
            url: "url",
            kind: None,
        }),
        references: References::None,
        project_folder: None,
        shows_all_tools: true,
        next: "a green dot in the settings of the agent panel shows that it runs",
    },
    Client {
        name: ClientName::Cline,
        title: "Cline",
        user_files: &[
            (
                Base::AppData,
                "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ),
            // Its command line.
            (Base::Home, ".cline/data/settings/cline_mcp_settings.json"),
        ],
        project_file: None,
        folders: &[(
            Base::AppData,
            "Code/User/globalStorage/saoudrizwan.claude-dev",
        )],
        syntax: Syntax::Json,
        servers: "mcpServers",
        stdio_kind: None,
        http: Some(HttpForm {
            url: "url",
            kind: Some("streamableHttp"),
        }),
        references: References::None,
        project_folder: None,
        shows_all_tools: true,
        next: "the MCP servers of Cline show whether it runs",
    },
    Client {
        name: ClientName::Jetbrains,
        title: "JetBrains (Junie)",
        user_files: &[(Base::Home, ".junie/mcp/mcp.json")],
        project_file: Some(".junie/mcp/mcp.json"),
        folders: &[(Base::Home, ".junie")],
        syntax: Syntax::Json,
        servers: "mcpServers",
        stdio_kind: None,
        http: None,
        references: References::None,
        project_folder: None,
        shows_all_tools: true,
        next: "look at Junie, MCP Settings in the settings of the IDE",
    },
];
