//! `portkey-mcp export` and `portkey-mcp drift`: the settings of an organisation in a folder, and what
//! changed since.

mod folder;

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use portkey_operation::JsonMap;
use serde_json::{Value, json};

use self::folder::{ExportFormat, Manifest, SnapshotFolder};
use super::call::request_approval;
use crate::{
    auth::principal::Principal,
    changes::plan::write_private,
    mcp::{reply, server::Server},
    pipeline::approval::ApprovalRequest,
    security::sanitize::escape_to_one_line,
    workflows::document_to_yaml,
};

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  portkey-mcp export portkey-settings --sandbox
  portkey-mcp export portkey-settings --kinds configs,prompts --workspaces ws-research
  portkey-mcp export portkey-terraform --format terraform

Exits with 3 if a part could not be read, whose files then stay as they are.";

pub(super) const DRIFT_EXAMPLES: &str = "\
Examples:
  portkey-mcp drift portkey-settings
  portkey-mcp drift portkey-settings --plan back.yaml && portkey-mcp apply back.yaml

Exits with 0 without differences, with 2 if there are any, and otherwise with 3 if a part could not be read.";

/// Exit code if there are differences.
const EXIT_DRIFT: u8 = 2;
/// Exit code if a part could not be read.
const EXIT_INCOMPLETE: u8 = 3;
/// Maximum length of a value in a line of differences, in characters.
const MAX_VALUE_CHARS: usize = 200;

#[derive(Args, Debug)]
pub(super) struct ExportCommand {
    /// Folder: empty, new, or with an earlier snapshot.
    dir: PathBuf,
    /// Kinds of resources, such as configs or api-keys; all but users and members when left out.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Slugs of workspaces; all, and what belongs to none, when left out.
    #[arg(long, value_name = "SLUG", value_delimiter = ',')]
    workspaces: Vec<String>,
    /// Form of the files; that of the snapshot in the folder, or yaml, when left out.
    #[arg(long, value_name = "FORMAT")]
    format: Option<ExportFormat>,
}

