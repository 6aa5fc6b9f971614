//! Who reaches which tools of an MCP server.

use std::collections::BTreeSet;

use portkey_operation::{InputError, JsonMap};
use serde_json::{Value, json};

use crate::{
    pipeline::CallError,
    workflows::{Steps, arguments, list::List, writer::StepWriter},
};

/// Maximum number of pages of capabilities and of users, and their size.
const MAX_PAGES: u64 = 4;
const PAGE_SIZE: u64 = 500;
/// Value of `users` for all members.
const EVERYONE: &str = "*";
/// Operation that changes who may use a server.
const ACCESS_OPERATION: &str = "bulk-update-mcp-server-user-access";

/// Reads the pages of a list that are numbered from one.
async fn read_pages(
    steps: &Steps,
    operation: &'static str,
    server_id: &str,
) -> Result<(Vec<Value>, Value), CallError> {
    let mut rows = Vec::new();
    for page in 1..=MAX_PAGES {
        let args = arguments([
            ("mcp_server_id", server_id.into()),
            ("page", page.into()),
            ("page_size", PAGE_SIZE.into()),
        ]);
        let last = steps.read(operation, args).await?;
        let data = last.get("data").or_else(|| last.get("capabilities"));
        rows.extend(
            data.and_then(Value::as_array)
                .into_iter()
                .flatten()
                .cloned(),
        );
        if last.get("has_more") != Some(&Value::Bool(true)) {
            return Ok((rows, last));
        }
    }
    let what = format!("`{operation}` has more than {} rows", MAX_PAGES * PAGE_SIZE);
    Err(InputError::new("", what).into())
}

/// What a server offers.
pub(super) struct Capabilities(Vec<Value>);

impl Capabilities {
    pub(super) async fn read(server_id: &str, steps: &Steps) -> Result<Self, CallError> {
        let (rows, _) = read_pages(steps, "list-mcp-server-capabilities", server_id).await?;
        Ok(Self(rows))
    }

    fn tools(&self) -> impl Iterator<Item = (&str, &Value)> {
        let tools = self
            .0
            .iter()
            .filter(|row| row.get("type").is_some_and(|kind| kind == "tool"));
        tools.filter_map(|row| Some((row.get("name")?.as_str()?, row)))
    }

    /// Returns the names that the server does not offer.
    pub(super) fn missing<'a>(&self, wanted: &'a BTreeSet<String>) -> Vec<&'a str> {
        let is_offered = |name: &str| self.tools().any(|(other, _)| other == name);
        wanted
            .iter()
            .map(String::as_str)
            .filter(|name| !is_offered(name))
            .collect()
    }

    /// Says which tools stay off although they are wanted.
    pub(super) fn notes(&self, wanted: &BTreeSet<String>) -> Vec<String> {
        self.tools()
            .filter(|(name, row)| {
                wanted.contains(*name)
                    && row.get("integration_enabled") == Some(&Value::Bool(false))
            })
            .map(|(name, _)| format!("`{name}` is off in the MCP integration, for every workspace"))
            .collect()
    }
}

/// The users and tools to allow.
pub(super) struct AccessGoal {
    pub(super) tools: BTreeSet<String>,
    /// Ids of users.
    pub(super) users: BTreeSet<String>,
    /// True if all members are allowed.
    is_open: bool,
}

impl AccessGoal {
    /// Finds the users among the members of the workspace.
    pub(super) async fn read(
        args: &JsonMap,
        workspace: &Value,
        steps: &Steps,
    ) -> Result<Self, CallError> {
        let texts = |name: &str| {
            let items = args.get(name).and_then(Value::as_array);
            items.into_iter().flatten().filter_map(Value::as_str)
        };
        let mut goal = Self {
            tools: texts("tools").map(str::to_owned).collect(),
            users: BTreeSet::new(),
            is_open: texts("users").any(|user| user == EVERYONE),
        };
        if goal.is_open || texts("users").next().is_none() {
            return Ok(goal);
        }
        let here = arguments([(
            "workspace_id",
            workspace.get("id").cloned().unwrap_or_default(),
        )]);
        let members = List::read_pages(steps, "list-workspace-members", here).await?;
        for user in texts("users") {
            let is_user = |member: &&Value| {
                let has = |name: &str| {
                    let value = member.get(name).and_then(Value::as_str);
                    value.is_some_and(|value| value.eq_ignore_ascii_case(user))
                };
                has("id") || has("email")
            };
            let found = members.items.iter().find(is_user);
            let Some(id) = found.and_then(|member| member.get("id")?.as_str()) else {
                members.require_complete(&format!("`{user}`"))?;
                let what = format!("`{user}` is no member of the workspace; add them first");
                return Err(InputError::new("users", what).into());
            };
            goal.users.insert(id.to_owned());
        }
        Ok(goal)
    }

    /// Denies everybody who has no setting, unless all members are to be allowed.
    pub(super) async fn close(
        &self,
        server_id: Option<&str>,
        steps: &Steps,
        writer: &mut StepWriter<'_>,
    ) -> Result<(), CallError> {
        let deny = arguments([
            ("mcp_server_id", server_id.into()),
            ("default_user_access", "deny".into()),
        ]);
        let Some(id) = server_id else {
            writer.plan(ACCESS_OPERATION, deny);
            return Ok(());
        };
        let (_, access) = read_pages(steps, "list-mcp-server-user-access", id).await?;
        let is_denied = access
            .get("default_user_access")
            .is_some_and(|default| default == "deny");
        let stays_open = !is_denied && self.is_open && self.is_settled(id, steps).await?;
        if !is_denied && !stays_open {
            writer.write(ACCESS_OPERATION, deny).await?;
        }
        Ok(())
    }

