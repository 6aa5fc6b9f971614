//! Lists that change at runtime: the files that cause it, and the notified clients.

use std::{fs, sync::Arc};

use portkey_api::catalog::Catalog;
use portkey_mcp::{
    mcp::{prompts, server::Server},
    pipeline::Dispatcher,
    upstream::UpstreamClient,
};
use portkey_policy::Policy;
use rmcp::model::{ServerCapabilities, SubscriptionFilter};

use super::{Generation, TransportKind, all_notifications, connect, next_notification, notify_all};
use crate::support::{in_process::wait_for_listeners, upstream::settings};

const PROMPT: &str = "---\nname: own\ntitle: Own\ndescription: Of ours.\n---\nGreet.\n";

fn dispatcher() -> Dispatcher {
    Dispatcher::new(
        Catalog::full(),
        UpstreamClient::new(settings("http://127.0.0.1:9")),
    )
}

fn list_changed_capabilities(capabilities: &ServerCapabilities) -> [Option<bool>; 3] {
    [
        capabilities.tools.as_ref().unwrap().list_changed,
        capabilities.prompts.as_ref().unwrap().list_changed,
        capabilities.resources.as_ref().unwrap().list_changed,
    ]
}

/// Checks that clients of both generations on both transports get exactly these notifications after
/// the change.
async fn assert_notified(server: impl Fn() -> Server, change: impl Fn(usize), expected: &[&str]) {
    let declares = |what| expected.contains(&what).then_some(true);
    for (i, over) in [TransportKind::Http, TransportKind::Stdio]
        .into_iter()
        .enumerate()
    {
        let server = server();
        let mut session = connect(&server, over, Generation::Sessions).await;
        let stateless = connect(&server, over, Generation::Stateless).await;
        let declared = [Some(true), declares("prompts"), declares("resources")];
        for client in [&session.client, &stateless.client] {
            assert_eq!(
                list_changed_capabilities(&client.peer_info().unwrap().capabilities),
                declared,
                "{over:?}"
            );
        }
        let mut stream = stateless.client.listen(all_notifications()).await.unwrap();
        let mut offered = SubscriptionFilter::default();
        [
            offered.tools_list_changed,
            offered.prompts_list_changed,
            offered.resources_list_changed,
        ] = declared;
        assert_eq!(*stream.acknowledged(), offered, "{over:?}");
        wait_for_listeners(server.notifier(), 2).await;
        change(i);
        for word in expected {
            assert_eq!(next_notification(&mut stream).await, *word, "{over:?}");
            assert_eq!(
                session.notifications.recv().await.unwrap(),
                *word,
                "{over:?}"
            );
        }
        // No other notification came in between, so the first of the new ones is next.
        notify_all(server.notifier());
        assert_eq!(next_notification(&mut stream).await, "prompts", "{over:?}");
        assert_eq!(
            session.notifications.recv().await.unwrap(),
            "prompts",
            "{over:?}"
        );
    }
}

#[tokio::test]
async fn prompt_folder_change_notifies_clients() {
    let folder = tempfile::tempdir().unwrap();
    let server = || {
        let prompts = prompts::PromptLibrary::watch_folder(folder.path()).unwrap();
        Server::new(Arc::new(dispatcher()), None).with_prompts(Some(prompts))
    };
    let change = |i| {
        fs::write(
            folder.path().join(format!("{i}.md")),
            PROMPT.replace(": own", &format!(": own-{i}")),
        )
        .unwrap()
    };
    assert_notified(server, change, &["prompts"]).await;
}

/// A policy hides entries of every list, so all lists change.
#[tokio::test]
async fn policy_change_notifies_clients_of_every_list() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    fs::write(&file, "version: '1'").unwrap();
    let server = || {
        let policy = Policy::watch(&file).unwrap();
        Server::new(Arc::new(dispatcher().with_policy(policy)), None)
    };
    let change = |i| {
        fs::write(
            &file,
            format!("version: '1'\nhide: [{}]", ["get-*", "list-*"][i]),
        )
        .unwrap()
    };
    assert_notified(server, change, &["tools", "prompts", "resources"]).await;
}
