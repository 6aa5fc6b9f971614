//! Options for sessions and for the state that replicas share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use portkey_bounded_file::display_path;
use portkey_file_watch::{FileKind, ParsedValue, WatchedValue};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{Options, parse_seconds};
use crate::{
    app::StoreSettings,
    security::{
        secrets::{self, FileProtection, check_permissions, read_protected_file},
        signed_state::Keyring,
    },
    transport::http::SessionBounds,
};

#[derive(Args, Debug)]
pub(super) struct ReplicaOptions {
    /// File of keys that sign state stored by clients and encrypt values in Redis, identical at all replicas.
    /// The server reloads it when it changes. Without it, state stored by clients is invalid after a restart.
    #[arg(
        long,
        env = "PORTKEY_MCP_STATE_KEY_FILE",
        value_name = "FILE",
        help_heading = "Replicas"
    )]
    state_key_file: Option<PathBuf>,
    /// Address of the Redis in which replicas share limits, sessions, approvals, stored results and taint, such as
    /// redis://user:password@host:6379/0 or rediss://… for TLS. Prefer the variable or --redis-url-file.
    #[arg(
        long,
        env = "PORTKEY_MCP_REDIS_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Replicas",
        requires = "state_key_file",
        conflicts_with = "redis_url_file"
    )]
    redis_url: Option<SecretString>,
    /// File that contains the address of Redis.
    #[arg(
        long,
        env = "PORTKEY_MCP_REDIS_URL_FILE",
        value_name = "FILE",
        help_heading = "Replicas",
        requires = "state_key_file"
    )]
    redis_url_file: Option<PathBuf>,
    /// Maximum time to connect to Redis, and for each of its responses, in seconds.
    #[arg(
        long,
        env = "PORTKEY_MCP_REDIS_TIMEOUT",
        value_name = "SECONDS",
        default_value = "0.5",
        value_parser = parse_seconds,
        help_heading = "Replicas"
    )]
    redis_timeout: Duration,
    /// Maximum lifetime of a session, even one in use, in seconds.
    #[arg(
        long,
        env = "PORTKEY_MCP_SESSION_TTL",
        value_name = "SECONDS",
        default_value = "86400",
        value_parser = parse_seconds,
        help_heading = "Limits"
    )]
    session_ttl: Duration,
    /// Maximum time without a stream or a call, in seconds, before a session's memory is released. Its client can
    /// resume the session within an hour.
    #[arg(
        long,
        env = "PORTKEY_MCP_SESSION_IDLE",
        value_name = "SECONDS",
        default_value = "300",
        value_parser = parse_seconds,
        help_heading = "Limits"
    )]
    session_idle: Duration,
    /// Maximum number of sessions. A new session replaces an idle one.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_SESSIONS",
        value_name = "N",
        default_value = "1000",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    max_sessions: u32,
    /// Maximum number of sessions of one caller. A new session replaces an idle one.
    #[arg(
        long,
        env = "PORTKEY_MCP_MAX_SESSIONS_PER_PRINCIPAL",
        value_name = "N",
        default_value = "100",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    max_sessions_per_principal: u32,
}

impl ReplicaOptions {
    /// Returns the limits on sessions.
    pub(super) fn session_bounds(&self) -> SessionBounds {
        SessionBounds {
            ttl: self.session_ttl,
            idle_timeout: self.session_idle,
            max: self.max_sessions as usize,
            max_per_principal: self.max_sessions_per_principal as usize,
        }
    }

    /// Returns the state keys.
    pub(super) fn state_keys(&self) -> anyhow::Result<Arc<WatchedValue<Keyring>>> {
        let keys = match &self.state_key_file {
            Some(file) => {
                let context = || format!("cannot use {}", display_path(file));
                check_permissions(file, FileProtection::Secret).with_context(context)?;
                WatchedValue::from_file(file, |text| {
                    Ok(ParsedValue {
                        value: Keyring::parse(text)?,
                        files: Vec::new(),
                    })
                })?
                .with_kind(FileKind::StateKeyFile)
            }
            None => WatchedValue::fixed(Keyring::random()?),
        };
        Ok(Arc::new(keys))
    }

    /// Returns the settings of the store that replicas share.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub(super) fn connect_store(&self, options: &Options) -> anyhow::Result<StoreSettings> {
        Ok(StoreSettings {
            redis_url: read_redis_url(self.redis_url_file.as_deref(), self.redis_url.as_ref())?,
            extra_roots: options.extra_roots_pem()?,
            timeout: self.redis_timeout,
        })
    }
}

/// Returns the address of Redis, of the file if there is one. Its password is masked in the log from now on.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub(in crate::cli) fn read_redis_url(
    file: Option<&Path>,
    url: Option<&SecretString>,
) -> anyhow::Result<Option<SecretString>> {
    let url = match file {
        Some(file) => {
            let context = || format!("cannot read {}", display_path(file));
            Some(read_protected_file(file, FileProtection::Secret).with_context(context)?)
        }
        None => url.cloned(),
    };
    let parsed = url.as_ref();
    if let Some(url) = parsed.and_then(|url| Url::parse(url.expose_secret().trim()).ok()) {
        url.password().into_iter().for_each(secrets::learn_key);
    }
    Ok(url)
}