#[derive(Args, Debug)]
pub(super) struct DriftCommand {
    /// Folder with a snapshot.
    dir: PathBuf,
    /// File for the steps that restore the snapshot, for `plan` and `apply`.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Output format.
    #[arg(long, default_value = "text")]
    format: DriftFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DriftFormat {
    Text,
    Json,
}

impl ExportCommand {
    pub(super) async fn run(
        &self,
        server: &Server,
        local: &Principal,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let folder = SnapshotFolder::open(&self.dir)?;
        let given = Manifest::new(
            self.kinds.iter().cloned().collect(),
            self.workspaces.iter().cloned().collect(),
        );
        let (kinds, workspaces) = choose_scope(folder.manifest.as_ref(), given)?;
        let mut args = JsonMap::new();
        insert_list(&mut args, "kinds", &kinds);
        insert_list(&mut args, "workspaces", &workspaces);
        let there = folder.manifest.as_ref().map(|there| there.format);
        let format = self.format.or(there).unwrap_or_default();
        if there.is_some_and(|there| there != format) {
            bail!("the folder has a snapshot of another format; give another folder for this one");
        }
        args.insert("format".to_owned(), format.as_str().into());
        let answer = call(server, local, "export-snapshot", args).await?;
        let unseen = unseen_paths(&answer);
        let files = answer.get("files").and_then(Value::as_object);
        let files: Vec<(&str, &str)> = files
            .into_iter()
            .flatten()
            .filter_map(|(path, text)| Some((path.as_str(), text.as_str()?)))
            .collect();
        if files.is_empty() && !unseen.is_empty() {
            bail!(
                "nothing could be read, and nothing was written:{}",
                unseen_lines(&answer)
            );
        }
        let mut manifest = Manifest::new(texts(&answer, "kinds"), workspaces);
        manifest.format = format;
        manifest.files = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let old = folder.manifest.as_ref().map(|old| old.files.clone());
        let old = old.unwrap_or_default();
        for (path, text) in files.iter().filter(|(path, _)| !old.contains(*path)) {
            folder.reject_foreign(path, text)?;
        }
        let (kept, gone): (Vec<String>, Vec<String>) = old
            .into_iter()
            .filter(|path| !manifest.files.contains(path))
            .partition(|path| unseen.iter().any(|unseen| is_within(path, unseen)));
        manifest.files.extend(kept);
        // The file says what is there at any time, also if the process ends before the last file.
        let mut during = manifest.clone();
        during.files.extend(gone.iter().cloned());
        folder.write_manifest(&during)?;
        let mut written = 0;
        for (path, text) in &files {
            written += usize::from(folder.write(path, text)?);
        }
        for path in &gone {
            folder.remove(path)?;
        }
        folder.write_manifest(&manifest)?;
        print_counts(&answer, out)?;
        writeln!(
            out,
            "{written} written, {} unchanged, {} removed",
            files.len() - written,
            gone.len()
        )?;
        print_notes(&answer, out)?;
        Ok(match unseen.is_empty() {
            true => ExitCode::SUCCESS,
            false => EXIT_INCOMPLETE.into(),
        })
    }
}

impl DriftCommand {
    pub(super) async fn run(
        &self,
        server: &Server,
        local: &Principal,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let folder = SnapshotFolder::open(&self.dir)?;
        let Some(manifest) = &folder.manifest else {
            let at = portkey_bounded_file::display_path(&self.dir);
            bail!("{at} has no snapshot; make one with `portkey-mcp export`");
        };
        if !manifest.format.is_yaml() {
            bail!(
                "{} has a snapshot for Terraform; `terraform plan` shows its drift",
                portkey_bounded_file::display_path(&self.dir)
            );
        }
        let mut files = JsonMap::new();
        for path in &manifest.files {
            // A file that its user removed is not in the snapshot.
            if let Some(text) = folder.read(path)? {
                files.insert(path.clone(), text.into());
            }
        }
        let mut args = JsonMap::new();
        args.insert("files".to_owned(), files.into());
        insert_list(&mut args, "kinds", &manifest.kinds);
        insert_list(&mut args, "workspaces", &manifest.workspaces);
        if self.plan.is_some() {
            args.insert("plan".to_owned(), true.into());
        }
        let answer = call(server, local, "detect-drift", args).await?;
        match self.format {
            DriftFormat::Json => {
                serde_json::to_writer_pretty(&mut *out, &answer)?;
                writeln!(out)?;
            }
            DriftFormat::Text => print_drift(&answer, out)?,
        }
        if let Some(file) = &self.plan {
            let note = write_plan(file, &answer)?;
            if self.format == DriftFormat::Text {
                writeln!(out, "{}", escape_to_one_line(&note))?;
            }
        }
        Ok(match answer.get("drift") == Some(&Value::Bool(true)) {
            true => EXIT_DRIFT.into(),
            false if !unseen_paths(&answer).is_empty() => EXIT_INCOMPLETE.into(),
            false => ExitCode::SUCCESS,
        })
    }
}

async fn call(
    server: &Server,
    local: &Principal,
    tool: &str,
    args: JsonMap,
) -> anyhow::Result<Value> {
    let ask = async |question: &ApprovalRequest| {
        request_approval(server.dispatcher(), local, question).await
    };
    match server.call_from_shell(local, tool, args, ask).await {
        Ok(answer) => Ok(answer),
        Err(error) => bail!(reply::error_message(&error)),
    }
}

/// Returns what an export covers: what is given, or that of the snapshot which is there.
fn choose_scope(
    there: Option<&Manifest>,
    given: Manifest,
) -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
    let Some(there) = there else {
        return Ok((given.kinds, given.workspaces));
    };
    let differs =
        |given: &BTreeSet<String>, there: &BTreeSet<String>| !given.is_empty() && given != there;
    if differs(&given.kinds, &there.kinds) || differs(&given.workspaces, &there.workspaces) {
        bail!(
            "the folder has a snapshot of other kinds or workspaces; give another folder for these"
        );
    }
    Ok((there.kinds.clone(), there.workspaces.clone()))
}

fn insert_list(args: &mut JsonMap, name: &str, list: &BTreeSet<String>) {
    if !list.is_empty() {
        args.insert(name.to_owned(), list.iter().cloned().collect());
    }
}