    /// Returns true if the tools of the server are as wanted already.
    async fn is_settled(&self, server_id: &str, steps: &Steps) -> Result<bool, CallError> {
        let offered = Capabilities::read(server_id, steps).await?;
        Ok(self.switches(&offered).is_empty() && offered.missing(&self.tools).is_empty())
    }

    /// Returns the switches to change: on for the tools that are wanted, and off for all else.
    fn switches(&self, offered: &Capabilities) -> Vec<Value> {
        let switches = offered.0.iter().filter_map(|row| {
            let kind = row.get("type")?.as_str()?;
            let name = row.get("name")?.as_str()?;
            let is_wanted = kind == "tool" && self.tools.contains(name);
            let is_on = row.get("enabled") == Some(&Value::Bool(true));
            // Templates have no switch: they follow their resources.
            (is_wanted != is_on && kind != "resource_template")
                .then(|| json!({ "type": kind, "name": name, "enabled": is_wanted }))
        });
        switches.collect()
    }

    /// Allows the tools that are wanted, and nothing else.
    pub(super) async fn switch_tools(
        &self,
        server_id: &str,
        offered: &Capabilities,
        writer: &mut StepWriter<'_>,
    ) -> Result<(), CallError> {
        let switches = self.switches(offered);
        if switches.is_empty() {
            return Ok(());
        }
        let update = arguments([
            ("mcp_server_id", server_id.into()),
            ("capabilities", switches.into()),
        ]);
        writer
            .write("bulk-update-mcp-server-capabilities", update)
            .await?;
        Ok(())
    }

    /// Allows the users that are wanted, and denies those that were allowed before.
    pub(super) async fn open(
        &self,
        server_id: &str,
        steps: &Steps,
        writer: &mut StepWriter<'_>,
    ) -> Result<(), CallError> {
        let (rows, access) = read_pages(steps, "list-mcp-server-user-access", server_id).await?;
        let is_open = access
            .get("default_user_access")
            .is_some_and(|default| default == "allow");
        if self.is_open {
            if !is_open {
                let allow = arguments([
                    ("mcp_server_id", server_id.into()),
                    ("default_user_access", "allow".into()),
                ]);
                writer.write(ACCESS_OPERATION, allow).await?;
            }
            return Ok(());
        }
        let mut switches: Vec<Value> = Vec::new();
        let is_allowed = |row: &Value| row.get("enabled") == Some(&Value::Bool(true));
        for row in &rows {
            let Some(user) = row.get("user_id").and_then(Value::as_str) else {
                continue;
            };
            // Without a setting of their own they are denied by the default.
            let has_setting = row.get("has_override") == Some(&Value::Bool(true));
            if !self.users.contains(user) && is_allowed(row) && has_setting {
                switches.push(json!({ "user_id": user, "enabled": false }));
            }
        }
        for user in &self.users {
            let row = rows
                .iter()
                .find(|row| row.get("user_id") == Some(&user.as_str().into()));
            let has_setting =
                row.is_some_and(|row| row.get("has_override") != Some(&Value::Bool(false)));
            if !(has_setting && row.is_some_and(is_allowed)) {
                switches.push(json!({ "user_id": user, "enabled": true }));
            }
        }
        if !switches.is_empty() {
            let update = arguments([
                ("mcp_server_id", server_id.into()),
                ("user_access", switches.into()),
            ]);
            writer.write(ACCESS_OPERATION, update).await?;
        }
        Ok(())
    }
}

/// Reads who reaches what now.
pub(super) async fn report(
    server_id: &str,
    workspace: &Value,
    steps: &Steps,
) -> Result<Value, CallError> {
    let offered = Capabilities::read(server_id, steps).await?;
    let is_on = |row: &Value| {
        row.get("enabled") == Some(&Value::Bool(true))
            && row.get("integration_enabled") != Some(&Value::Bool(false))
    };
    let tools: Vec<_> = offered
        .tools()
        .filter(|(_, row)| is_on(row))
        .map(|(name, _)| name)
        .collect();
    let others = offered
        .0
        .iter()
        .filter(|row| row.get("type").is_some_and(|kind| kind != "tool") && is_on(row))
        .count();
    let (rows, access) = read_pages(steps, "list-mcp-server-user-access", server_id).await?;
    let users: Vec<Value> = rows
        .iter()
        .filter(|row| row.get("enabled") == Some(&Value::Bool(true)))
        .map(|row| {
            let name = |field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default();
            let full = format!("{} {}", name("first_name"), name("last_name"));
            json!({ "user_id": row.get("user_id"), "name": full.trim() })
        })
        .collect();
    Ok(json!({
        "workspace": workspace.get("slug"),
        "users": users,
        "users_without_setting": access.get("default_user_access"),
        "tools": tools,
        "tools_off": offered.tools().count() - tools.len(),
        "prompts_and_resources_on": others,
    }))
}
