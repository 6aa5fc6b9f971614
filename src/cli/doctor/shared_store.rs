//! The Redis that replicas share: whether it answers, and whether its user has the rights that a server needs.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use portkey_store::{RedisFault, Store};
use secrecy::SecretString;

use super::report::{Report, Status};
use crate::cli::options::{Options, parse_seconds, read_redis_url};

const CHECK: &str = "redis";

/// The options of `portkey-mcp http` that name it.
#[derive(Args, Debug)]
pub(super) struct RedisOptions {
    /// Address of the Redis of `portkey-mcp http`, to check it.
    #[arg(
        long,
        env = "PORTKEY_MCP_REDIS_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Replicas",
        conflicts_with = "redis_url_file"
    )]
    redis_url: Option<SecretString>,
    /// File that contains the address of Redis.
    #[arg(
        long,
        env = "PORTKEY_MCP_REDIS_URL_FILE",
        value_name = "FILE",
        help_heading = "Replicas"
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
}

/// Asks Redis what a server asks at its start. Without an address there is nothing to report.
pub(super) async fn check_redis(report: &mut Report, redis: &RedisOptions, options: &Options) {
    let url = match read_redis_url(redis.redis_url_file.as_deref(), redis.redis_url.as_ref()) {
        Ok(Some(url)) => url,
        Ok(None) => return,
        Err(error) => {
            report.add(
                CHECK,
                Status::Failure,
                portkey_bounded_file::with_causes(error.as_ref()),
            );
            return;
        }
    };
    let answer = async {
        let roots = options.extra_roots_pem()?;
        let store = Store::connect(Some(&url), &roots, redis.redis_timeout).await?;
        store.stamp().await?;
        anyhow::Ok(store)
    };
    let fault = match answer.await {
        Ok(Store::Redis(store)) => store.fault(),
        Ok(Store::Memory(_)) => None,
        Err(error) => {
            report.advise(
                CHECK,
                Status::Failure,
                portkey_bounded_file::with_causes(error.as_ref()),
                "check the address (--redis-url), the network and the rights of its user; docs/deployment.md lists them",
            );
            return;
        }
    };
    match fault {
        None => report.add(
            CHECK,
            Status::Ok,
            "it answers, and its user has the rights that a server needs",
        ),
        Some(RedisFault::MissingRight) => report.advise(
            CHECK,
            Status::Failure,
            "its user lacks a right; the log above names it",
            "give it the rights that docs/deployment.md lists",
        ),
        Some(RedisFault::Unreachable) => {
            report.add(CHECK, Status::Failure, "it does not answer every command");
        }
        Some(RedisFault::DataLost) => report.advise(
            CHECK,
            Status::Warning,
            "it has lost data",
            "limits began anew, and approvals before are void; docs/deployment.md says what Redis has to keep",
        ),
    }
}