fn texts(answer: &Value, name: &str) -> BTreeSet<String> {
    let list = answer.get(name).and_then(Value::as_array);
    let list = list.into_iter().flatten();
    list.filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fn unseen_paths(answer: &Value) -> Vec<String> {
    let rows = answer.get("not_seen").and_then(Value::as_array);
    let rows = rows.into_iter().flatten();
    rows.filter_map(|row| row.get("path")?.as_str().map(str::to_owned))
        .collect()
}

/// Returns true if a file is one that was not seen, or is in a folder that was not.
fn is_within(path: &str, unseen: &str) -> bool {
    match unseen.ends_with('/') {
        true => path.starts_with(unseen),
        false => path == unseen,
    }
}

fn print_counts(answer: &Value, out: &mut impl Write) -> anyhow::Result<()> {
    let counts = answer.get("counts").and_then(Value::as_object);
    let counts: Vec<_> = counts
        .into_iter()
        .flatten()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    writeln!(out, "{}", counts.join(", "))?;
    Ok(())
}

/// Prints what is masked or was not seen.
fn print_notes(answer: &Value, out: &mut impl Write) -> anyhow::Result<()> {
    if let Some(masked) = answer.get("masked_values").and_then(Value::as_u64)
        && masked > 0
    {
        writeln!(out, "{masked} masked values")?;
    }
    if let Some(variables) = answer.get("variables").and_then(Value::as_u64)
        && variables > 0
    {
        writeln!(out, "{variables} variables for secrets, in variables.tf")?;
    }
    let left_out = answer.get("not_in_terraform").and_then(Value::as_object);
    for (what, why) in left_out.into_iter().flatten() {
        let line = format!(
            "not in Terraform: {what}: {}",
            why.as_str().unwrap_or_default()
        );
        writeln!(out, "{}", escape_to_one_line(&line))?;
    }
    let uncovered = answer.get("not_covered").and_then(Value::as_array);
    let names = uncovered.into_iter().flatten().filter_map(|what| {
        // The reasons are in the answer of the tool, and in the documents.
        let (name, _) = what.as_str()?.split_once(':')?;
        Some(name)
    });
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        writeln!(
            out,
            "not covered: {}",
            escape_to_one_line(&names.join(", "))
        )?;
    }
    for operation in texts(answer, "redacted_by_policy") {
        writeln!(out, "a policy redacts values of {operation}")?;
    }
    if !unseen_paths(answer).is_empty() {
        writeln!(out, "not seen:{}", unseen_lines(answer))?;
    }
    Ok(())
}

fn unseen_lines(answer: &Value) -> String {
    let rows = answer.get("not_seen").and_then(Value::as_array);
    let line = |row: &Value| {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let line = format!("{}: {}", text("path"), text("reason"));
        format!("\n  {}", escape_to_one_line(&line))
    };
    rows.into_iter().flatten().map(line).collect()
}

fn print_drift(answer: &Value, out: &mut impl Write) -> anyhow::Result<()> {
    for (mark, name) in [('+', "added"), ('-', "removed")] {
        for path in texts(answer, name) {
            writeln!(out, "{mark} {}", escape_to_one_line(&path))?;
        }
    }
    let changed = answer.get("changed").and_then(Value::as_array);
    for document in changed.into_iter().flatten() {
        let path = document
            .get("path")
            .and_then(Value::as_str)
            .unwrap_or_default();
        writeln!(out, "~ {}", escape_to_one_line(path))?;
        let changes = document.get("changes").and_then(Value::as_array);
        for change in changes.into_iter().flatten() {
            print_change(change, out)?;
        }
        if let Some(more) = document.get("more") {
            writeln!(out, "    and {more} more")?;
        }
    }
    if answer.get("drift") == Some(&Value::Bool(false)) {
        let count = answer.get("unchanged").cloned().unwrap_or_default();
        writeln!(out, "no differences in {count} files")?;
    }
    print_notes(answer, out)
}

fn print_change(change: &Value, out: &mut impl Write) -> anyhow::Result<()> {
    let path = change
        .get("path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let path = escape_to_one_line(path);
    if let Some(lines) = change.get("diff").and_then(Value::as_str) {
        writeln!(out, "    {path}:")?;
        for line in lines.lines() {
            writeln!(out, "      {}", escape_to_one_line(line))?;
        }
        return Ok(());
    }
    let value = |name: &str| match change.get(name) {
        None | Some(Value::Null) => "(none)".to_owned(),
        Some(value) => shorten(&value.to_string()),
    };
    let line = format!("{} -> {}", value("old"), value("new"));
    writeln!(out, "    {path}: {}", escape_to_one_line(&line))?;
    Ok(())
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Writes the steps that restore the snapshot. Returns what to say about it.
fn write_plan(file: &Path, answer: &Value) -> anyhow::Result<String> {
    let steps = answer.get("steps").and_then(Value::as_array);
    let steps = steps.map(Vec::as_slice).unwrap_or_default();
    let at = portkey_bounded_file::display_path(file).to_string();
    if steps.is_empty() {
        return Ok(format!("there are no steps, and {at} was not written"));
    }
    let mut text = String::new();
    for line in texts(answer, "not_restored") {
        text.push_str(&format!("# not restored: {}\n", escape_to_one_line(&line)));
    }
    text.push_str(&document_to_yaml(&json!({ "steps": steps })));
    write_private(file, text.as_bytes()).with_context(|| format!("cannot write {at}"))?;
    let noun = if steps.len() == 1 {
        "step is"
    } else {
        "steps are"
    };
    Ok(format!("{} {noun} in {at}", steps.len()))
}
